"""Progress of long work: a bar on a terminal, plain lines in a job's log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar('T')

#: Shortest time between two progress lines in a log, s.
_INTERVAL = 10.0


def log(message: str):
    """Print one line, at once."""
    print(message, flush=True)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate over ``items`` and show how far it is; standard error is left to the error message."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stdout.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total, file=sys.stdout, leave=False)
        return
    last = time.perf_counter()
    of_total = '' if total is None else f' of {total}'
    for number, item in enumerate(items, 1):
        yield item
        if time.perf_counter() - last > _INTERVAL:
            log(f'{description}: {number}{of_total}')
            last = time.perf_counter()
