"""Real spherical harmonics in e3nn's order and sign, and their Gaunt coefficients."""

from __future__ import annotations

from functools import cache
from math import factorial, pi, sqrt

import numpy as np


def solid_harmonics(l_max: int, x, y, z) -> list[list]:
    """Regular solid harmonics ``r^l Y_lm`` for every l up to ``l_max``, as polynomials of the components.

    In e3nn's convention the polar axis is y and the azimuth is counted from z towards x, so that the three
    functions of l = 1 are proportional to (x, y, z); there is no Condon-Shortley phase and
    ``int |Y_lm|^2 dOmega = 1``. Only sums and products are used: the result is smooth everywhere, the poles and the
    origin included, and the components may be numpy arrays or torch tensors alike.

    Parameters
    ----------
    l_max : int
        Highest degree.
    x, y, z : arrays of one shape
        Cartesian components, in any unit.

    Returns
    -------
    list
        Element l is the list of the 2l + 1 functions m = -l .. l (a plain float where the function is constant).
    """
    squared = x * x + y * y + z * z
    # cos(m phi) and sin(m phi) times sin(theta)^m r^m, from the powers of z + i x
    cosines, sines = [1.0], [0.0]
    for _ in range(l_max):
        cosines, sines = (
            [*cosines, z * cosines[-1] - x * sines[-1]],
            [*sines, z * sines[-1] + x * cosines[-1]],
        )
    legendre = {}
    for m in range(l_max + 1):
        legendre[m, m] = float(np.prod(np.arange(1, 2 * m, 2)))
        for l in range(m + 1, l_max + 1):
            value = (2 * l - 1) / (l - m) * (y * legendre[l - 1, m])
            if l > m + 1:
                value = value - (l + m - 1) / (l - m) * (squared * legendre[l - 2, m])
            legendre[l, m] = value
    result = []
    for l in range(l_max + 1):
        row = []
        for m in range(-l, l + 1):
            norm = sqrt((2 * l + 1) / (4 * pi) * factorial(l - abs(m)) / factorial(l + abs(m)))
            if m == 0:
                row.append(norm * legendre[l, 0])
            else:
                row.append((norm * sqrt(2.0) * legendre[l, abs(m)]) * (sines[-m] if m < 0 else cosines[m]))
        result.append(row)
    return result


def real_harmonics(l: int, vectors: np.ndarray) -> np.ndarray:
    """Real spherical harmonics of the directions of ``vectors``.

    Equal to ``e3nn.o3.spherical_harmonics(l, vectors, normalize=True, normalization='integral')``.

    Parameters
    ----------
    l : int
        Degree.
    vectors : (..., 3) array
        Need not be normalised. For the zero vector all functions with l > 0 are zero.

    Returns
    -------
    (..., 2l + 1) array
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions = vectors / np.where(lengths > 0, lengths, 1.0)
    values = solid_harmonics(l, directions[..., 0], directions[..., 1], directions[..., 2])[l]
    return np.stack(np.broadcast_arrays(*values, directions[..., 0])[:-1], axis=-1)


@cache
def gaunt(l1: int, l2: int, l3: int) -> np.ndarray:
    """Integrals of three real spherical harmonics over the sphere, exact by quadrature.

    Returns
    -------
    (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) array, read-only
    """
    degree = l1 + l2 + l3
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    azimuth = np.arange(degree + 1) * (2 * pi / (degree + 1))
    height, angle = np.meshgrid(nodes, azimuth, indexing='ij')
    radius = np.sqrt(1 - height**2)
    directions = np.stack([radius * np.sin(angle), height, radius * np.cos(angle)], axis=-1)
    weight = np.broadcast_to(weights[:, None] * (2 * pi / (degree + 1)), height.shape)
    first, second, third = (real_harmonics(l, directions) for l in (l1, l2, l3))
    result = np.einsum('pqa,pqb,pqc,pq->abc', first, second, third, weight, optimize=True)
    result[np.abs(result) < 1e-14] = 0.0
    result.setflags(write=False)
    return result
