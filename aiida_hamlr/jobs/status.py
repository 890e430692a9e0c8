"""From exceptions to exit statuses and to the one line on standard error."""

from __future__ import annotations

import errno
from enum import IntEnum

from aiida_hamlr.errors import NoGPU, NumericalError, WalltimeReached

#: Numbers of what the system says when there is no room: full disk, quota, limit of the size of a file.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: What torch says when memory is short, on the CPU and on GPUs.
_NO_MEMORY = ("can't allocate memory", 'CUDA out of memory', 'CUBLAS_STATUS_ALLOC_FAILED', 'failed to allocate')


class Status(IntEnum):
    """Exit statuses of the executable; parsers map them to exit codes."""

    DONE = 0
    BAD_INPUT = 2
    WALLTIME = 3
    NUMERICAL = 4
    OUT_OF_MEMORY = 5
    NO_GPU = 6
    DISK_FULL = 7


def status_of(error: BaseException) -> Status | None:
    """Exit status that belongs to an exception; None if it is a defect, which deserves its traceback."""
    message = str(error)
    # Classes of torch and numpy, compared by name: importing torch only to handle an error would take seconds.
    names = {kind.__name__ for kind in type(error).__mro__}
    out_of_memory = isinstance(error, MemoryError) or 'OutOfMemoryError' in names
    out_of_memory |= isinstance(error, RuntimeError) and any(words in message for words in _NO_MEMORY)
    out_of_memory |= isinstance(error, OSError) and error.errno == errno.ENOMEM
    # Some libraries have the number of the error only in their words.
    disk_full = isinstance(error, OSError) and error.errno in _NO_ROOM
    disk_full |= isinstance(error, OSError | RuntimeError) and 'No space left on device' in message
    kinds = {
        Status.OUT_OF_MEMORY: out_of_memory,
        Status.WALLTIME: isinstance(error, WalltimeReached),
        Status.NUMERICAL: isinstance(error, NumericalError) or 'LinAlgError' in names,
        Status.NO_GPU: isinstance(error, NoGPU),
        Status.DISK_FULL: disk_full,
        Status.BAD_INPUT: isinstance(error, ValueError | OSError),
    }
    return next((status for status, applies in kinds.items() if applies), None)


def one_line(error: BaseException) -> str:
    """Message of an exception without line breaks."""
    if isinstance(error, OSError) and error.strerror:
        where = f'{error.filename}: ' if error.filename else ''
        return f'{where}{error.strerror}'
    message = ' '.join(str(error).split())
    if status_of(error) is Status.OUT_OF_MEMORY:
        return f'out of memory: {message or "an allocation failed"}; use a smaller structure, batch or mesh'
    return message or type(error).__name__
