"""Several processes that train one model together, started by torchrun; alone if not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is.

    Parameters
    ----------
    rank, size : int
        Number of this process, from 0, and of all of them.
    local_size, n_nodes : int
        Processes on every node, and nodes.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    n_nodes: int = 1

    @classmethod
    def of_environment(cls) -> Processes:
        """What torchrun says, or a single process."""
        if not distributed.is_torchelastic_launched():
            return cls()
        names = ('RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'GROUP_WORLD_SIZE')
        return cls(*(int(os.environ[name]) for name in names))

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and the lines."""
        return self.rank == 0


def summed(values: Sequence[float], device='cpu') -> list[float]:
    """Sum of each value over all processes; every process has to ask."""
    return _reduced(values, distributed.ReduceOp.SUM, device)


def largest(value: float, device='cpu') -> float:
    """Largest value of all processes; every process has to ask.

    Clocks differ: what depends on one is decided with the same number everywhere.
    """
    return _reduced([value], distributed.ReduceOp.MAX, device)[0]


def _reduced(values, operation, device) -> list[float]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return [float(value) for value in values]
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor, op=operation)
    return tensor.tolist()
