"""Values of orbitals at points: splines times solid harmonics."""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.arrays import NumpyArrays, TorchArrays
from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis

#: Of the functions ``Y_1m``, which are this times a component of the direction.
NORMALISATION = np.sqrt(3 / (4 * np.pi))


@cache
def _monomials(l: int) -> tuple[tuple[tuple[int, int], ...], np.ndarray]:
    """How solid harmonics of degree l > 0 follow from products of components.

    Returns
    -------
    factors : tuple of (lower, component)
        Every monomial of degree l as one of degree l - 1 times a component.
    coefficients : (2l + 1, n) array
        ``r^l Y_lm`` in terms of the monomials, but for ``sqrt(3 / 4 pi)``.
    """
    monomials = list(combinations_with_replacement(range(3), l))
    lower = list(combinations_with_replacement(range(3), l - 1))
    points = np.random.default_rng(0).normal(size=(8 * len(monomials), 3))
    products = np.stack([points[:, list(monomial)].prod(axis=1) for monomial in monomials], axis=1)
    values = real_harmonics(l, points) * np.linalg.norm(points, axis=1, keepdims=True) ** l / NORMALISATION
    coefficients = np.linalg.lstsq(products, values, rcond=None)[0].T
    coefficients[np.abs(coefficients) < 1e-13] = 0.0
    return tuple((lower.index(monomial[:-1]), monomial[-1]) for monomial in monomials), coefficients


class OrbitalEvaluator:
    """Values of the orbitals of elements with equal shells at points.

    ``R(r) / r^l`` is a cubic spline on the basis' own mesh, multiplied by solid harmonics: no angles, no division.

    Parameters
    ----------
    species : list of SpeciesBasis
        With the same angular momenta and mesh.
    arrays : NumpyArrays or TorchArrays
        What the arrays of a call are.
    """

    def __init__(self, species: list[SpeciesBasis], arrays: NumpyArrays | TorchArrays):
        self._arrays = arrays
        self.n_orbitals = species[0].n_orbitals
        self._momenta = species[0].angular_momenta
        self._slices = species[0].shell_slices
        self._step = species[0].step
        self._last = int(np.ceil(max(each.cutoff_radius for each in species) / species[0].step))
        # coefficients of every power of every shell, one element after the other: (4, shells, elements * intervals)
        tables = np.concatenate([self._splines(each) for each in species], axis=2)
        self._table = arrays.array(tables * NORMALISATION)
        self._coefficients = [arrays.array(_monomials(l)[1]) for l in range(2, max(self._momenta) + 1)]

    def _splines(self, species: SpeciesBasis) -> np.ndarray:
        """(4, shells, intervals) coefficients in steps of the mesh; the last interval is zero, for points outside."""
        r = species.step * np.arange(self._last + 1)
        result = np.zeros((4, len(species.shells), self._last + 1))
        for index, shell in enumerate(species.shells):
            values = np.zeros(self._last + 1)
            n = min(len(values), len(shell.radial))
            values[:n] = np.where(r[:n] < shell.cutoff_radius, shell.radial[:n], 0.0)
            reduced = np.empty_like(values)
            reduced[1:] = values[1:] / r[1:] ** shell.angular_momentum
            # even in r: a parabola through the next two points gives the limit at the origin
            reduced[0] = values[0] if shell.angular_momentum == 0 else (4.0 * reduced[1] - reduced[2]) / 3.0
            last = int(np.ceil(species.cutoff_radius / species.step))
            spline = CubicSpline(r[: last + 1], reduced[: last + 1], bc_type=((1, 0.0), 'not-a-knot')).c
            result[:, index, :last] = spline * species.step ** np.array([[3.0], [2.0], [1.0], [0.0]])
        return result

    def __call__(self, displacements, members, out):
        """Write the values at displacements from n atoms.

        Parameters
        ----------
        displacements : (3, boxes, n, points) array
            bohr.
        members : (boxes, n) int array
            Which of the elements every atom is.
        out : (boxes, n, n_orbitals, points) array
            bohr^(-3/2).
        """
        arrays = self._arrays
        index, rest = arrays.intervals(displacements, self._step, self._last)
        index += members[..., None] * (self._last + 1)
        radial = arrays.cubics(self._table, index.reshape(-1), rest.reshape(-1))
        radial = radial.reshape(-1, *displacements.shape[1:])
        harmonics = self._harmonics(displacements)
        for l, rows, factor in zip(self._momenta, self._slices, radial, strict=True):
            arrays.multiply(factor, harmonics[l], out=arrays.permute(out[:, :, rows], (2, 0, 1, 3)))

    def _harmonics(self, displacements) -> list:
        """``r^l Y_lm`` for every l over ``sqrt(3 / 4 pi)``, (2l + 1, boxes, n, points); those of l = 1 are x, y, z."""
        shape = displacements.shape[1:]
        result = [self._arrays.array(np.full((1, 1, 1, 1), 1 / np.sqrt(3))), displacements]
        lower = displacements
        for l, coefficients in enumerate(self._coefficients, 2):
            factors, _ = _monomials(l)
            monomials = self._arrays.empty(len(factors), *shape)
            for row, (a, b) in zip(monomials, factors, strict=True):
                self._arrays.multiply(lower[a], displacements[b], out=row)
            result.append((coefficients @ monomials.reshape(len(factors), -1)).reshape(-1, *shape))
            lower = monomials
        return result
