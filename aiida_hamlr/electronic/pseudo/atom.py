"""The free or confined pseudo-atom: its radial Kohn-Sham equation in spherical Bessel functions.

The radial functions of angular momentum l are expanded in ``j_l(q_n r)`` with ``j_l(q_n r_c) = 0``, which are
orthogonal in the sphere of radius r_c and in which the kinetic energy is diagonal. Lengths are in bohr, potentials Ry.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh
from scipy.optimize import NoConvergence, anderson, brentq
from scipy.special import spherical_jn

from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential, PseudoWavefunction
from aiida_hamlr.electronic.pseudo.xc import xc_potential_radial
from aiida_hamlr.electronic.units import RYDBERG
from aiida_hamlr.errors import NumericalError

#: Step of the uniform radial mesh, bohr.
STEP = 0.01

#: Largest kinetic energy of the Bessel functions, Ry.
KINETIC_CUTOFF = 300.0

#: Radius of the sphere in which an atom counts as free, bohr.
FREE_RADIUS = 20.0


@dataclass(frozen=True)
class SoftConfinement:
    """``V0 exp(-(r_c - r_i) / (r - r_i)) / (r_c - r)`` between ``r_i`` and ``r_c``, zero inside.

    It ends the orbitals at ``r_c`` without the kink of a hard wall (Junquera et al., Phys. Rev. B 64, 235111).

    Parameters
    ----------
    strength : float
        ``V0``, Ry bohr.
    onset : float
        ``r_i / r_c``.
    """

    strength: float = 40.0
    onset: float = 0.6

    def potential(self, r: np.ndarray, cutoff_radius: float) -> np.ndarray:
        """(n,) potential, Ry; zero at ``r_c`` itself, where it diverges and every orbital vanishes."""
        inner = self.onset * cutoff_radius
        result = np.zeros(len(r))
        shell = (r > inner) & (r < cutoff_radius * (1.0 - 1e-12))
        x = r[shell]
        result[shell] = self.strength * np.exp(-(cutoff_radius - inner) / (x - inner)) / (cutoff_radius - x)
        return result


class PseudoAtom:
    """A pseudo-atom in the potential of its own tabulated density.

    The potential is ``V_loc + V_H[rho_at] + V_xc[rho_at + rho_core]``, to which the separable nonlocal terms come. The
    density is scaled to the charge of the ion, so that the potential has no Coulomb tail.

    Parameters
    ----------
    pseudo : Pseudopotential
    """

    def __init__(self, pseudo: Pseudopotential):
        self.pseudo = pseudo
        r = pseudo.r
        self._end = r[-1]
        self._r_v_local = _spline_through_zero(r, r * pseudo.v_local)
        density = _spline_through_zero(r, pseudo.rho_atom)
        scale = pseudo.z_valence / density.integrate(0.0, self._end)
        self._shell_density = CubicSpline(density.x, scale * density(density.x))
        self._enclosed = self._shell_density.antiderivative()
        over_r = np.divide(pseudo.rho_atom, r, out=np.zeros(len(r)), where=r > 0)
        self._outer = _spline_through_zero(r, scale * over_r).antiderivative()
        self._core = None if pseudo.core_density is None else CubicSpline(r, pseudo.core_density)

    def density(self, r) -> np.ndarray:
        """Valence density on an increasing mesh that starts at the origin, bohr^-3."""
        inside = np.where(r <= self._end, self._shell_density(np.minimum(r, self._end)), 0.0)
        density = np.divide(inside, 4.0 * np.pi * r**2, out=np.zeros(len(r)), where=r > 0)
        # Even in r, so that the value at the origin follows from the next two.
        density[0] = (density[1] * r[2] ** 2 - density[2] * r[1] ** 2) / (r[2] ** 2 - r[1] ** 2)
        return np.maximum(density, 0.0)

    def screened_potential(self, r) -> np.ndarray:
        """``V_loc + V_H + V_xc`` on an increasing mesh that starts at the origin, Ry."""
        inner = np.minimum(r, self._end)
        charge = 2.0 * self.pseudo.z_valence
        product = np.where(r <= self._end, self._r_v_local(inner), -charge) + 2.0 * self._enclosed(inner)
        potential = np.divide(product, r, out=np.zeros(len(r)), where=r > 0)
        potential[0] = (potential[1] * r[2] ** 2 - potential[2] * r[1] ** 2) / (r[2] ** 2 - r[1] ** 2)
        potential += 2.0 * (self._outer(self._end) - self._outer(inner))
        core = None if self._core is None else np.where(r <= self._end, self._core(inner), 0.0)
        return potential + xc_potential_radial(self.pseudo.functional, r, self.density(r), core)

    def solve(
        self,
        l: int,
        cutoff_radius: float = FREE_RADIUS,
        n: int = 1,
        confinement: SoftConfinement | None = None,
        kinetic_cutoff: float = KINETIC_CUTOFF,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lowest solutions of one angular momentum in a sphere.

        Parameters
        ----------
        l : int
            Angular momentum.
        cutoff_radius : float
            Radius of the sphere, bohr; a multiple of 0.01.
        n : int
            How many solutions.
        confinement : SoftConfinement, optional
            Added to the potential; without it the sphere is a hard wall.
        kinetic_cutoff : float
            Largest kinetic energy of the Bessel functions, Ry.

        Returns
        -------
        energies : (n,) array
            eV.
        radial : (n, nr) array
            ``R(r)`` on the mesh ``0.01 arange(nr)``, ``int R^2 r^2 dr = 1``, bohr^-3/2; the largest lobe is positive.

        Raises
        ------
        ValueError
            If the radius is not a positive multiple of the step, or more solutions are asked for than there are
            functions.
        """
        r = radial_mesh(cutoff_radius)
        potential = self.screened_potential(r)
        if confinement is not None:
            potential = potential + confinement.potential(r, cutoff_radius)
        wave_numbers, functions = _bessel_functions(l, cutoff_radius, kinetic_cutoff)
        if not 0 < n <= len(functions):
            raise ValueError(f'{n} solutions asked for, there are {len(functions)} functions of l = {l}')
        weighted = functions * (trapezoid_weights(len(r)) * r)
        hamiltonian = np.diag(wave_numbers**2) + (weighted * (potential * r)) @ functions.T
        indices = [i for i, p in enumerate(self.pseudo.projectors) if p.angular_momentum == l]
        if indices:
            overlaps = weighted @ self._projectors(indices, r).T
            hamiltonian += overlaps @ self.pseudo.dij[np.ix_(indices, indices)] @ overlaps.T
        energies, coefficients = eigh(hamiltonian, subset_by_index=(0, n - 1))
        radial = coefficients.T @ functions
        largest = np.abs(radial).argmax(axis=1)
        radial *= np.sign(radial[np.arange(n), largest])[:, None]
        return energies * RYDBERG, radial

    def _projectors(self, indices, r) -> np.ndarray:
        """(n_projectors, nr) array of ``r beta(r)``."""
        rows = []
        for index in indices:
            projector = self.pseudo.projectors[index]
            end = self.pseudo.r[projector.cutoff_index - 1]
            spline = _spline_through_zero(self.pseudo.r, projector.values)
            rows.append(np.where(r <= end, spline(np.minimum(r, end)), 0.0))
        return np.array(rows)


