"""Clebsch-Gordan coefficients of real spherical harmonics in e3nn's convention, in float64.

They are those of ``e3nn.o3.wigner_3j`` times ``sqrt(2 l3 + 1)``. Made here because importing e3nn takes longer than
many a prediction.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import factorial, sqrt

import numpy as np


@cache
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """(2l3 + 1, 2l1 + 1, 2l2 + 1) orthonormal real tensors that couple shells l1 and l2 to l3; read-only."""
    one, two, three = (_complex_of_real(l) for l in (l1, l2, l3))
    table = np.einsum('ikn,ij,kl,nm->mjl', _complex_coefficients(l1, l2, l3), one, two, three.conj()).real.copy()
    # The complex coefficients are normalised for every component of l3; real ones then are, too.
    table.setflags(write=False)
    return table


def _complex_of_real(l: int) -> np.ndarray:
    """(complex m, real m) harmonics of Condon and Shortley's phase in terms of real ones.

    The factor (-i)^l makes the coefficients between real harmonics real for every l1, l2, l3.
    """
    matrix = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    matrix[l, l] = 1.0
    for m in range(1, l + 1):
        matrix[l - m, [l + m, l - m]] = np.array([1.0, -1j]) / sqrt(2.0)
        matrix[l + m, [l + m, l - m]] = (-1) ** m * np.array([1.0, 1j]) / sqrt(2.0)
    return (-1j) ** l * matrix


def _complex_coefficients(l1: int, l2: int, l3: int) -> np.ndarray:
    """(2l1 + 1, 2l2 + 1, 2l3 + 1) coefficients <l1 m1 l2 m2 | l3 m3>."""
    result = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            result[l1 + m1, l2 + m2, l3 + m1 + m2] = _coefficient(l1, m1, l2, m2, l3, m1 + m2)
    return result


def _coefficient(l1: int, m1: int, l2: int, m2: int, l3: int, m3: int) -> float:
    """<l1 m1 l2 m2 | l3 m3> by Racah's formula, with exact sums (Racah, Phys. Rev. 62, 438 (1942))."""
    f = factorial
    square = Fraction((2 * l3 + 1) * f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(-l1 + l2 + l3), f(l1 + l2 + l3 + 1)) * (
        f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
    )
    total = Fraction(0)
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        below = f(k) * f(l1 + l2 - l3 - k) * f(l1 - m1 - k) * f(l2 + m2 - k) * f(l3 - l2 + m1 + k) * f(l3 - l1 - m2 + k)
        total += Fraction((-1) ** k, below)
    return sqrt(square) * float(total)
