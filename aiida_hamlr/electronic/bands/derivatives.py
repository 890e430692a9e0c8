"""Velocities and effective masses from analytic derivatives of H(k) and S(k).

With ``M_a = dM/dk_a = sum_R i R_a M(R) exp(i k.R)``, k in 1/Å, and ``c^+ S c = 1``, for a state of energy e,

    de/dk_a = c^+ (H_a - e S_a) c,

and for a group D of states that are degenerate, at a band edge, the energies along a direction n are the eigenvalues of
``n_a n_b W_ab / 2 q^2`` with (Löwdin, J. Chem. Phys. 19, 1396 (1951); all other states of the basis enter)

    W_ab = C_D^+ [H_ab - e S_ab] C_D - sum_{m not in D} (w_a^Dm w_b^mD + w_b^Dm w_a^mD) / (e_m - e),
    w_a^Dm = C_D^+ (H_a - e S_a) c_m.

For a single state the terms ``- v_a s_b - v_b s_a`` with ``s_a = c^+ S_a c`` are added, so that W is the second
derivative also where the slope v is not zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from scipy import linalg

from aiida_hamlr.electronic.bands.kspace import BlochSum, recorded_matrix
from aiida_hamlr.electronic.bands.spinors import spinor_matrices, spinor_overlaps
from aiida_hamlr.electronic.geometry import periodic_directions
from aiida_hamlr.electronic.lattice import reciprocal, unit_vector
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: States whose energies differ by less are degenerate, eV.
DEGENERATE = 1e-4

#: hbar^2 / m_e, eV Å^2, and hbar, eV s (CODATA 2018).
HBAR2_PER_MASS = 7.619964231
HBAR = 6.582119569e-16

#: A slope within a degenerate group above this makes its dispersion linear, eV Å.
_LINEAR = 1e-3

#: Directions along which the masses of degenerate edges are given, Cartesian.
DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))


class KDerivatives:
    """Bloch sums of H and S with their first and second derivatives at one k-point.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``matrix`` and ``overlap``.
    matrix : str
        'hamiltonian' or 'h0'.
    spin : int
        0, or 1 for spin down; without effect for spinors.

    Notes
    -----
    With a spin-orbit part the matrices are those of spinors, (2n, 2n), see `spinor_matrices`, which is linear in H and
    K and thus holds for their derivatives too.

    Raises
    ------
    ValueError
        If the Hamiltonian lacks a matrix.
    """

    def __init__(self, hamiltonian: Hamiltonian, matrix: str = 'hamiltonian', spin: int = 0):
        self._sums = BlochSum(hamiltonian.pattern)
        self._vectors = self._sums.images @ hamiltonian.atoms.cell[:]
        channels = np.atleast_2d(recorded_matrix(hamiltonian, matrix))
        if not hamiltonian.has_spin_orbit:
            channels = channels[[spin]]
        coupling = hamiltonian.spin_orbit if hamiltonian.has_spin_orbit else ()
        self._channels, self._coupling, (self._overlap,) = (
            [self._sums.operator(np.asarray(each, dtype=float)) for each in entries]
            for entries in (channels, coupling, recorded_matrix(hamiltonian, 'overlap')[None])
        )
        self._axis = hamiltonian.magnetization_axis

    def at(self, kpoint: np.ndarray, order: int = 1) -> tuple[list, list]:
        """H and S with their derivatives: ``[M, M_a (3, n, n), M_ab (3, 3, n, n)]`` of each, up to an order."""
        phases = self._sums.phases(np.asarray(kpoint, dtype=float)[None])[:, 0]
        factors = [phases]
        if order > 0:
            factors += [1j * self._vectors[:, a] * phases for a in range(3)]
        if order > 1:
            factors += [-self._vectors[:, a] * self._vectors[:, b] * phases for a in range(3) for b in range(3)]
        factors, results = np.stack(factors, axis=1), []
        channels, coupling, (overlap,) = (
            [self._sums.dense_of(operator, factors) for operator in operators]
            for operators in (self._channels, self._coupling, [self._overlap])
        )
        matrix = channels[0]
        if coupling:
            matrix, overlap = spinor_matrices(channels, coupling, self._axis), spinor_overlaps(overlap)
        for matrices in (matrix, overlap):
            parts = [matrices[0]]
            if order > 0:
                parts.append(matrices[1:4])
            if order > 1:
                parts.append(matrices[4:].reshape(3, 3, *matrices.shape[1:]))
            results.append(parts)
        return results[0], results[1]

    def solve(self, kpoint: np.ndarray, order: int = 1) -> tuple[np.ndarray, np.ndarray, list, list]:
        """All energies (n,) and states (n, n) at a k-point, and the matrices of `at`."""
        H, S = self.at(kpoint, order)
        energies, states = linalg.eigh(H[0], S[0])
        return energies, states, H, S


def degenerate_groups(energies: np.ndarray, tolerance: float = DEGENERATE) -> list[slice]:
    """Runs of ascending energies (n,), eV, whose neighbours differ by less than a tolerance, eV."""
    breaks = np.flatnonzero(np.diff(energies) >= tolerance) + 1
    edges = [0, *breaks.tolist(), len(energies)]
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def band_velocities(hamiltonian: Hamiltonian, kpoints: np.ndarray, matrix: str = 'hamiltonian') -> np.ndarray:
    """Slopes of all bands, ``de/dk``; divided by ``HBAR`` they are velocities in Å/s.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``matrix`` and ``overlap``.
    kpoints : (nk, 3) array
        Fractional.
    matrix : str
        'hamiltonian' or 'h0'.

    Returns
    -------
    (nk, nb, 3) or, with collinear spin, (n_spin, nk, nb, 3) array
        eV Å, Cartesian; with a spin-orbit part of spinors, twice as many. The bands of a degenerate group have several
        slopes along each axis: these stand in ascending order, axis by axis.
    """
    spin_axis = recorded_matrix(hamiltonian, matrix).ndim == 2 and not hamiltonian.has_spin_orbit
    n_spin = 2 if spin_axis else 1
    kpoints = np.asarray(kpoints, dtype=float).reshape(-1, 3)
    n_bands = hamiltonian.n_orbitals * (2 if hamiltonian.has_spin_orbit else 1)
    result = np.empty((n_spin, len(kpoints), n_bands, 3))
    for spin in range(n_spin):
        derivatives = KDerivatives(hamiltonian, matrix, spin)
        for k, kpoint in enumerate(kpoints):
            energies, states, H, S = derivatives.solve(kpoint)
            for group in degenerate_groups(energies):
                c, mean = states[:, group], energies[group].mean()
                for a in range(3):
                    slope = c.conj().T @ (H[1][a] - mean * S[1][a]) @ c
                    result[spin, k, group, a] = np.linalg.eigvalsh(slope)
    return result if spin_axis else result[0]


@dataclass(frozen=True)
class EffectiveMass:
    """Curvature of the bands at a k-point.

    Parameters
    ----------
    energy : float
        eV.
    kpoint : (3,) array
        Fractional.
    bands : (int, int)
        First band of the degenerate group, counted from 0, and their number.
    curvature : (g, g, 3, 3) array
        ``W_ab`` between the g degenerate states, eV Å^2; for one state the Hessian of the energy.
    slope : float
        Largest slope of the group along an axis, eV Å: zero at an extremum.
    gradient : (3,) array
        Slope of a single band, of a group its mean, eV Å.
    span : (d, 3) array
        Orthonormal vectors of the space in which there are bands: of the plane of a layer, of the axis of a chain.
    """

    energy: float
    kpoint: np.ndarray
    bands: tuple[int, int]
    curvature: np.ndarray
    slope: float
    gradient: np.ndarray
    span: np.ndarray

    @property
    def is_linear(self) -> bool:
        """Whether the slope of degenerate bands keeps a mass from being defined."""
        return self.bands[1] > 1 and self.slope > _LINEAR

    @cached_property
    def tensor(self) -> np.ndarray | None:
        """(3, 3) mass tensor in units of the electron's mass; None if the band is degenerate or flat.

        Zero along the directions in which there are no bands.
        """
        if self.principal is None:
            return None
        masses, axes = self.principal
        return axes.T * masses @ axes

    @cached_property
    def principal(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Masses (d,) in electron masses along the principal axes, and these as the rows of a (d, 3) matrix."""
        if self.bands[1] > 1 or len(self.span) == 0:
            return None
        second, axes = np.linalg.eigh(self.span @ self.curvature[0, 0].real @ self.span.T)
        if np.abs(second).min() < 1e-12:
            return None
        order = np.argsort(HBAR2_PER_MASS / second)
        return HBAR2_PER_MASS / second[order], axes.T[order] @ self.span

    def newton_step(self) -> np.ndarray:
        """(3,) step to the extremum of a single band by its curvature, 1/Å."""
        curvature = self.span @ self.curvature[0, 0].real @ self.span.T
        return -np.linalg.solve(curvature, self.span @ self.gradient) @ self.span

    def has_bands_along(self, direction) -> bool:
        """Whether a Cartesian direction lies in the plane of a layer, or along a chain; any of a crystal."""
        n = unit_vector(direction, 'direction')
        return bool(np.linalg.norm(self.span @ n) > 1.0 - 1e-6)

    def along(self, direction) -> np.ndarray:
        """(g,) masses of the bands along a Cartesian direction, in electron masses, in ascending order of energy.

        Negative where the band bends downwards; infinite where it is flat.
        """
        n = unit_vector(direction, 'direction')
        second = np.linalg.eigvalsh(np.einsum('a,b,ijab->ij', n, n, self.curvature))
        with np.errstate(divide='ignore'):
            return HBAR2_PER_MASS / second