def radial_mesh(cutoff_radius: float) -> np.ndarray:
    """The uniform mesh from 0 to the radius, bohr.

    Raises
    ------
    ValueError
        If the radius is not a multiple of the step, or so small that it cannot be one.
    """
    points = round(cutoff_radius / STEP)
    if not np.isclose(points * STEP, cutoff_radius, rtol=0.0, atol=1e-9) or points < 100:
        raise ValueError(f'cutoff radius {cutoff_radius} bohr: give a multiple of {STEP} that is at least 1')
    return STEP * np.arange(points + 1)


def trapezoid_weights(points: int) -> np.ndarray:
    """Weights on the uniform mesh; of high order here, as the integrands are even in r and vanish at the end."""
    weights = np.full(points, STEP)
    weights[[0, -1]] = 0.5 * STEP
    return weights


def solve_self_consistently(pseudo: Pseudopotential, tolerance: float = 1e-9) -> Pseudopotential:
    """Solve the free pseudo-atom in the potential of its own orbitals.

    Parameters
    ----------
    pseudo : Pseudopotential
        Its mesh is ``0.01 arange(n)``; its ``wavefunctions`` say which shells are occupied, those of an angular
        momentum from the lowest on; its ``rho_atom`` is where the iteration starts.
    tolerance : float
        Largest change of ``4 pi r^2 rho`` in the last iteration, electrons per bohr.

    Returns
    -------
    Pseudopotential
        With the density, orbitals and levels of the solution.

    Raises
    ------
    NumericalError
        If the iteration does not converge.
    """
    radius = round(float(pseudo.r[-1]), 9)
    shells = [w for w in pseudo.wavefunctions if w.occupation > 0]
    numbers, places = Counter(), []
    for shell in shells:
        places.append(numbers[shell.angular_momentum])
        numbers[shell.angular_momentum] += 1
    r = radial_mesh(radius)

    def orbitals(density):
        atom = PseudoAtom(replace(pseudo, rho_atom=density))
        solutions = {l: atom.solve(l, radius, n) for l, n in numbers.items()}
        for shell, place in zip(shells, places, strict=True):
            energies, radial = (values[place] for values in solutions[shell.angular_momentum])
            values = r * radial
            yield PseudoWavefunction(shell.label, shell.angular_momentum, shell.occupation, values, float(energies))

    def residual(density):
        return sum(w.occupation * w.values**2 for w in orbitals(density)) - density

    try:
        density = anderson(residual, pseudo.rho_atom, alpha=0.4, M=6, f_tol=tolerance, maxiter=100)
    except NoConvergence as error:
        raise NumericalError(f'the pseudo-atom of {pseudo.element} does not become self-consistent') from error
    wavefunctions = tuple(orbitals(density))
    density = sum(w.occupation * w.values**2 for w in wavefunctions)
    return replace(pseudo, rho_atom=density, wavefunctions=wavefunctions)


def _spline_through_zero(r, values) -> CubicSpline:
    """Spline of a function that vanishes at the origin, whether or not the mesh begins there."""
    if r[0] > 0:
        r, values = np.concatenate([[0.0], r]), np.concatenate([[0.0], values])
    return CubicSpline(r, values)


@lru_cache(maxsize=32)
def _bessel_functions(l: int, radius: float, kinetic_cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Wave numbers and the normalised functions (n_functions, nr) of a sphere."""
    count = max(8, int(np.sqrt(kinetic_cutoff) * radius / np.pi))
    wave_numbers = _bessel_zeros(l, count) / radius
    functions = spherical_jn(l, wave_numbers[:, None] * radial_mesh(radius))
    norms = np.sqrt(0.5 * radius**3) * np.abs(spherical_jn(l + 1, wave_numbers * radius))
    return wave_numbers, functions / norms[:, None]


@lru_cache(maxsize=64)
def _bessel_zeros(l: int, count: int) -> np.ndarray:
    """The first positive zeros of ``j_l``; those of l lie between those of l - 1."""
    if l == 0:
        return np.pi * np.arange(1, count + 1)
    lower = _bessel_zeros(l - 1, count + 1)
    return np.array([brentq(lambda x: spherical_jn(l, x), a, b, xtol=1e-13) for a, b in pairwise(lower)])
