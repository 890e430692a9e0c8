"""The Kohn-Sham potential of an electron density on the FFT grid.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from scipy import fft

from aiida_hamlr.electronic.neutral_atom import (
    ReciprocalGrid,
    common_functional,
    gauge_shift,
    neutral_atom_form_factor,
)
from aiida_hamlr.electronic.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.units import BOHR, RYDBERG
from aiida_hamlr.electronic.xc import spin_xc_potential_grid, xc_potential_grid

#: Largest disagreement of the integral of a density and the number of electrons, per electron.
ELECTRON_TOLERANCE = 1e-4


def potential_from_density(
    atoms: Atoms, density: np.ndarray, pseudos: Mapping[str, Pseudopotential], ecutrho: float
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
    symbols = np.array(atoms.get_chemical_symbols())
    functional = common_functional(symbols, pseudos)
    spins = np.reshape(density, (-1, *np.shape(density)[-3:]))
    vectors = ReciprocalGrid(atoms.cell[:], spins.shape[1:], ecutrho)
    n_electrons = sum(pseudos[symbol].z_valence for symbol in symbols)
    found = float(sum(np.mean(spin) for spin in spins) * vectors.volume)
    if not abs(found - n_electrons) <= ELECTRON_TOLERANCE * n_electrons:
        raise ValueError(f'the density holds {found:.4f} electrons, the pseudopotentials leave {n_electrons:g}')
    components = [fft.rfftn(spin)[vectors.inside] / spin.size for spin in spins]
    total = sum(components)
    # The long-ranged parts of V_loc and V_H cancel in neutral atoms; what the density has beyond those is smooth.
    potential, core, deformation = np.zeros_like(total), np.zeros_like(total), total.copy()
    for element in sorted(set(symbols)):
        pseudo = pseudos[element]
        phases = vectors.structure_factor(atoms.positions[symbols == element] / BOHR) / vectors.volume
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
    return result.reshape(np.shape(density))