def effective_mass(
    hamiltonian: Hamiltonian,
    kpoint: np.ndarray,
    band: int,
    matrix: str = 'hamiltonian',
    spin: int = 0,
    tolerance: float = DEGENERATE,
) -> EffectiveMass:
    """Effective mass of a band, with those that are degenerate with it.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``matrix`` and ``overlap``.
    kpoint : (3,) array
        Fractional; for degenerate bands an extremum.
    band : int
        Counted from 0.
    matrix : str
        'hamiltonian' or 'h0'.
    spin : int
        0, or 1 for spin down.
    tolerance : float
        Energies that differ by less are degenerate, eV.

    Returns
    -------
    EffectiveMass
        Curvature in eV Å^2, masses in electron masses.
    """
    energies, states, H, S = KDerivatives(hamiltonian, matrix, spin).solve(kpoint, order=2)
    group = next(each for each in degenerate_groups(energies, tolerance) if each.start <= band < each.stop)
    others = np.r_[0 : group.start, group.stop : len(energies)]
    mean = float(energies[group].mean())
    c = states[:, group]
    inner = np.array([c.conj().T @ (H[1][a] - mean * S[1][a]) @ c for a in range(3)])
    outer = np.array([c.conj().T @ (H[1][a] - mean * S[1][a]) @ states[:, others] for a in range(3)])
    scaled = outer / (energies[others] - mean)
    size = group.stop - group.start
    curvature = np.empty((size, size, 3, 3), dtype=complex)
    for a in range(3):
        for b in range(3):
            second = c.conj().T @ (H[2][a, b] - mean * S[2][a, b]) @ c
            mixed = scaled[a] @ outer[b].conj().T
            curvature[..., a, b] = second - mixed - (scaled[b] @ outer[a].conj().T)
    if size == 1:
        v = inner[:, 0, 0].real
        s = np.array([(c.conj().T @ S[1][a] @ c)[0, 0].real for a in range(3)])
        curvature[0, 0] -= np.outer(v, s) + np.outer(s, v)
    gradient = np.array([np.trace(part).real for part in inner]) / size
    slope = max(float(np.abs(np.linalg.eigvalsh(part)).max()) for part in inner)
    kpoint, bands = np.asarray(kpoint, dtype=float), (group.start, size)
    return EffectiveMass(mean, kpoint, bands, curvature, slope, gradient, _directions_of_bands(hamiltonian.atoms))


