"""Device, threads and memory of the integrals."""

from __future__ import annotations

from typing import Literal

from aiida_hamlr.errors import NoGPU

#: What a configuration may name; 'gpu' and 'cuda' are the same.
Device = Literal['auto', 'cpu', 'gpu', 'cuda']

#: Bytes of a gigabyte, in which limits are given.
GIGABYTE = 1e9

#: Part of a memory limit that temporary arrays of one step may take; results take the rest.
TEMPORARY_PART = 0.1


def choose_device(name: Device) -> str:
    """The device of torch that a configuration means, 'cpu' or 'cuda'.

    Parameters
    ----------
    name : str
        'cpu', 'gpu', 'cuda', or 'auto': a GPU if there is one.

    Raises
    ------
    NoGPU
        If a GPU is asked for and torch finds none.
    ValueError
        If the name is another.
    """
    # Loading torch takes seconds: only if a GPU may be used.
    if name == 'auto':
        return 'cuda' if _has_gpu() else 'cpu'
    if name in ('gpu', 'cuda'):
        if not _has_gpu():
            raise NoGPU(f'device is {name}, but torch finds no GPU; use auto or cpu, or ask the scheduler for a GPU')
        return 'cuda'
    if name != 'cpu':
        raise ValueError(f'unknown device {name!r}; use auto, cpu, gpu or cuda')
    return name


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def set_threads(threads: int | None):
    """Set how many CPU threads torch uses; None leaves what the environment (``OMP_NUM_THREADS``) says."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def items_at_once(bytes_each: float, memory_limit: float | None, default: int) -> int:
    """How many items temporary arrays may hold, at least one.

    Parameters
    ----------
    bytes_each : float
        Of all temporary arrays for one item.
    memory_limit : float, optional
        GB, of everything.
    default : int
        Without a limit, and the most with one.
    """
    if memory_limit is None:
        return default
    return int(min(default, max(1, TEMPORARY_PART * memory_limit * GIGABYTE // bytes_each)))


def check_memory(needed: float, memory_limit: float | None, what: str):
    """Refuse what cannot fit.

    Parameters
    ----------
    needed : float
        Bytes of the result.
    memory_limit : float, optional
        GB.
    what : str
        What the result is, for the error.

    Raises
    ------
    ValueError
        If the result is larger than the limit.
    """
    if memory_limit is not None and needed > memory_limit * GIGABYTE:
        raise ValueError(
            f'{what} takes {needed / GIGABYTE:.3g} GB, memory_limit is {memory_limit:.3g} GB; raise it, '
            'or take a smaller basis or structure'
        )
