"""The reciprocal lattice, and directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


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


def unit_vector(vector: ArrayLike, name: str) -> np.ndarray:
    """Unit vector (3,) along a Cartesian one of any length.

    Parameters
    ----------
    vector : (3,) array
        Of any unit.
    name : str
        What it is, for the message.

    Raises
    ------
    ValueError
        If it is not three finite numbers, or zero.
    """
    vector = np.asarray(vector, dtype=float)
    length = np.linalg.norm(vector)
    if vector.shape != (3,) or not 0 < length < np.inf:
        raise ValueError(f'{name} {vector.tolist()}: three finite components are needed, not all zero')
    return vector / length
