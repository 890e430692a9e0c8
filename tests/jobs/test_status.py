"""From exceptions to exit statuses."""

import errno

import numpy as np
import pytest
import torch

from aiida_hamlr.errors import NumericalError
from aiida_hamlr.jobs.status import Status, one_line, status_of


class Subclass(torch.OutOfMemoryError):
    pass


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (MemoryError(), Status.OUT_OF_MEMORY),
        (np._core._exceptions._ArrayMemoryError((10**9,), np.dtype(float)), Status.OUT_OF_MEMORY),
        (torch.OutOfMemoryError('CUDA out of memory'), Status.OUT_OF_MEMORY),
        (Subclass(), Status.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), Status.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, 'Cannot allocate memory'), Status.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, 'No space left on device'), Status.DISK_FULL),
        (OSError(errno.EDQUOT, 'Disk quota exceeded'), Status.DISK_FULL),
        (OSError(errno.EFBIG, 'File too large'), Status.DISK_FULL),
        (RuntimeError('write failed: No space left on device'), Status.DISK_FULL),
        (NumericalError('diverged'), Status.NUMERICAL),
        (np.linalg.LinAlgError('singular'), Status.NUMERICAL),
        (ValueError('a.h5: bad'), Status.BAD_INPUT),
        (OSError(errno.EACCES, 'Permission denied'), Status.BAD_INPUT),
        (KeyError('defect'), None),
    ],
)
def test_statuses(error, status):
    assert status_of(error) is status
    assert one_line(error) and '\n' not in one_line(error)


def test_an_allocation_that_fails_is_one():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60)
    assert status_of(error.value) is Status.OUT_OF_MEMORY
    with pytest.raises(MemoryError) as error:
        np.empty(2**58)
    assert status_of(error.value) is Status.OUT_OF_MEMORY
