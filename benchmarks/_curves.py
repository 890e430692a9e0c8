"""Curves of errors over numbers of references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def references_for(error: float, numbers: Sequence[int], errors: Sequence[float]) -> float | None:
    """Number of references at which a curve first reaches an error, by power laws between its points, or None."""
    for n in range(1, len(numbers)):
        if errors[n] <= error <= errors[n - 1]:
            share = np.log(errors[n - 1] / error) / np.log(errors[n - 1] / errors[n])
            return float(numbers[n - 1] * (numbers[n] / numbers[n - 1]) ** share)
    return None
