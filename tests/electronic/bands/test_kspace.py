"""Bloch sums and eigenvalues against analytic bands and the exact symmetries of crystals."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.bands.kspace import BlochSum, bloch_matrices, eigenvalues, eigenvectors
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.errors import NumericalError


@pytest.fixture
def kpoints():
    return np.random.default_rng(3).uniform(-0.5, 0.5, size=(5, 3))


def chain(onsite=1.0, hopping=-0.7, overlap=0.2):
    """One s orbital per atom on a line, nearest neighbours only."""
    atoms = Atoms('H', cell=[2.0, 20.0, 20.0], pbc=True)
    basis = Basis({'H': SpeciesBasis('H', 0.1, (Shell(0, 4.0, np.ones(41)),))})
    pattern = BlockPattern(np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]]), np.array([1]))
    matrices = {
        'hamiltonian': np.array([onsite, hopping, hopping]),
        'overlap': np.array([1.0, overlap, overlap]),
    }
    return Hamiltonian(atoms, basis, pattern, matrices, attributes=HamiltonianAttributes(n_electrons=1))


def test_chain_has_its_analytic_band():
    k = np.linspace(-0.5, 0.5, 11)
    bands = eigenvalues(chain(), np.stack([k, 0 * k, 0 * k], axis=1))
    expected = (1.0 - 1.4 * np.cos(2 * np.pi * k)) / (1.0 + 0.4 * np.cos(2 * np.pi * k))
    assert np.allclose(bands[:, 0], expected, atol=1e-13)


def test_bloch_matrix_is_the_sum_over_blocks(make_hamiltonian, zincblende, kpoints):
    hamiltonian = make_hamiltonian(zincblende())
    pattern, offsets = hamiltonian.pattern, hamiltonian.pattern.orbital_offsets
    expected = np.zeros((len(kpoints), 8, 8), dtype=complex)
    for pair, (*image, i, j) in enumerate(pattern.atom_pairs):
        block = pattern.block(hamiltonian.hamiltonian, pair)
        phase = np.exp(2j * np.pi * kpoints @ image)
        expected[:, offsets[i] : offsets[i + 1], offsets[j] : offsets[j + 1]] += phase[:, None, None] * block
    assert np.allclose(bloch_matrices(pattern, hamiltonian.hamiltonian, kpoints), expected, atol=1e-13)


def test_matrices_are_hermitian_and_time_reversal_symmetric(make_hamiltonian, zincblende, kpoints):
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    sums = BlochSum(hamiltonian.pattern)
    H = sums.matrices(hamiltonian.hamiltonian, kpoints)
    assert np.abs(H - H.conj().transpose(0, 2, 1)).max() < 1e-12
    assert np.abs(sums.matrices(hamiltonian.hamiltonian, -kpoints) - H.conj()).max() < 1e-12


def test_real_arithmetic_at_zone_boundary_agrees_with_its_neighbourhood(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    point = np.array([[0.5, 0.0, 0.5]])
    assert bloch_matrices(hamiltonian.pattern, hamiltonian.hamiltonian, point).dtype == float
    assert np.allclose(eigenvalues(hamiltonian, point), eigenvalues(hamiltonian, point + 1e-9), atol=1e-6)


def test_supercell_bands_are_the_folded_ones(make_hamiltonian, zincblende):
    primitive = zincblende()
    matrix = np.array([[2, 0, 0], [0, 1, 0], [1, 0, 1]])
    supercell = make_supercell(primitive, matrix)
    k = np.array([0.11, -0.23, 0.37])
    folded = eigenvalues(make_hamiltonian(supercell), k)[0]
    # Two primitive k-points give the same Bloch phase over the supercell: k_super = matrix @ k_primitive mod 1.
    candidates = [np.linalg.solve(matrix, k + shift) for shift in ([0, 0, 0], [1, 0, 0])]
    unfolded = np.sort(eigenvalues(make_hamiltonian(primitive), np.array(candidates)).ravel())
    assert np.allclose(folded, unfolded, atol=1e-10)


def test_rotation_leaves_the_bands(make_hamiltonian, zincblende, kpoints):
    atoms = zincblende(cubic=True)
    atoms.rattle(0.1, seed=4)
    rotated = atoms.copy()
    turn = Rotation.random(random_state=1).as_matrix()
    rotated.set_cell(np.array(atoms.cell) @ turn.T, scale_atoms=True)
    assert np.allclose(
        eigenvalues(make_hamiltonian(atoms), kpoints), eigenvalues(make_hamiltonian(rotated), kpoints), atol=1e-9
    )


def test_eigenvectors_solve_the_generalised_problem(make_hamiltonian, zincblende, kpoints):
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    for n_bands in (5, None):
        energies, states = eigenvectors(hamiltonian, kpoints, n_bands=n_bands)
        H = bloch_matrices(hamiltonian.pattern, hamiltonian.hamiltonian, kpoints)
        S = bloch_matrices(hamiltonian.pattern, hamiltonian.overlap, kpoints)
        assert np.allclose(H @ states, S @ states * energies[:, None, :], atol=1e-10)
        assert np.allclose(states.conj().transpose(0, 2, 1) @ S @ states, np.eye(energies.shape[1]), atol=1e-10)
        assert np.allclose(energies, eigenvalues(hamiltonian, kpoints, n_bands=n_bands), atol=1e-10)


def test_spin_axis_leads(make_hamiltonian, zincblende, kpoints):
    hamiltonian = make_hamiltonian(zincblende())
    single = eigenvalues(hamiltonian, kpoints)
    shifted = hamiltonian.hamiltonian + 0.5 * hamiltonian.overlap
    hamiltonian.matrices['hamiltonian'] = np.stack([hamiltonian.hamiltonian, shifted])
    both = eigenvalues(hamiltonian, kpoints)
    assert both.shape == (2, *single.shape)
    assert np.allclose(both[0], single)
    assert np.allclose(both[1], single + 0.5)


def test_dependent_orbitals_are_reported_with_k_and_eigenvalue():
    with pytest.raises(NumericalError, match=r'k = \(0\.5, 0, 0\).*-2\.000e-01'):
        eigenvalues(chain(overlap=0.6), [[0.5, 0.0, 0.0]])


def test_states_above_a_threshold_of_the_overlap(make_hamiltonian, zincblende, kpoints):
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    full = eigenvalues(hamiltonian, kpoints)
    S = bloch_matrices(hamiltonian.pattern, hamiltonian.overlap, kpoints)
    weights = np.linalg.eigvalsh(S)
    assert np.allclose(eigenvalues(hamiltonian, kpoints, overlap_threshold=0.9 * weights.min()), full, atol=1e-10)
    threshold = np.sort(weights.ravel())[7]
    n_dropped = (weights <= threshold).sum(axis=1)
    energies, states = eigenvectors(hamiltonian, kpoints, overlap_threshold=threshold)
    n_bands = energies.shape[1]
    assert n_dropped.sum() == 8 and n_bands == full.shape[1] - n_dropped.max()
    # The theorem of Cauchy: a level of a subspace lies between two of the whole.
    for one, whole, n in zip(energies, full, n_dropped, strict=True):
        assert (one >= whole[:n_bands] - 1e-10).all() and (one <= whole[n : n + n_bands] + 1e-10).all()
    assert np.allclose(states.conj().transpose(0, 2, 1) @ S @ states, np.eye(n_bands), atol=1e-10)
    lowest = eigenvalues(hamiltonian, kpoints, n_bands=5, overlap_threshold=threshold)
    assert np.allclose(lowest, energies[:, :5], atol=1e-10)


def test_missing_matrix_is_named():
    with pytest.raises(ValueError, match='h0'):
        eigenvalues(chain(), [[0, 0, 0]], matrix='h0')
