"""Radial functions of the tables that are fitted before the training."""

from __future__ import annotations

import numpy as np

#: Number of radial functions.
N_RADIAL = 14

#: Width of the shell before the cutoff in which everything goes to zero, Å.
SWITCH_WIDTH = 0.5


def switch(length: np.ndarray, cutoff: float, width: float = SWITCH_WIDTH) -> np.ndarray:
    """1 up to the switching shell, then a polynomial to 0 at the cutoff with two continuous derivatives."""
    x = np.clip((length - cutoff) / min(width, cutoff) + 1.0, 0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def radial_basis(length: np.ndarray, cutoff: float) -> np.ndarray:
    """(P, N_RADIAL) spherical Bessel functions j_0 that vanish somewhat beyond the cutoff."""
    return np.sin(length[:, None] * np.arange(1, N_RADIAL + 1) * np.pi / (1.1 * cutoff)) / length[:, None]
