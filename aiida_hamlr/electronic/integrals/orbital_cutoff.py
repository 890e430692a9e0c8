"""How much of an orbital the plane waves of a cutoff miss.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import spherical_jn

from aiida_hamlr.electronic.integrals.radial_integrals import simpson_weights
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.units import RYDBERG

#: Cutoffs of wave functions that are in use, Ry.
CUTOFFS = (20, 30, 40, 60, 80, 100, 130, 160, 200)

#: Kinetic energy beyond a cutoff with which it serves, eV.
SUFFICIENT = 0.02

#: Energies that are not listed, eV.
NEGLIGIBLE = 1e-3

#: Kinetic energy that the free atom's orbitals may have above the plane-wave cutoff, eV per electron.
KINETIC_TAIL = 0.01

#: Step and end of the mesh of wave numbers, bohr^-1.
_STEP, _END = 0.02, 24.0


def kinetic_energy_beyond(species: SpeciesBasis, cutoffs: Sequence[float] = CUTOFFS) -> np.ndarray:
    """Kinetic energy of each shell in plane waves beyond some cutoffs.

    ``(2 / pi) int_(q^2 > E) q^4 R(q)^2 dq`` Ry, with ``R(q) = int r^2 R(r) j_l(q r) dr`` of a normalised orbital.
    Plane waves of a run with that cutoff cannot represent it: levels of the basis are too low by up to that much
    compared with those of a converged run.

    Parameters
    ----------
    species : SpeciesBasis
        Orbitals of an element.
    cutoffs : sequence of float
        Ry.

    Returns
    -------
    (n_shells, n_cutoffs) array
        eV.
    """
    q = np.arange(0.0, _END, _STEP)
    r = species.step * np.arange(len(species.shells[0].radial))
    weights = simpson_weights(len(r), species.step) * r**2
    momenta = np.array(species.angular_momenta)
    densities = np.empty((len(species.shells), len(q)))
    for l in set(species.angular_momenta):
        rows = np.flatnonzero(momenta == l)
        radial = np.array([species.shells[row].radial for row in rows])
        densities[rows] = (radial * weights @ spherical_jn(l, r[:, None] * q)) ** 2
    densities *= 2 / np.pi * q**4 * _STEP * RYDBERG
    return np.stack([densities[:, q**2 > cutoff].sum(axis=1) for cutoff in cutoffs], axis=1)


def describe_cutoffs(species: SpeciesBasis) -> list[str]:
    """One line for each shell: kinetic energy beyond the cutoffs, and the first that serves."""
    lines = []
    for shell, energies in zip(species.shells, kinetic_energy_beyond(species), strict=True):
        listed = ', '.join(
            f'{1000 * energy:.0f} at {cutoff} Ry'
            for cutoff, energy in zip(CUTOFFS, energies, strict=True)
            if energy > NEGLIGIBLE or cutoff == CUTOFFS[0]
        )
        enough = next(
            (f'{cutoff} Ry' for cutoff, energy in zip(CUTOFFS, energies, strict=True) if energy < SUFFICIENT), None
        )
        needs = f'use ecutwfc of {enough} or more' if enough else f'no cutoff up to {CUTOFFS[-1]} Ry is enough'
        lines.append(f'{species.element} {shell.label}: kinetic energy beyond a cutoff, meV: {listed}; {needs}')
    return lines


def sufficient_cutoff(basis: Basis) -> float | None:
    """Smallest of ``CUTOFFS``, Ry, beyond which no orbital has more than 20 meV of kinetic energy; None if none is."""
    energies = np.max([kinetic_energy_beyond(species).max(axis=0) for species in basis.values()], axis=0)
    enough = np.flatnonzero(energies < SUFFICIENT)
    return float(CUTOFFS[enough[0]]) if len(enough) else None


def suggested_cutoff(pseudo: Pseudopotential) -> float:
    """Plane-wave cutoff above which the free atom's orbitals have less than 10 meV of kinetic energy each, Ry.

    Parameters
    ----------
    pseudo : Pseudopotential
        Its local potential and projectors decide.
    """
    energies = np.arange(10.0, 200.0, 2.0)
    q = np.sqrt(np.arange(0.0, 400.0, 0.5))
    basis = generate_basis(pseudo, 'sz', cutoff_radius=12.0)
    worst = np.zeros(len(energies))
    for shell in basis.shells:
        r = basis.step * np.arange(len(shell.radial))
        transform = spherical_jn(shell.angular_momentum, q[:, None] * r) @ (shell.radial * r**2 * basis.step)
        density = 2 / np.pi * transform**2 * q**4
        steps = np.diff(q, prepend=0.0)
        above = np.array([(density * steps)[q**2 > energy].sum() for energy in energies]) * RYDBERG
        worst = np.maximum(worst, above)
    below = np.flatnonzero(worst < KINETIC_TAIL)
    return float(energies[below[0]]) if len(below) else float(energies[-1])
