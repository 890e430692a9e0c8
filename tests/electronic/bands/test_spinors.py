"""Bands of spinors: matrices, filling, spins and files."""

import h5py
import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands, band_structure
from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.bands.density_of_states import density_of_states
from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues, eigenvectors
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.bands.occupations import band_gap, fill_bands
from aiida_hamlr.electronic.bands.spin import magnetic_moments
from aiida_hamlr.electronic.bands.spinors import spin_expectation, spinor_matrices
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
KPOINT = np.array([[0.13, 0.21, 0.37]])

#: Of a magnetization.
AXIS = np.array([0.36, 0.48, -0.8])


@pytest.fixture
def spinful(make_hamiltonian, zincblende):
    """A Hamiltonian with an arbitrary antisymmetric spin-orbit part."""
    hamiltonian = make_hamiltonian(zincblende())
    coupling = np.random.default_rng(3).normal(scale=0.1, size=(3, hamiltonian.pattern.n_entries))
    coupling[:, np.abs(hamiltonian.overlap) < 1e-3] = 0.0
    hamiltonian.matrices['spin_orbit'] = 0.5 * (coupling - coupling[:, hamiltonian.pattern.transpose_indices])
    return hamiltonian


def test_matrix_is_the_sum_of_pauli_matrices(spinful):
    h, *k = (bloch_matrices(spinful.pattern, m, KPOINT)[0] for m in (spinful.hamiltonian, *spinful.spin_orbit))
    expected = np.kron(np.eye(2), h) + sum(np.kron(s, -1j * part) for s, part in zip(PAULI, k, strict=True))
    np.testing.assert_allclose(spinor_matrices([h[None]], [part[None] for part in k])[0], expected, atol=1e-13)
    np.testing.assert_allclose(expected, expected.conj().T, atol=1e-13)


def test_without_coupling_every_band_comes_twice(spinful):
    spinful.matrices['spin_orbit'] = 0 * spinful.spin_orbit
    twice = eigenvalues(spinful, KPOINT)
    del spinful.matrices['spin_orbit']
    np.testing.assert_allclose(twice, np.repeat(eigenvalues(spinful, KPOINT), 2, axis=1), atol=1e-9)


def test_spins_of_a_magnet_along_z(spinful):
    """With an exchange field and no coupling the spins are along z, that of spin up first."""
    shifted = spinful.hamiltonian + 100 * spinful.overlap
    spinful.matrices['hamiltonian'] = np.stack([spinful.hamiltonian, shifted])
    spinful.matrices['spin_orbit'] = 0 * spinful.spin_orbit
    energies, states = eigenvectors(spinful, KPOINT)
    n = spinful.n_orbitals
    spins = spin_expectation(states, bloch_matrices(spinful.pattern, spinful.overlap, KPOINT))
    np.testing.assert_allclose(spins[0, 2], np.repeat([1, -1], n), atol=1e-9)
    np.testing.assert_allclose(spins[0, :2], 0, atol=1e-9)
    np.testing.assert_allclose(energies[0, n:] - energies[0, :n], 100, atol=1e-8)


@pytest.fixture
def magnet(spinful):
    """The same with an exchange field that differs from orbital to orbital, along a general axis."""
    rows, columns = spinful.pattern.orbital_indices
    exchange = (0.3 + 0.1 * (rows + columns)) * spinful.overlap
    spinful.matrices['hamiltonian'] = np.stack([spinful.hamiltonian - exchange, spinful.hamiltonian + exchange])
    spinful.attributes.n_spin, spinful.attributes.magnetization_axis = 2, AXIS.tolist()
    return spinful


