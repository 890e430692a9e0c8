"""Density matrices on a mesh against exact results, and what is taken if no mesh is asked for."""

import numpy as np
import pytest
from ase import Atoms
from scipy import linalg

from aiida_hamlr.electronic.bands.charges import mulliken_populations
from aiida_hamlr.electronic.bands.kspace import bloch_matrices
from aiida_hamlr.electronic.bands.mesh import default_mesh, default_n_bands, density_matrix, sample, solve_mesh
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis


@pytest.mark.parametrize('n_electrons', [8, 7], ids=['insulator', 'metal'])
@pytest.mark.parametrize('mesh', [(1, 1, 1), (2, 3, 2)])
def test_trace_of_density_matrix_and_overlap_is_the_number_of_electrons(
    make_hamiltonian, zincblende, n_electrons, mesh
):
    hamiltonian = make_hamiltonian(zincblende(), n_electrons)
    solution = solve_mesh(hamiltonian, mesh)
    density = solution.density_matrix
    assert np.sum(density * hamiltonian.overlap) == pytest.approx(n_electrons, abs=1e-10)
    assert hamiltonian.pattern.asymmetry(density) == 0.0
    populations = mulliken_populations(hamiltonian, density)
    assert populations.sum() == pytest.approx(n_electrons, abs=1e-10)
    # Tr(PH) over the pattern is the band energy.
    band_energy = np.sum(solution.weights[:, None] * solution.filling.occupations * solution.eigenvalues)
    assert np.sum(density * hamiltonian.hamiltonian) == pytest.approx(band_energy, abs=1e-9)


def test_density_matrix_of_the_supercell_is_that_of_the_folded_mesh(make_hamiltonian, zincblende):
    atoms = zincblende()
    folded = solve_mesh(make_hamiltonian(atoms.repeat((2, 1, 1))), (1, 2, 2))
    primitive = solve_mesh(make_hamiltonian(atoms), (2, 2, 2))
    charges = mulliken_populations(make_hamiltonian(atoms), primitive.density_matrix)
    both = mulliken_populations(make_hamiltonian(atoms.repeat((2, 1, 1))), folded.density_matrix)
    assert np.allclose(both, np.tile(charges, 2), atol=1e-9)
    assert folded.filling.fermi_level == pytest.approx(primitive.filling.fermi_level, abs=1e-9)


def test_density_matrix_projects_on_the_occupied_states(make_hamiltonian):
    # A molecule in a large cell has no images: P S P = 2 P for doubly occupied states.
    atoms = Atoms('AlAs', positions=[[0, 0, 0], [0, 0, 2.4]], cell=[15, 15, 15], pbc=True)
    hamiltonian = make_hamiltonian(atoms, 8)
    solution = solve_mesh(hamiltonian, (1, 1, 1))
    rows, columns = hamiltonian.pattern.orbital_indices
    P, S = np.zeros((8, 8)), np.zeros((8, 8))
    P[rows, columns] = solution.density_matrix
    S[rows, columns] = hamiltonian.overlap
    assert np.allclose(P @ S @ P, 2 * P, atol=1e-10)


def test_ghosts_are_counted_and_go_with_a_threshold():
    """Two nearly equal orbitals at -5 eV and an error of -0.03 eV along their difference: a level at -35 eV."""
    basis = Basis({'H': SpeciesBasis('H', 0.1, (Shell(0, 4.0, np.ones(41)), Shell(0, 4.0, np.ones(41), '2s')))})
    pattern = BlockPattern(np.array([[0, 0, 0, 0, 0]]), np.array([2]))
    overlap = np.array([1.0, 0.999, 0.999, 1.0])
    matrices = {'overlap': overlap, 'hamiltonian': -5.0 * overlap - 0.015 * np.array([1.0, -1.0, -1.0, 1.0])}
    atoms = Atoms('H', cell=[9.0, 9.0, 9.0], pbc=True)
    hamiltonian = Hamiltonian(atoms, basis, pattern, matrices, attributes=HamiltonianAttributes(n_electrons=2))
    solution = solve_mesh(hamiltonian, (1, 1, 1))
    assert solution.eigenvalues[0] == pytest.approx([-35.0, -5.0]) and solution.n_ghosts == 1
    solution = solve_mesh(hamiltonian, (1, 1, 1), overlap_threshold=0.002)
    assert solution.eigenvalues[0] == pytest.approx([-5.0]) and solution.n_ghosts == 0
    assert np.sum(solution.density_matrix * overlap) == pytest.approx(2.0)


