"""`hamlr statistics`: what training data hold, in words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiida_hamlr.model.training.statistics import data_statistics, statistics_in_words


def describe_data(paths: Iterable[str | Path]) -> list[str]:
    """Lines about elements, distances, gaps and the size of H - H0 in Hamiltonian files.

    Raises
    ------
    ValueError
        If there is no file, or one cannot be learned from.
    """
    return statistics_in_words(data_statistics(paths))
