"""The Kohn-Sham Hamiltonian of a finished plane-wave run in an orbital basis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from ase import Atoms
from scipy.linalg import eigvalsh

from aiida_hamlr import __version__
from aiida_hamlr.electronic.basis import Basis
from aiida_hamlr.electronic.grid import local_matrix
from aiida_hamlr.electronic.h0 import structure_matrices
from aiida_hamlr.electronic.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.kpoints import MESH_SPACING, mesh_from_spacing
from aiida_hamlr.electronic.kspace import BlochSum, eigenvalues
from aiida_hamlr.electronic.neighbours import overlap_pattern
from aiida_hamlr.electronic.neutral_atom import common_functional, gauge_shift, neutral_atom_potential
from aiida_hamlr.electronic.occupations import band_gap, solve_mesh
from aiida_hamlr.electronic.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.resources import check_memory
from aiida_hamlr.electronic.two_centre import TwoCentreTables
from aiida_hamlr.electronic.vacuum import vacuum_level

#: Conduction bands that the verification looks at.
CONDUCTION_BANDS = 4

#: Arrays as long as a matrix that are there at the same time at most.
ARRAYS = 8

#: k-points at which the condition number of the overlap is computed at most.
CONDITION_KPOINTS = 4


class PlaneWaveRun(Protocol):
    """What is used of a finished run; `aiida_hamlr.io.qe.QeRun` has it."""

    n_electrons: float
    ecutwfc: float
    ecutrho: float
    fft_grid: tuple[int, int, int]
    functional: str
    kpoints: np.ndarray
    kpoint_mesh: tuple[int, int, int] | None
    weights: np.ndarray
    eigenvalues: np.ndarray
    version: str


def reconstruct(
    atoms: Atoms,
    potential: np.ndarray,
    basis: Basis,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    kpoints: tuple[int, int, int] | None = None,
    *,
    run: PlaneWaveRun | None = None,
    density: np.ndarray | None = None,
    tables: TwoCentreTables | None = None,
    device: str = 'cpu',
    memory_limit: float | None = None,
) -> Hamiltonian:
    """Hamiltonian, overlap, H0 and density matrix from the total local potential of a plane-wave run.

    ``H = T + V_nl + V_loc`` with two-centre integrals for the first two and the grid sum for the last. H and H0 are
    in the neutral-atom gauge; H0 is computed on the grid of the potential, so that the grid errors of H - H0 cancel.

    Parameters
    ----------
    atoms : ase.Atoms
    potential : (n1, n2, n3) array
        Total local Kohn-Sham potential ``V_loc + V_H + V_xc`` on the FFT grid, eV, in the gauge of Quantum ESPRESSO.
    basis : Basis
    pseudos : mapping of str to Pseudopotential
        Those of the run.
    ecutrho : float
        Cutoff of the run's density, Ry.
    kpoints : three int, optional
        Mesh for the density matrix and the Fermi level; by default its points are at most 0.25 1/Å apart.
    run : QeRun, optional
        The run, to check the input against it and to verify the result; see `verify`.
    density : (n1, n2, n3) array, optional
        Valence electrons on the FFT grid, bohr^-3, for the vacuum level of slabs; see `vacuum_level`.
    tables : TwoCentreTables, optional
        Those of this basis and these pseudopotentials, if they were made before.
    device : str
        Where the grid integrals are done, 'auto', 'cpu' or 'cuda'.
    memory_limit : float, optional
        GB, for matrices and integrals; not for the diagonalisation of the mesh of k-points.

    Returns
    -------
    Hamiltonian
        With all four matrices; ``attributes['verification']`` says how good it is.

    Raises
    ------
    ValueError
        If an element has no basis or pseudopotential, or if grid, electrons or functional are not those of the run;
        or if the matrices do not fit in the memory limit.
    NumericalError
        If the overlap is not positive definite.
    """
    kpoints = kpoints or mesh_from_spacing(atoms.cell[:], MESH_SPACING)
    symbols = atoms.get_chemical_symbols()
    basis = basis.restricted(symbols)
    functional = common_functional(symbols, pseudos)
    n_electrons = sum(pseudos[symbol].z_valence for symbol in symbols)
    if run is not None:
        _check_against_run(run, np.shape(potential), n_electrons, functional)
    pattern = overlap_pattern(atoms, basis)
    check_memory(ARRAYS * 8 * pattern.n_entries, memory_limit, f'the Hamiltonian of {len(atoms)} atoms')
    tables = tables or TwoCentreTables(basis, pseudos, memory_limit)
    overlap, fixed = structure_matrices(atoms, tables, pattern)
    shift = gauge_shift(atoms, pseudos)
    neutral = neutral_atom_potential(atoms, pseudos, np.shape(potential), ecutrho)
    local, local_neutral = local_matrix(atoms, basis, pattern, np.stack([potential, neutral]), device, memory_limit)
    hamiltonian = Hamiltonian(
        atoms.copy(),
        basis,
        pattern,
        {'hamiltonian': fixed + local + shift * overlap, 'overlap': overlap, 'h0': fixed + local_neutral},
        {element: pseudos[element].text for element in basis},
        {
            'origin': 'reference',
            'functional': functional,
            'gauge': 'neutral_atom',
            'gauge_shift_eV': shift,
            'vacuum_level_eV': None if density is None else vacuum_level(atoms, density, pseudos, ecutrho),
            'n_electrons': n_electrons,
            'n_spin': 1,
            'grid': [int(n) for n in np.shape(potential)],
            'ecutrho_Ry': float(ecutrho),
            'kpoints': [int(n) for n in kpoints],
            'code': f'aiida-hamlr {__version__}',
        },
    )
    if run is not None:
        hamiltonian.attributes['ecutwfc_Ry'] = float(run.ecutwfc)
        hamiltonian.attributes['scf_kpoints'] = run.kpoint_mesh and list(run.kpoint_mesh)
        hamiltonian.attributes['code'] += f', Quantum ESPRESSO {run.version}'
    solution = solve_mesh(hamiltonian, kpoints)
    hamiltonian.matrices['density_matrix'] = solution.density_matrix
    hamiltonian.attributes['fermi_level_eV'] = float(solution.filling.fermi_level)
    gap = band_gap(solution.eigenvalues, n_electrons, solution.filling.n_occupied)
    hamiltonian.attributes['gap_eV'] = gap.gap if gap else None
    hamiltonian.attributes['verification'] = verify(hamiltonian, run)
    return hamiltonian


def _check_against_run(run: PlaneWaveRun, shape, n_electrons: float, functional: str):
    if tuple(shape) != tuple(run.fft_grid):
        raise ValueError(f'the potential has {tuple(shape)} grid points, the run {tuple(run.fft_grid)}')
    if abs(run.n_electrons - n_electrons) > 1e-6:
        raise ValueError(
            f'the pseudopotentials leave {n_electrons:g} electrons, the run has {run.n_electrons:g}; '
            'give the pseudopotentials of the run'
        )
    if run.functional != functional:
        raise ValueError(f'the pseudopotentials are made for {functional}, the run used {run.functional}')


def verify(hamiltonian: Hamiltonian, run: PlaneWaveRun | None = None) -> dict:
    """Checks that a reconstructed Hamiltonian can be judged by.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With all four matrices.
    run : QeRun, optional
        Its eigenvalues at its own k-points are compared with those in the basis.

    Returns
    -------
    dict
        Always: ``electrons_from_density_matrix`` (tr PS), ``hermiticity_eV`` (largest ``|H_ij(R) - H_ji(-R)^T|``),
        ``overlap_condition_number`` (largest over some k-points), ``delta_ratio`` (mean ``|H - H0|`` by mean ``|H|``).
        With a run: the errors ``e_basis - e_plane_waves``, which are positive by the variational principle but for the
        finite cutoff of the run: mean over occupied and lowest conduction bands (``band_error_*_meV``); mean and
        largest magnitude after the one shift that makes the mean error of the occupied bands zero (``band_mae_*_meV``,
        ``band_max_error_meV``; ``band_shift_meV``); and how far an eigenvalue lies below its plane-wave one at most
        (``variational_violation_meV``).
    """
    pattern, overlap = hamiltonian.pattern, hamiltonian.overlap
    kpoints = np.zeros((1, 3)) if run is None else run.kpoints[:CONDITION_KPOINTS]
    spectra = [eigvalsh(matrix) for matrix in BlochSum(pattern).matrices(overlap, kpoints)]
    delta = np.abs(hamiltonian.hamiltonian - hamiltonian.h0).mean() / np.abs(hamiltonian.hamiltonian).mean()
    result = {
        'electrons_from_density_matrix': float(hamiltonian.density_matrix @ overlap),
        'hermiticity_eV': pattern.asymmetry(hamiltonian.hamiltonian),
        'overlap_condition_number': float(max(spectrum[-1] / spectrum[0] for spectrum in spectra)),
        'delta_ratio': float(delta),
    }
    if run is not None:
        result.update(_compare_bands(hamiltonian, run))
    return result


def _compare_bands(hamiltonian: Hamiltonian, run: PlaneWaveRun) -> dict:
    expected = run.eigenvalues + hamiltonian.attributes['gauge_shift_eV']
    found = eigenvalues(hamiltonian, run.kpoints, n_bands=expected.shape[1])
    n_bands = min(found.shape[1], expected.shape[1])
    errors = 1000 * (found[:, :n_bands] - expected[:, :n_bands])
    n_occupied = int(np.ceil(run.n_electrons / 2))
    parts = {'occupied': errors[:, :n_occupied], 'conduction': errors[:, n_occupied : n_occupied + CONDUCTION_BANDS]}
    means = {name: float(run.weights @ part.mean(axis=1)) for name, part in parts.items() if part.size}
    shift = means['occupied']
    compared = np.concatenate(list(parts.values()), axis=1)
    result = {
        'n_kpoints': len(run.kpoints),
        'band_shift_meV': shift,
        'band_max_error_meV': float(np.abs(compared - shift).max()),
        'variational_violation_meV': float(max(0.0, -compared.min())),
    }
    for name, mean in means.items():
        result[f'band_error_{name}_meV'] = mean
        result[f'band_mae_{name}_meV'] = float(run.weights @ np.abs(parts[name] - shift).mean(axis=1))
    return result
