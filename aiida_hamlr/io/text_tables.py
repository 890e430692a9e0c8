"""Small text files of other programs: numbers with all their digits, and checked reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.fortran import parse_numbers
from aiida_hamlr.electronic.reading import parse_json, read_text, shortened

#: Largest text file, bytes: a hundred for each of a million atoms.
LARGEST = 100_000_000


def write_text(path: Path, text: str):
    """Write a text file, under a temporary name first."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def rows_of(values: np.ndarray) -> str:
    """Rows of numbers with all digits, a line each; whole numbers without a point."""
    return ''.join(' '.join(repr(value) for value in row) + '\n' for row in np.atleast_2d(values).tolist())


def read_table(path: Path, columns: int | None = None) -> np.ndarray:
    """Numbers of a text file, the same number on each line.

    Parameters
    ----------
    path : Path
        The file; lines that begin with # do not count.
    columns : int, optional
        How many a line must have.

    Returns
    -------
    (rows, columns) array

    Raises
    ------
    ValueError
        If it is missing, too large, or not such a table; the message names it.
    """
    lines = [line for line in read_text(path, LARGEST).splitlines() if line.strip() and not line.startswith('#')]
    try:
        rows = [parse_numbers(line) for line in lines]
    except ValueError as error:
        raise ValueError(f'{path}: holds something that is not a number ({shortened(error)})') from error
    widths = {len(row) for row in rows}
    if len(widths) != 1 or (columns is not None and widths != {columns}):
        expected = 'the same number of columns' if columns is None else f'{columns} columns'
        raise ValueError(f'{path}: not a table of numbers with {expected} on each line')
    table = np.array(rows)
    if not np.isfinite(table).all():
        raise ValueError(f'{path}: has values that are not finite')
    return table


def read_integers(path: Path) -> list[int]:
    """All numbers of a text file, which are whole.

    Raises
    ------
    ValueError
        As `read_table`, or if one is not whole.
    """
    table = read_table(path).ravel()
    if not np.array_equal(table, np.round(table)) or np.abs(table).max() > 1e9:
        raise ValueError(f'{path}: has numbers that are not whole')
    return [int(value) for value in table]


def read_json_object(path: Path) -> dict:
    """The object of a JSON file.

    Raises
    ------
    ValueError
        If it is missing, too large, or no JSON object; the message names it.
    """
    content = parse_json(read_text(path, LARGEST), str(path))
    if not isinstance(content, dict):
        raise ValueError(f'{path}: not a JSON object')
    return content


def number_in(content: dict, key: str, path: Path) -> float | None:
    """A finite number of a JSON object, None if it is missing or null.

    Raises
    ------
    ValueError
        If it is something else.
    """
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise ValueError(f'{path}: {key} is {shortened(value)}, not a number')
    return float(value)


def flag_in(content: dict, key: str, path: Path) -> bool:
    """A truth value of a JSON object, false if it is missing.

    Raises
    ------
    ValueError
        If it is something else.
    """
    value = content.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f'{path}: {key} is {shortened(value)}, neither true nor false')
    return value