def test_without_a_mesh_the_recorded_one_is_taken_or_one_of_a_spacing(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    # 2 pi / 0.25 per height of the cell, 5.66 / sqrt(3) Å
    assert default_mesh(hamiltonian) == (8, 8, 8)
    assert default_n_bands(hamiltonian) == 4 + 8
    assert default_n_bands(make_hamiltonian(zincblende(), n_electrons=40)) == 40
    hamiltonian.attributes.kpoints = [2, 1, 1]
    assert default_mesh(hamiltonian) == (2, 1, 1)
    solution = sample(hamiltonian)
    assert len(solution.weights) == 2
    assert sample(hamiltonian, solution) is solution
    assert np.array_equal(density_matrix(hamiltonian, (2, 1, 1)), solution.density_matrix)


def test_without_a_number_of_electrons_no_band_is_filled(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    expected = solve_mesh(hamiltonian, (2, 2, 2)).eigenvalues
    hamiltonian.attributes.n_electrons = None
    assert default_n_bands(hamiltonian) == hamiltonian.n_orbitals
    solution = sample(hamiltonian, (2, 2, 2))
    assert solution.filling is None
    assert np.allclose(solution.eigenvalues[:, : expected.shape[1]], expected, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match='the number of electrons is not known, so no band is filled'):
        _ = solution.density_matrix


def test_the_recorded_threshold_is_taken_unless_another_is_asked_for(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    hamiltonian.attributes.overlap_threshold = 0.01
    assert sample(hamiltonian, (1, 1, 1)).overlap_threshold == 0.01
    assert sample(hamiltonian, (1, 1, 1), 0.0).overlap_threshold == 0.0


def test_a_spin_without_electrons(make_hamiltonian, zincblende):
    """All electrons in spin up: a density matrix of zeros for spin down, and the magnetization is their number."""
    hamiltonian = make_hamiltonian(zincblende())
    shifted = hamiltonian.hamiltonian + 1000 * hamiltonian.overlap
    hamiltonian.matrices['hamiltonian'] = np.stack([hamiltonian.hamiltonian, shifted])
    hamiltonian.attributes.n_spin, hamiltonian.attributes.n_electrons = 2, 4.0
    solution = solve_mesh(hamiltonian, (2, 1, 1))
    assert not solution.density_matrix[1].any()
    assert (solution.density_matrix[0] * hamiltonian.overlap).sum() == pytest.approx(4.0)
    assert solution.magnetization == pytest.approx(4.0)


@pytest.mark.parametrize('threshold', [0.0, 0.05])
def test_energies_alone_are_those_of_the_dense_solver(make_hamiltonian, zincblende, threshold):
    """Without states: SciPy's solution of the whole matrices at every point, the same filling and the same ghosts."""
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    solution = solve_mesh(hamiltonian, (4, 2, 1), n_bands=24, overlap_threshold=threshold, vectors=False)
    pattern = hamiltonian.pattern
    matrices = (hamiltonian.hamiltonian, hamiltonian.overlap)
    pairs = zip(*(bloch_matrices(pattern, entries, solution.kpoints) for entries in matrices), strict=True)
    for energies, (H, S) in zip(solution.eigenvalues, pairs, strict=True):
        weights, basis = linalg.eigh(S)
        basis = basis[:, weights > threshold] / np.sqrt(weights[weights > threshold])
        expected = linalg.eigvalsh(basis.conj().T @ H @ basis)
        assert np.abs(energies - expected[: len(energies)]).max() < 1e-10
    whole = solve_mesh(hamiltonian, (4, 2, 1), n_bands=24, overlap_threshold=threshold)
    assert solution.filling.fermi_level == pytest.approx(whole.filling.fermi_level, abs=1e-10)
    assert solution.n_ghosts == whole.n_ghosts
    with pytest.raises(ValueError, match='only energies'):
        _ = solution.density_matrix
