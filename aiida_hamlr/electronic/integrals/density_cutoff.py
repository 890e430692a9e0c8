"""Which cutoff of the density a grid needs, from pseudopotentials and orbitals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.integrate import trapezoid

from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_form_factor
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.units import RYDBERG

#: Error of an atom's levels up to which a cutoff is sufficient, eV, and from which on it is named.
SUFFICIENT, NOTEWORTHY = 1e-3, 5e-3

#: Cutoffs that are tried: the first, which most elements need at most, the step, and the last, Ry.
LEAST_CUTOFF, CUTOFF_STEP, LARGEST_CUTOFF = 160.0, 40.0, 1600.0

#: Wave vectors of the integrals beyond the cutoff.
_N_BEYOND = 150

#: How much levels change between the points of a grid, in units of the integral: mean of single atoms of H, C, N, O, F
#: and Zn at 80 to 240 Ry (0.7 to 24 where they change by more than 5 meV and the shells are s and p).
_SPREAD = 8.0


def cutoff_error(species: SpeciesBasis, pseudo: Pseudopotential, ecutrho: float) -> float:
    """How much the levels of an atom depend on where it lies between the points of a grid.

    A grid does not tell components of the potential v and of the density rho of an orbital beyond the cutoff from those
    within. The integral ``int_{q > q_c} q^2 |v(q) rho(q)| dq / 2 pi^2`` of the neutral atom's potential, for the shell
    that needs them most, says how large they are. Returned is eight times as much: the order of magnitude by which
    levels change when the atom moves from a point of the grid to the middle between two.

    Parameters
    ----------
    species : SpeciesBasis
        Orbitals of the atom.
    pseudo : Pseudopotential
        Its pseudopotential.
    ecutrho : float
        Ry.

    Returns
    -------
    float
        eV.
    """
    smallest = np.sqrt(ecutrho)
    q = np.linspace(smallest, 3.0 * smallest + 10.0, _N_BEYOND)
    weights = q**2 * neutral_atom_form_factor(pseudo, q) / (2.0 * np.pi**2)
    r = species.step * np.arange(len(species.shells[0].radial))
    waves = np.sinc(np.outer(q, r) / np.pi)
    densities = [trapezoid(waves * (shell.radial * r) ** 2, r, axis=1) for shell in species.shells]
    return _SPREAD * RYDBERG * max(float(trapezoid(np.abs(weights * density), q)) for density in densities)


def sufficient_cutoff(basis: Basis, pseudos: Mapping[str, Pseudopotential]) -> float:
    """Cutoff at which the levels of all atoms are right to 1 meV: the smallest multiple of 40 from 160 to 1600 Ry.

    Parameters
    ----------
    basis : Basis
        Orbitals of every species.
    pseudos : mapping of str to Pseudopotential
        One of every species.
    """
    cutoff = LEAST_CUTOFF
    for label, species in basis.items():
        while cutoff < LARGEST_CUTOFF and cutoff_error(species, pseudos[label], cutoff) > SUFFICIENT:
            cutoff += CUTOFF_STEP
    return cutoff


def describe_low_cutoff(basis: Basis, pseudos: Mapping[str, Pseudopotential], ecutrho: float) -> list[str]:
    """One sentence if a cutoff (Ry) leaves levels of an atom wrong by more than 5 meV, else an empty list."""
    errors = {label: cutoff_error(species, pseudos[label], ecutrho) for label, species in basis.items()}
    worst = max(errors, key=errors.__getitem__)
    if errors[worst] <= NOTEWORTHY:
        return []
    return [
        f'a cutoff of {ecutrho:g} Ry for the density is low for {worst}: its levels depend by some '
        f'{1000 * errors[worst]:.0f} meV on where it lies between the points of the grid; '
        f'{sufficient_cutoff(basis, pseudos):g} Ry are enough'
    ]
