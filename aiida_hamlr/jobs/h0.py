"""`hamlr h0`: overlap and H0 of a structure without any DFT run."""

from __future__ import annotations

import math
from pathlib import Path

from aiida_hamlr.electronic.geometry import describe_periodicity
from aiida_hamlr.electronic.integrals.density_cutoff import describe_low_cutoff, sufficient_cutoff
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.integrals.spin_orbit import add_spin_orbit
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.siblings import fully_relativistic
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.jobs.inputs import read_basis_folder, read_pseudo_folder, read_sibling_folder, read_structure
from aiida_hamlr.jobs.outputs import check_outputs, check_overwriting, files_below, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary


def run_h0(
    structure: Path,
    basis_folder: Path,
    pseudo_folder: Path,
    ecutrho: float | None,
    output: Path,
    spin_orbit: bool = False,
    spin_orbit_folder: Path | None = None,
) -> Hamiltonian:
    """Write a Hamiltonian file with ``overlap`` and ``h0``, and ``summary.json`` beside it.

    Parameters
    ----------
    structure : path
        Anything that ASE reads.
    basis_folder, pseudo_folder : path
        Folders with ``El.basis.h5`` and a UPF file of every species.
    ecutrho : float, optional
        Cutoff of the grid, Ry; None: as large as orbitals and pseudopotentials need, see `sufficient_cutoff`.
    output : path
        Hamiltonian file to write.
    spin_orbit : bool
        Whether to add the spin-orbit part.
    spin_orbit_folder : path, optional
        Folder with fully relativistic versions of the pseudopotentials.

    Raises
    ------
    ValueError
        If an input is missing or does not fit.
    """
    summary = JobSummary('h0')
    if ecutrho is not None and not 0 < ecutrho < math.inf:
        raise ValueError(f'--ecutrho {ecutrho:g} Ry: a positive cutoff is needed')
    check_outputs([output], [structure, basis_folder, pseudo_folder])
    check_overwriting([output], [*files_below(basis_folder), *files_below(pseudo_folder)])
    atoms = read_structure(structure)
    species = species_labels(atoms)
    basis = read_basis_folder(basis_folder, species)
    pseudos = read_pseudo_folder(pseudo_folder, species)
    ecutrho = sufficient_cutoff(basis, pseudos) if ecutrho is None else ecutrho
    log(f'{atoms.get_chemical_formula()}: {basis.n_orbitals(species).sum()} orbitals, grid of {ecutrho:g} Ry')
    remove_earlier([output, summary_path(output)])
    siblings = read_sibling_folder(spin_orbit, spin_orbit_folder, pseudos)
    if spin_orbit:
        fully_relativistic(basis, pseudos, siblings)
    hamiltonian = compute_h0(atoms, basis, pseudos, ecutrho)
    if spin_orbit:
        add_spin_orbit(hamiltonian, siblings)
    hamiltonian.write(output)
    summary.warn(describe_periodicity(atoms) + describe_low_cutoff(basis, pseudos, ecutrho))
    summary |= {
        'formula': atoms.get_chemical_formula(),
        'n_atoms': len(atoms),
        'n_orbitals': hamiltonian.n_orbitals,
        'n_pairs': len(hamiltonian.pattern),
        'ecutrho_Ry': ecutrho,
        'grid': hamiltonian.attributes.grid,
        'output': str(output),
    }
    summary.write(summary_path(output))
    log(f'overlap and H0 written to {output}')
    return hamiltonian
