"""The reciprocal lattice."""

from __future__ import annotations

import numpy as np


def reciprocal(cell: np.ndarray) -> np.ndarray:
    """Reciprocal lattice vectors, with the factor 2 pi: ``a_i . b_j = 2 pi delta_ij``.

    Parameters
    ----------
    cell : (3, 3) array
        Lattice vectors in rows, in any unit of length.

    Returns
    -------
    (3, 3) array
        Vectors in rows, in the inverse unit.
    """
    return 2 * np.pi * np.linalg.inv(np.asarray(cell)).T
