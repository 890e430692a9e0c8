"""Radial functions on two centres and their integrals, by Fourier-Bessel transforms.

A product of two functions ``R_a(r) Y_la`` at the origin and ``R_b(r) Y_lb`` at ``d`` integrates in Fourier space to

    8 sum_L (-1)^((la - lb - L) / 2) int q^(2 + p) f_a(q) f_b(q) j_L(q d) dq  sum_M G(la, lb, LM) Y_LM(d)

with ``f(q) = int R(r) j_l(q r) r^2 dr``, Gaunt coefficients G, ``p = 0`` for the overlap and ``p = 2`` for ``-nabla^2``
(Sankey and Niklewski, Phys. Rev. B 40, 3979 (1989); Soler et al., J. Phys.: Condens. Matter 14, 2745 (2002)). The
radial integrals are cubic splines in the distance. All in bohr and Ry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.integrals.harmonics import gaunt, real_harmonics


@dataclass(frozen=True)
class RadialFunctions:
    """Functions ``R(r) Y_lm`` on one centre, by their Fourier-Bessel transforms.

    Parameters
    ----------
    angular_momenta : tuple of int
    transforms : (n, n_q) array
        ``int R(r) j_l(q r) r^2 dr`` on a common uniform mesh of q from 0.
    radius : float
        Radius beyond which all functions vanish, bohr.
    """

    angular_momenta: tuple[int, ...]
    transforms: np.ndarray
    radius: float

    @property
    def slices(self) -> list[slice]:
        """Rows of every function among all (function, m)."""
        ends = np.cumsum([2 * l + 1 for l in self.angular_momenta])
        return [slice(int(end) - 2 * l - 1, int(end)) for end, l in zip(ends, self.angular_momenta, strict=True)]

    @property
    def size(self) -> int:
        """Number of functions, each m counted."""
        return sum(2 * l + 1 for l in self.angular_momenta)


def simpson_weights(n: int, step: float) -> np.ndarray:
    """Weights of Simpson's rule on a uniform mesh; of an even number of points the last interval is a trapezoid."""
    odd = n - 1 + n % 2
    weights = np.zeros(n)
    weights[:odd] = 2.0 / 3.0
    weights[1:odd:2] = 4.0 / 3.0
    weights[[0, odd - 1]] = 1.0 / 3.0
    if odd < n:
        weights[n - 2 :] += 0.5
    return weights * step


class RadialIntegrals:
    """Integrals between all functions of two centres as splines of the distance.

    Parameters
    ----------
    left, right : RadialFunctions
    q : (n_q,) array
        Mesh of the transforms, uniform from 0. The integrand is even in q and the transforms' support is bounded, so
        that the trapezoid rule is exact once ``dq <= pi / (r_a + r_b)``.
    bessel : callable
        ``bessel(L)`` is the (n_q, n_d) table of ``j_L(q d)``.
    distances : (n_d,) array
    powers : tuple of int
        Powers p of q in the integrand, each an operator.
    """

    def __init__(self, left: RadialFunctions, right: RadialFunctions, q, bessel, distances, powers=(0,)):
        self.left, self.right, self.powers = left, right, powers
        columns, self._channels = [], {}
        n_columns = 0
        for la in sorted(set(left.angular_momenta)):
            a = [i for i, l in enumerate(left.angular_momenta) if l == la]
            for lb in sorted(set(right.angular_momenta)):
                b = [i for i, l in enumerate(right.angular_momenta) if l == lb]
                product = left.transforms[a][:, None] * right.transforms[b]
                for total in range(abs(la - lb), la + lb + 1, 2):
                    sign = 8.0 * (q[1] - q[0]) * (-1) ** ((la - lb - total) // 2)
                    weighted = np.stack([product * (sign * q ** (2 + power)) for power in powers])
                    columns.append((weighted.reshape(-1, len(q)) @ bessel(total)).T)
                    width = columns[-1].shape[1]
                    self._channels.setdefault((la, lb, tuple(a), tuple(b)), []).append((total, n_columns, width))
                    n_columns += width
        self._spline = CubicSpline(distances, np.concatenate(columns, axis=1))
        self._l_max = max(left.angular_momenta) + max(right.angular_momenta)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(powers, n, rows, columns) integrals for vectors (n, 3) from the left to the right centre, bohr."""
        distances = np.linalg.norm(vectors, axis=1)
        radial = self._spline(distances)
        radial[distances >= self.left.radius + self.right.radius] = 0.0
        harmonics = [real_harmonics(l, vectors) for l in range(self._l_max + 1)]
        n = len(vectors)
        result = np.empty((len(self.powers), n, self.left.size, self.right.size))
        for (la, lb, a, b), channels in self._channels.items():
            blocks = 0.0
            for total, start, width in channels:
                values = radial[:, start : start + width].reshape(n, len(self.powers), len(a), len(b))
                angular = harmonics[total] @ gaunt(la, lb, total).transpose(2, 0, 1).reshape(2 * total + 1, -1)
                angular = angular.reshape(n, 2 * la + 1, 2 * lb + 1)
                blocks = blocks + values[:, :, :, None, :, None] * angular[:, None, None, :, None, :]
            rows = np.concatenate([np.arange(s.start, s.stop) for s in (self.left.slices[i] for i in a)])
            columns = np.concatenate([np.arange(s.start, s.stop) for s in (self.right.slices[i] for i in b)])
            block = blocks.reshape(n, len(self.powers), len(rows), len(columns)).transpose(1, 0, 2, 3)
            result[:, :, rows[:, None], columns] = block
        return result