def test_exchange_along_an_axis(magnet):
    up, down, *k = (
        bloch_matrices(magnet.pattern, m, KPOINT)[0] for m in (*magnet.hamiltonian, *magnet.matrices['spin_orbit'])
    )
    expected = np.kron(np.eye(2), (up + down) / 2) + np.kron(np.tensordot(AXIS, PAULI, axes=1), (up - down) / 2)
    expected += sum(np.kron(s, -1j * part) for s, part in zip(PAULI, k, strict=True))
    found = spinor_matrices([up[None], down[None]], [part[None] for part in k], AXIS)[0]
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_bands_filling_and_moments_of_a_magnet(magnet):
    """All points of the mesh count; charges and moments are those of every state, its spin along the axis."""
    magnet.attributes.n_electrons, magnet.attributes.fixed_magnetization = 5.0, 3.0
    mesh = (2, 3, 1)
    solution = solve_mesh(magnet, mesh)
    assert len(solution.kpoints) == 6 and solution.filling.spin_fermi_levels is None
    energies, states = eigenvectors(magnet, solution.kpoints, n_bands=solution.eigenvalues.shape[1])
    np.testing.assert_allclose(solution.eigenvalues, energies, atol=1e-9)
    assert np.abs(energies[1] - energies[2]).max() > 1e-3
    np.testing.assert_allclose(solution.kpoints[1], -solution.kpoints[2])
    spins = spin_expectation(states, bloch_matrices(magnet.pattern, magnet.overlap, solution.kpoints))
    weights = solution.weights[:, None] * solution.filling.occupations
    expected = np.einsum('kn,kan,a->', weights, spins, AXIS)
    density = solution.density_matrix
    assert density.shape == (2, magnet.pattern.n_entries) and weights.sum() == pytest.approx(5.0)
    assert np.sum(density * magnet.overlap) == pytest.approx(5.0)
    assert magnetic_moments(magnet, density).sum() == pytest.approx(expected, abs=1e-9)
    assert abs(expected) > 0.5
    scalars = compute_properties(magnet, ['gap', 'dos'], PropertyOptions(kpoints=mesh)).scalars
    assert scalars['magnetization_muB'] == pytest.approx(expected, abs=1e-9)


def test_without_coupling_the_axis_does_not_matter(magnet):
    """Levels, Fermi level, moments and both densities of states are those of the two collinear spins."""
    magnet.matrices['spin_orbit'] = 0 * magnet.spin_orbit
    magnet.attributes.n_electrons = 5.0
    solution = solve_mesh(magnet, (2, 2, 1), n_bands=magnet.n_orbitals)
    energies = np.linspace(-15, 10, 50)
    found = {method: density_of_states(magnet, (2, 2, 1), method=method) for method in ('gaussian', 'tetrahedra')}
    del magnet.matrices['spin_orbit']
    collinear = solve_mesh(magnet, (2, 2, 1), n_bands=magnet.n_orbitals)
    assert solution.filling.fermi_level == pytest.approx(collinear.filling.fermi_level, abs=1e-9)
    together = magnetic_moments(magnet, solution.density_matrix), magnetic_moments(magnet, collinear.density_matrix)
    np.testing.assert_allclose(*together, atol=1e-9)
    for method, dos in found.items():
        expected = density_of_states(magnet, (2, 2, 1), method=method)
        # Fewer bands are computed of two spins than of spinors: compare below the Fermi level.
        below = energies[energies < collinear.filling.fermi_level]
        values = [np.interp(below, each.energies, each.values) for each in (dos, expected)]
        np.testing.assert_allclose(*values, atol=0.05 * max(values[1]))


def test_spin_is_the_derivative_of_the_energy_by_a_field(spinful):
    """d e / d B_a = <sigma_a> for ``H + B . sigma S``, component by component."""
    h, s, *k = (
        bloch_matrices(spinful.pattern, m, KPOINT)[0]
        for m in (spinful.hamiltonian, spinful.overlap, *spinful.spin_orbit)
    )
    from scipy.linalg import eigh

    matrix, overlap = spinor_matrices([h[None]], [part[None] for part in k])[0], np.kron(np.eye(2), s)
    _, states = eigenvectors(spinful, KPOINT)
    spins = spin_expectation(states, s[None])[0]
    for axis in range(3):
        up, down = (eigh(matrix + step * np.kron(PAULI[axis], s), overlap, eigvals_only=True) for step in (1e-4, -1e-4))
        np.testing.assert_allclose((up - down) / 2e-4, spins[axis], atol=1e-3)


