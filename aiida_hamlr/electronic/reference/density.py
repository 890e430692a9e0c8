"""The Kohn-Sham potential of an electron density on the FFT grid.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from scipy import fft

from aiida_hamlr.electronic.integrals.neutral_atom import (
    ReciprocalGrid,
    common_functional,
    gauge_shift,
    neutral_atom_form_factor,
)
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.xc import spin_xc_potential_grid, xc_potential_grid
from aiida_hamlr.electronic.reference.electrostatics import PERIODIC, Electrostatics
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR, RYDBERG

#: Largest disagreement of the integral of a density and the number of electrons, per electron.
ELECTRON_TOLERANCE = 1e-4

#: Largest disagreement of Hartree energies, Ry, and relative to them.
HARTREE_TOLERANCE = 1e-5

#: Density from which on a potential is compared with that of the density, bohr^-3: gradient corrections of thinner
#: ones depend on where a program cuts them off.
ELECTRONS_BEGIN = 1e-4

#: Largest disagreement of a potential and that of its density, eV; a hundred times that of pp.x.
POTENTIAL_TOLERANCE = 5e-3


def check_electrons(atoms: Atoms, density: np.ndarray, pseudos: Mapping[str, Pseudopotential]):
    """Raise ``ValueError`` unless a density (bohr^-3) holds the electrons that the pseudopotentials leave."""
    n_electrons = sum(pseudos[label].z_valence for label in species_labels(atoms))
    found = float(np.mean(density) * atoms.get_volume() / BOHR**3)
    if not abs(found - n_electrons) <= ELECTRON_TOLERANCE * n_electrons:
        raise ValueError(f'the density holds {found:.4f} electrons, the pseudopotentials leave {n_electrons:g}')


def check_hartree_energy(atoms: Atoms, density: np.ndarray, expected: float, electrostatics: Electrostatics = PERIODIC):
    """Refuse a density that does not have the Hartree energy of its run.

    ``E_H = 4 pi Omega sum_G |rho(G)|^2 / G^2``, without ``G = 0``, times what the electrostatics of a slab ask for.

    Parameters
    ----------
    atoms : ase.Atoms
        Their cell counts.
    density : (n1, n2, n3) array
        Valence electrons on the FFT grid, bohr^-3, both spins together.
    expected : float
        Ry; as pw.x writes it.
    electrostatics : Electrostatics
        Of the run.

    Raises
    ------
    ValueError
        If they differ: the density is damaged, that of another run, or one whose electrostatics are not periodic.
    """
    vectors = ReciprocalGrid(atoms.cell[:], np.shape(density), np.inf)
    squared = np.abs(fft.rfftn(density) / np.size(density)) ** 2
    # Half of the vectors stand for their inverse as well.
    squared[..., 1 : (np.shape(density)[2] + 1) // 2] *= 2
    squared = (squared.ravel() * electrostatics.coulomb_factor(vectors))[1:]
    found = 4 * np.pi * vectors.volume * float(np.sum(squared / vectors.lengths[1:] ** 2))
    if not abs(found - expected) <= HARTREE_TOLERANCE * (1.0 + expected):
        raise ValueError(
            f'the density has a Hartree energy of {found:.7g} Ry, the run {expected:.7g} Ry; it is damaged, that of '
            'another run, or the electrostatics of the run are not periodic (assume_isolated)'
        )


def check_potential(
    atoms: Atoms,
    potential: np.ndarray,
    density: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    electrostatics: Electrostatics = PERIODIC,
):
    """Refuse a potential that is not that of a density.

    They are compared where there are electrons; for parameters see `potential_from_density`.

    Raises
    ------
    ValueError
        If they are given on different grids, or differ by more than 5 meV anywhere.
    """
    if np.shape(potential) != np.shape(density):
        raise ValueError(f'the potential has {np.shape(potential)} grid points, the density {np.shape(density)}')
    difference = np.abs(potential - potential_from_density(atoms, density, pseudos, ecutrho, electrostatics))
    largest = float(difference[density > ELECTRONS_BEGIN].max(initial=0.0))
    if not largest <= POTENTIAL_TOLERANCE:
        raise ValueError(
            f'the potential is not that of the density, they differ by up to {largest:.3g} eV; '
            'one of the files is damaged or belongs to another run'
        )


def potential_from_density(
    atoms: Atoms,
    density: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    electrostatics: Electrostatics = PERIODIC,
) -> np.ndarray:
    """Total local potential ``V_loc + V_H[rho] + V_xc[rho + rho_core]`` of a self-consistent density.

    Parameters
    ----------
    atoms : ase.Atoms
        Of a neutral cell.
    density : (n1, n2, n3) or (2, n1, n2, n3) array
        Valence electrons on the FFT grid, bohr^-3; with spin those of spin up and of spin down.
    pseudos : mapping of str to Pseudopotential
        Those of the run.
    ecutrho : float
        Cutoff of the run's density, Ry.
    electrostatics : Electrostatics
        Of the run.

    Returns
    -------
    array, shape of the density
        eV, in the gauge of Quantum ESPRESSO: the average of the Hartree potential is zero. With spin, that of spin up
        and that of spin down; they differ by exchange and correlation, for which each has half of the core density.

    Raises
    ------
    ValueError
        If a pseudopotential is missing, their functionals differ, or the density does not integrate to the number of
        electrons that they leave.
    """
    labels = np.array(species_labels(atoms))
    functional = common_functional(labels, pseudos)
    spins = np.reshape(density, (-1, *np.shape(density)[-3:]))
    vectors = ReciprocalGrid(atoms.cell[:], spins.shape[1:], ecutrho)
    check_electrons(atoms, spins.sum(axis=0), pseudos)
    components = [fft.rfftn(spin)[vectors.inside] / spin.size for spin in spins]
    total = sum(components)
    # The long-ranged parts of V_loc and V_H cancel in neutral atoms; what the density has beyond those is smooth.
    potential, core, deformation = np.zeros_like(total), np.zeros_like(total), total.copy()
    for element in sorted(set(labels)):
        pseudo = pseudos[element]
        phases = vectors.structure_factor(atoms.positions[labels == element] / BOHR) / vectors.volume
        potential += phases * vectors.form_factor(lambda q, pseudo=pseudo: neutral_atom_form_factor(pseudo, q))
        deformation -= phases * vectors.form_factor(pseudo.density_form_factor)
        core += phases * vectors.form_factor(pseudo.core_form_factor)
    finite = vectors.lengths > 1e-8
    potential[finite] += 8 * np.pi * deformation[finite] / vectors.lengths[finite] ** 2
    if len(spins) == 1:
        exchange = xc_potential_grid(functional, vectors.to_real(total + core), vectors.cell, ecutrho)
    else:
        densities = np.stack([vectors.to_real(component + 0.5 * core) for component in components])
        exchange = spin_xc_potential_grid(functional, densities, vectors.cell, ecutrho)
    result = (vectors.to_real(potential) + exchange) * RYDBERG - gauge_shift(atoms, pseudos)
    result += electrostatics.correction(atoms, spins.sum(axis=0), pseudos, vectors)
    return result.reshape(np.shape(density))
