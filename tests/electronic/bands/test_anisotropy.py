"""Magnetization along any axis with spin-orbit coupling: definition, symmetries of the crystal, and no coupling."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.linalg import eigh

from aiida_hamlr.electronic.bands.anisotropy import band_energies_by_axis, free_energy, magnetized_along
from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues
from aiida_hamlr.electronic.bands.occupations import fill_bands
from aiida_hamlr.electronic.integrals.h0 import compute_h0, structure_matrices
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
KPOINT = np.array([[0.13, 0.21, 0.37]])
MESH = (2, 2, 2)

X, Y, Z, DIAGONAL = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])


def magnet(atoms, basis, pseudos) -> Hamiltonian:
    """H0 of a crystal with an exchange field at As and one electron too few."""
    h0 = compute_h0(atoms, basis, pseudos, 60.0)
    rows, columns = h0.pattern.orbital_indices
    arsenic = basis['Al'].n_orbitals
    exchange = 1.5 * h0.overlap * (rows >= arsenic) * (columns >= arsenic)
    h0.matrices['hamiltonian'] = np.stack([h0.h0 - exchange, h0.h0 + exchange])
    h0.attributes.n_electrons = 7.0
    del h0.matrices['h0']
    return h0


@pytest.fixture(scope='module')
def tables(spin_orbit_basis, spin_orbit_pseudos):
    return TwoCentreTables(spin_orbit_basis, spin_orbit_pseudos)


@pytest.fixture(scope='module')
def cubic(spin_orbit_basis, spin_orbit_pseudos):
    return magnet(bulk('AlAs', 'zincblende', a=5.66), spin_orbit_basis, spin_orbit_pseudos)


@pytest.fixture(scope='module')
def tetragonal(spin_orbit_basis, spin_orbit_pseudos):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    atoms.set_cell(atoms.cell[:] * [1, 1, 1.08], scale_atoms=True)
    return magnet(atoms, spin_orbit_basis, spin_orbit_pseudos)


def coupling_of(hamiltonian: Hamiltonian, tables: TwoCentreTables) -> np.ndarray:
    return tables.spin_orbit_part(hamiltonian.atoms, hamiltonian.pattern)


def test_matrix_is_exchange_along_the_axis_and_coupling_along_the_crystal(cubic, tables):
    axis, coupling = np.array([1.0, -2.0, 0.5]), coupling_of(cubic, tables)
    up, down, overlap, *k = (
        bloch_matrices(cubic.pattern, m, KPOINT)[0] for m in (*cubic.hamiltonian, cubic.overlap, *coupling)
    )
    sigma = np.tensordot(axis / np.linalg.norm(axis), PAULI, axes=1)
    expected = np.kron(np.eye(2), (up + down) / 2) + np.kron(sigma, (up - down) / 2)
    expected += sum(np.kron(s, -1j * part) for s, part in zip(PAULI, k, strict=True))
    exact = eigh(expected, np.kron(np.eye(2), overlap), eigvals_only=True)
    np.testing.assert_allclose(eigenvalues(magnetized_along(cubic, coupling, axis), KPOINT)[0], exact, atol=1e-9)


def test_without_coupling_no_axis_is_easy(cubic):
    collinear = np.sort(np.concatenate(eigenvalues(cubic, KPOINT), axis=1))
    for axis in (X, DIAGONAL):
        turned = magnetized_along(cubic, np.zeros((3, cubic.pattern.n_entries)), axis)
        np.testing.assert_allclose(eigenvalues(turned, KPOINT), collinear, atol=1e-9)


def magnetic_levels(atoms, tables, axis, sign=1.0, kpoint=KPOINT):
    """Levels of kinetic energy, nonlocal pseudopotential and coupling, with an exchange field at As along an axis."""
    pattern = overlap_pattern(atoms, tables.basis)
    overlap, matrix = structure_matrices(atoms, tables, pattern)
    rows, columns = pattern.orbital_indices
    arsenic = tables.basis['Al'].n_orbitals
    exchange = sign * 1.5 * overlap * (rows >= arsenic) * (columns >= arsenic)
    matrices = {
        'overlap': overlap,
        'hamiltonian': np.stack([matrix - exchange, matrix + exchange]),
        'spin_orbit': tables.spin_orbit_part(atoms, pattern),
    }
    attributes = HamiltonianAttributes(n_electrons=8.0, magnetization_axis=list(axis))
    return eigenvalues(Hamiltonian(atoms, tables.basis, pattern, matrices, attributes=attributes), kpoint)


@pytest.fixture(scope='module')
def low_symmetry():
    return Atoms('AlAs', positions=[[0.1, -0.05, 0.07], [1.5, 1.35, 1.45]], cell=5.66 / 2 * (1 - np.eye(3)), pbc=True)


def test_the_axis_turns_with_the_crystal(low_symmetry, tables, turn):
    """Crystal and axis turned together: the same levels; one of them alone: others."""
    axis = np.array([0.36, 0.48, 0.8])
    levels = magnetic_levels(low_symmetry, tables, axis)
    turned = turn.structure(low_symmetry)
    np.testing.assert_allclose(magnetic_levels(turned, tables, turn.matrix @ axis), levels, atol=1e-8)
    assert np.abs(magnetic_levels(turned, tables, axis) - levels).max() > 1e-3
    assert np.abs(magnetic_levels(low_symmetry, tables, turn.matrix @ axis) - levels).max() > 1e-3


def test_time_reversal(low_symmetry, tables):
    """Reversed moments, or the opposite axis, are k to -k; k and -k differ."""
    axis = (0.36, 0.48, 0.8)
    levels, other = (magnetic_levels(low_symmetry, tables, axis, kpoint=k) for k in (KPOINT, -KPOINT))
    assert np.abs(levels - other).max() > 1e-3
    reversed_moments = magnetic_levels(low_symmetry, tables, axis, sign=-1.0)
    np.testing.assert_allclose(reversed_moments, other, atol=1e-9)
    np.testing.assert_allclose(magnetic_levels(low_symmetry, tables, -np.array(axis)), other, atol=1e-9)


def test_symmetries_of_the_crystal(cubic, tetragonal, tables):
    """Axes that a rotation or time reversal maps onto each other agree; of a strained crystal others do not."""
    energies = band_energies_by_axis(cubic, coupling_of(cubic, tables), [X, Y, Z, -2 * Z], MESH)
    np.testing.assert_allclose(energies, energies[0], atol=1e-9)
    x, y, z = band_energies_by_axis(tetragonal, coupling_of(tetragonal, tables), [X, Y, Z], MESH)
    assert abs(x - y) < 1e-9 and abs(x - z) > 1e-5


def test_free_energy_is_that_of_the_grand_potential():
    """``F = mu N - T sum ln(1 + exp((mu - e) / T))`` of a metal."""
    levels, smearing = np.random.default_rng(1).uniform(-2, 2, (6, 9)), 0.2
    level = fill_bands(levels, np.full(6, 1 / 6), 4.3, smearing, electrons_per_band=1).fermi_level
    expected = level * 4.3 - smearing * np.logaddexp(0, (level - levels) / smearing).sum() / 6
    assert free_energy(levels, 4.3, smearing) == pytest.approx(expected, abs=1e-9)


def test_what_is_refused(cubic, make_hamiltonian, zincblende):
    scalar = make_hamiltonian(zincblende())
    with pytest.raises(ValueError, match='magnetization axis needs collinear spin'):
        magnetized_along(scalar, np.zeros((3, scalar.pattern.n_entries)), Z)
    with pytest.raises(ValueError, match='not all zero'):
        magnetized_along(cubic, np.zeros((3, cubic.pattern.n_entries)), [0, 0, 0])
