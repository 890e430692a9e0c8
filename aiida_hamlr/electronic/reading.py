"""Reading what others wrote: regular files only, of bounded size, JSON of bounded depth."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Levels of lists and objects in each other that a JSON or YAML document may have.
DEEPEST = 64

#: Longest part of a value that a message repeats.
LONGEST_VALUE = 80


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let the message of a ``ValueError`` begin with the name of the file that is at fault."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def check_regular(path: str | Path):
    """Raise ``ValueError`` if there is something at ``path`` that is no regular file; opening it might never return."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise ValueError(f'{path}: no such file') from error
    except (OSError, ValueError) as error:
        raise ValueError(f'{shortened(path)}: cannot be read ({getattr(error, "strerror", None) or error})') from error
    if not stat.S_ISREG(mode):
        raise ValueError(f'{path}: {_kind(mode)}, not a file')


def read_text(path: str | Path, largest: int) -> str:
    """The text of a file in UTF-8.

    Parameters
    ----------
    path : path
        A regular file.
    largest : int
        Bytes beyond which it is not read.

    Raises
    ------
    ValueError
        If there is no such regular file, or it is too large or not text; the message names it.
    """
    check_regular(path)
    try:
        size = os.path.getsize(path)
        if size > largest:
            raise ValueError(f'{path}: {size} bytes are too many; at most {largest} are expected here')
        return Path(path).read_bytes().decode('utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: not a text file: byte {error.start} is not UTF-8') from error
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error.strerror})') from error


def parse_json(text: str, name: str):
    """The value of a JSON document.

    Raises
    ------
    ValueError
        If it is not JSON, or lists and objects are nested more than `DEEPEST` levels; ``name`` is that of the file.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f'{name}: nested more than {DEEPEST} levels deep') from error
    except ValueError as error:
        raise ValueError(f'{name}: not JSON, or truncated: {shortened(error)}') from error
    if depth(value) > DEEPEST:
        raise ValueError(f'{name}: nested more than {DEEPEST} levels deep')
    return value


def depth(value) -> int:
    """Levels of lists and dictionaries in a value, 0 for a plain one."""
    level, deepest = [value], 0
    while level:
        level = [item for item in level if isinstance(item, dict | list)]
        if level:
            deepest += 1
            if deepest > DEEPEST:
                break
            level = [entry for item in level for entry in (item.values() if isinstance(item, dict) else item)]
    return deepest


def shortened(value, longest: int = LONGEST_VALUE) -> str:
    """A value as one line, cut where it gets long."""
    text = ' '.join(str(value).split())
    return text if len(text) <= longest else f'{text[:longest]}...'


def _kind(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: 'a folder',
        stat.S_ISFIFO: 'a pipe',
        stat.S_ISSOCK: 'a socket',
        stat.S_ISCHR: 'a device',
        stat.S_ISBLK: 'a device',
    }
    return next((name for test, name in kinds.items() if test(mode)), 'something else')
