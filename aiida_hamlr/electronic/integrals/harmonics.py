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
def rotation_generators(l: int) -> np.ndarray:
    """Real matrices ``A_a = <Y_m| (r x grad)_a |Y_m'>`` of the rotations about x, y and z, exact by quadrature.

    Angular momentum is ``L_a = -i A_a`` (units of hbar); of l = 1, in the order x, y, z, ``(A_a)_bc = eps_abc``.

    Returns
    -------
    (3, 2l + 1, 2l + 1) array, antisymmetric, read-only
    """
    directions, weight = sphere_quadrature(2 * l)
    values = real_harmonics(l, directions)
    result = np.empty((3, 2 * l + 1, 2 * l + 1))
    for axis, unit in enumerate(np.eye(3)):
        # The derivative of Y(R(angle) r) from a step into the complex plane, which loses no digits.
        moved = np.moveaxis(directions + 1e-30j * np.cross(unit, directions), -1, 0)
        functions = solid_harmonics(l, *moved)[l]
        derivatives = np.stack([np.broadcast_to(np.imag(f), weight.shape) for f in functions], axis=-1) / 1e-30
        result[axis] = np.einsum('pqa,pqb,pq->ab', values, derivatives, weight)
    result = 0.5 * (result - result.swapaxes(1, 2))
    result[np.abs(result) < 1e-13] = 0.0
    result.setflags(write=False)
    return result


def sphere_quadrature(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (p, q, 3) and weights (p, q) on the unit sphere, exact for harmonics up to a degree."""
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    azimuth = np.arange(degree + 1) * (2 * pi / (degree + 1))
    height, angle = np.meshgrid(nodes, azimuth, indexing='ij')
    radius = np.sqrt(1 - height**2)
    directions = np.stack([radius * np.sin(angle), height, radius * np.cos(angle)], axis=-1)
    return directions, np.broadcast_to(weights[:, None] * (2 * pi / (degree + 1)), height.shape)


@cache
def gaunt(l1: int, l2: int, l3: int) -> np.ndarray:
    """Integrals of three real spherical harmonics over the sphere, exact by quadrature.

    Returns
    -------
    (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) array, read-only
    """
    directions, weight = sphere_quadrature(l1 + l2 + l3)
    first, second, third = (real_harmonics(l, directions) for l in (l1, l2, l3))
    result = np.einsum('pqa,pqb,pqc,pq->abc', first, second, third, weight, optimize=True)
    result[np.abs(result) < 1e-14] = 0.0
    result.setflags(write=False)
    return result