def test_one_electron_in_every_band():
    bands = np.array([[-2.0, -1.9, -1.0, -0.9, 0.5, 0.6], [-2.1, -2.0, -1.1, -1.0, 0.7, 0.8]])
    filling = fill_bands(bands, np.full(2, 0.5), 4.0, electrons_per_band=1)
    assert filling.n_occupied == (4,)
    assert filling.fermi_level == pytest.approx(-0.2)
    assert filling.occupations.max() == 1.0
    assert band_gap(bands, 4.0, electrons_per_band=1).gap == pytest.approx(1.4)
    assert band_gap(bands, 3.0, electrons_per_band=1).gap == 0.0


def test_electrons_density_matrix_and_density_of_states(spinful):
    """Every count of the electrons is that of the Hamiltonian; all states together are twice the orbitals."""
    spinful.attributes.n_electrons = 5.0
    solution = solve_mesh(spinful, (2, 2, 1), n_bands=2 * spinful.n_orbitals)
    assert solution.electrons_per_band == 1
    assert np.sum(solution.density_matrix * spinful.overlap) == pytest.approx(5.0)
    dos = density_of_states(spinful, solution, broadening=0.1)
    assert np.trapezoid(dos.values, dos.energies) == pytest.approx(2 * spinful.n_orbitals, rel=1e-5)


def test_files(spinful, tmp_path):
    """Spin-orbit part and spins come back, with the version that older programs refuse."""
    spinful.attributes.n_electrons = 4.0
    spinful.write(tmp_path / 'h.h5')
    read = Hamiltonian.read(tmp_path / 'h.h5')
    np.testing.assert_array_equal(read.spin_orbit, spinful.spin_orbit)
    assert read.electrons_per_band == 1 and read.n_spin == 1
    scalar = Hamiltonian.read(tmp_path / 'h.h5', matrices=('hamiltonian', 'overlap'))
    assert scalar.electrons_per_band == 2
    bands = band_structure(read, mesh=(2, 2, 2), n_bands=8)
    assert bands.electrons_per_band == 1 and bands.spins.shape == (len(bands.kpoints), 3, 8)
    bands.write(tmp_path / 'bands.h5')
    again = Bands.read(tmp_path / 'bands.h5')
    np.testing.assert_array_equal(again.spins, bands.spins)
    assert again.electrons_per_band == 1


def test_files_of_a_magnet(magnet, tmp_path):
    """Both spins, the coupling and the axis come back, with a version that older programs refuse."""
    magnet.attributes.n_electrons = 4.0
    magnet.write(tmp_path / 'h.h5')
    with h5py.File(tmp_path / 'h.h5') as handle:
        assert handle.attrs['version'] == 8
    read = Hamiltonian.read(tmp_path / 'h.h5')
    np.testing.assert_array_equal(read.magnetization_axis, AXIS)
    assert read.n_spin == 2 and read.electrons_per_band == 1 and read.n_occupied == 4
    np.testing.assert_array_equal(eigenvalues(read, KPOINT), eigenvalues(magnet, KPOINT))
    bands = band_structure(read, mesh=(2, 2, 2), n_bands=8)
    assert bands.eigenvalues.shape[0] == 1 and bands.spins.shape == (len(bands.kpoints), 3, 8)
    bands.write(tmp_path / 'bands.h5')
    assert Bands.read(tmp_path / 'bands.h5').attributes.magnetization_axis == AXIS.tolist()
    collinear = Hamiltonian.read(tmp_path / 'h.h5', matrices=('hamiltonian', 'overlap'))
    assert collinear.magnetization_axis is None and eigenvalues(collinear, KPOINT).ndim == 3
    del magnet.matrices['spin_orbit']
    magnet.write(tmp_path / 'h.h5')
    with h5py.File(tmp_path / 'h.h5') as handle:
        assert handle.attrs['version'] == 4


def test_shape_of_the_spin_orbit_part(spinful):
    with pytest.raises(ValueError, match='leading axis of length 3'):
        Hamiltonian(spinful.atoms, spinful.basis, spinful.pattern, spinful.matrices | {'spin_orbit': spinful.overlap})
