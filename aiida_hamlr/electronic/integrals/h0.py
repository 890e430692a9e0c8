"""H0: the Hamiltonian of superposed neutral atoms, from the structure alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.integrals.fft_grid import fft_grid, symmetry_factors
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.neutral_atom import common_functional, neutral_atom_potential
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.resources import check_memory
from aiida_hamlr.electronic.species import species_labels

#: Arrays as long as a matrix that are there at the same time at most, with what grid and network take beside them.
ARRAYS = 5


def structure_matrices(atoms: Atoms, tables: TwoCentreTables, pattern: BlockPattern) -> tuple[np.ndarray, np.ndarray]:
    """Parts of H without a local potential: overlap (M,), and kinetic energy plus nonlocal pseudopotential (M,), eV."""
    overlap, kinetic = tables.overlap_and_kinetic(atoms, pattern)
    kinetic += tables.nonlocal_part(atoms, pattern)
    return overlap, kinetic


def compute_h0(
    atoms: Atoms,
    basis: Basis,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    *,
    tables: TwoCentreTables | None = None,
    device: str = 'cpu',
    memory_limit: float | None = None,
) -> Hamiltonian:
    """``H0 = T + V_nl + V_NA + V_xc[sum rho_a]`` and the overlap of a structure; no DFT run is needed.

    Parameters
    ----------
    atoms : ase.Atoms
        Taken as periodic in all three directions.
    basis : Basis
        Orbitals of every element.
    pseudos : mapping of str to Pseudopotential
        One of every element, all of one functional.
    ecutrho : float
        Cutoff that sets the grid, Ry; that of the runs whose H is to be compared.
    tables : TwoCentreTables, optional
        Those of this basis and these pseudopotentials, if they were made before.
    device : str
        Where the grid integrals are done, 'auto', 'cpu' or 'cuda'.
    memory_limit : float, optional
        GB, for matrices and integrals.

    Returns
    -------
    Hamiltonian
        With ``overlap`` and ``h0``, in the neutral-atom gauge.

    Raises
    ------
    ValueError
        If an element has no basis or pseudopotential, or the pseudopotentials' functionals differ, or the matrices
        do not fit in the memory limit.
    """
    labels = species_labels(atoms)
    basis = basis.restricted(labels)
    functional = common_functional(labels, pseudos)
    pattern = overlap_pattern(atoms, basis)
    check_memory(ARRAYS * 8 * pattern.n_entries, memory_limit, f'H0 of {len(atoms)} atoms')
    grid = fft_grid(atoms.cell[:], ecutrho, symmetry_factors(atoms))
    overlap, h0 = structure_matrices(atoms, tables or TwoCentreTables(basis, pseudos, memory_limit), pattern)
    potential = neutral_atom_potential(atoms, pseudos, grid, ecutrho)
    h0 += local_matrix(atoms, basis, pattern, potential, device, memory_limit)
    attributes = HamiltonianAttributes(
        origin='h0',
        functional=functional,
        gauge='neutral_atom',
        n_electrons=sum(pseudos[label].z_valence for label in labels),
        n_spin=1,
        grid=list(grid),
        ecutrho=float(ecutrho),
        code=f'aiida-hamlr {__version__}',
    )
    texts = {element: pseudos[element].text for element in basis}
    return Hamiltonian(atoms.copy(), basis, pattern, {'overlap': overlap, 'h0': h0}, texts, attributes)