def _directions_of_bands(atoms: Atoms) -> np.ndarray:
    """(d, 3) orthonormal vectors of the space of the periodic directions."""
    periodic = periodic_directions(atoms)
    return np.eye(3) if periodic.all() else np.linalg.qr(atoms.cell[:][periodic].T)[0].T


def refine_extremum(
    hamiltonian: Hamiltonian, kpoint: np.ndarray, band: int, spin: int = 0, steps: int = 20
) -> EffectiveMass:
    """The extremum of a band next to a k-point, by Newton steps of at most 0.05 1/Å.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``.
    kpoint : (3,) array
        Fractional; where the search starts.
    band : int
        Counted from 0.
    spin : int
        0, or 1 for spin down.
    steps : int
        Number of steps at most.

    Returns
    -------
    EffectiveMass
        At the extremum; at the start where the band is degenerate or no extremum of its kind is near.
    """
    first = found = effective_mass(hamiltonian, kpoint, band, spin=spin)
    vectors, periodic = reciprocal(hamiltonian.atoms.cell[:]), periodic_directions(hamiltonian.atoms)
    for _ in range(steps):
        if found.bands[1] > 1 or found.slope < 1e-7:
            break
        step = found.newton_step()
        step *= min(1.0, 0.05 / max(np.linalg.norm(step), 1e-12))
        step = np.where(periodic, step @ np.linalg.inv(vectors), 0.0)
        found = effective_mass(hamiltonian, found.kpoint + step, band, spin=spin)
    moved = np.linalg.norm((found.kpoint - first.kpoint) @ vectors)
    return found if found.bands[1] == 1 and found.slope < 1e-4 and moved < 0.3 else first


def edge_masses(hamiltonian: Hamiltonian, edges: Mapping) -> dict:
    """Effective masses at both band edges as plain JSON values.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``.
    edges : mapping
        ``vbm_kpoint``, ``vbm_band``, ``cbm_kpoint``, ``cbm_band`` and, with spin, ``vbm_spin`` and ``cbm_spin``, as of
        `BandAttributes`. The extremum next to each point is searched.

    Returns
    -------
    dict
        By edge ('vbm', 'cbm'): ``energy_eV``, ``kpoint`` (fractional), ``first_band``, ``n_degenerate``,
        ``masses_along`` (electron masses by direction, as '[110]', Cartesian) and, for a single band,
        ``principal_masses`` and ``principal_axes``: three in a crystal, two in a layer. ``is_extremum`` is false if a
        slope is left.
    """
    result = {}
    for edge in ('vbm', 'cbm'):
        mass = refine_extremum(
            hamiltonian, edges[f'{edge}_kpoint'], edges[f'{edge}_band'], edges.get(f'{edge}_spin', 0)
        )
        along = {
            f'[{"".join(map(str, n))}]': [_finite(m) for m in mass.along(n)]
            for n in DIRECTIONS
            if mass.has_bands_along(n)
        }
        result[edge] = {
            'energy_eV': mass.energy,
            'kpoint': mass.kpoint.tolist(),
            'first_band': mass.bands[0],
            'n_degenerate': mass.bands[1],
            'is_extremum': bool(mass.slope < _LINEAR),
            'masses_along': along,
        }
        if mass.principal is not None:
            masses, axes = mass.principal
            result[edge] |= {'principal_masses': masses.tolist(), 'principal_axes': axes.tolist()}
    return result


def _finite(mass: float) -> float | None:
    return float(mass) if np.isfinite(mass) else None
