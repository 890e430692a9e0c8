"""Slopes and masses against finite differences of the bands."""

import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.bands.derivatives import (
    HBAR2_PER_MASS,
    band_velocities,
    edge_masses,
    effective_mass,
    refine_extremum,
)
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.lattice import reciprocal


def fractional(atoms: Atoms, cartesian):
    return np.asarray(cartesian) @ np.linalg.inv(reciprocal(atoms.cell[:]))


@pytest.fixture(params=['scalar', 'spinors', 'magnet'])
def hamiltonian(request, make_hamiltonian, zincblende):
    """Of spinors with an arbitrary antisymmetric part; without symmetry no level is degenerate."""
    atoms = zincblende()
    atoms.rattle(0.08, seed=2)
    result = make_hamiltonian(atoms)
    if request.param != 'scalar':
        coupling = np.random.default_rng(3).normal(scale=0.1, size=(3, result.pattern.n_entries)) * result.overlap
        result.matrices['spin_orbit'] = 0.5 * (coupling - coupling[:, result.pattern.transpose_indices])
    if request.param == 'magnet':
        exchange = 0.4 * np.abs(result.overlap)
        result.matrices['hamiltonian'] = np.stack([result.hamiltonian - exchange, result.hamiltonian + exchange])
        result.attributes.magnetization_axis = [0.36, 0.48, -0.8]
    return result


def test_slopes_are_those_of_the_bands(hamiltonian):
    kpoint, step = np.array([0.13, -0.21, 0.34]), 1e-4
    slopes = band_velocities(hamiltonian, kpoint[None])[0]
    for a, axis in enumerate(np.eye(3)):
        shift = fractional(hamiltonian.atoms, step * axis)
        above, below = eigenvalues(hamiltonian, np.array([kpoint + shift, kpoint - shift]))
        assert slopes[:, a] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def test_curvature_is_that_of_the_band_also_on_a_slope(hamiltonian):
    kpoint, step = np.array([0.13, -0.21, 0.34]), 2e-3
    for band in (0, 3, 4):
        mass = effective_mass(hamiltonian, kpoint, band)
        assert mass.slope > 0.1
        for n in ([1, 0, 0], [0, 1, 1], [1, -2, 3]):
            unit = np.array(n) / np.linalg.norm(n)
            shift = fractional(hamiltonian.atoms, step * unit)
            points = np.array([kpoint + s * shift for s in (-2, -1, 0, 1, 2)])
            e = eigenvalues(hamiltonian, points)[:, band]
            second = (-e[0] + 16 * e[1] - 30 * e[2] + 16 * e[3] - e[4]) / (12 * step**2)
            assert unit @ mass.curvature[0, 0].real @ unit == pytest.approx(second, abs=1e-4)
            assert mass.along(n)[0] == pytest.approx(HBAR2_PER_MASS / second, rel=1e-3)


def test_degenerate_edge_has_a_mass_for_each_branch_and_direction(make_hamiltonian, zincblende):
    """The valence band maximum of zincblende at Gamma is threefold; along [111] two branches stay together."""
    hamiltonian = make_hamiltonian(zincblende())
    mass = effective_mass(hamiltonian, np.zeros(3), 3)
    assert mass.bands == (1, 3) and not mass.is_linear and mass.tensor is None
    step = 2e-3
    for n in ([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, -1]):
        unit = np.array(n) / np.linalg.norm(n)
        e = eigenvalues(hamiltonian, np.array([s * fractional(hamiltonian.atoms, step * unit) for s in (0, 1, 2)]))
        # even in k: from two distances the fourth order is eliminated
        second = 2 * (16 * (e[1] - e[0]) - (e[2] - e[0])) / (12 * step**2)
        assert HBAR2_PER_MASS / mass.along(n) == pytest.approx(np.sort(second[1:4]), abs=1e-3)
    heavy = HBAR2_PER_MASS / mass.along([1, 1, 1])
    assert np.isclose(np.diff(np.sort(heavy)), 0, atol=1e-8).any()


def test_mass_tensor_of_a_cubic_minimum_is_a_number(make_hamiltonian, zincblende):
    mass = effective_mass(make_hamiltonian(zincblende()), np.zeros(3), 0)
    assert mass.tensor == pytest.approx(mass.tensor[0, 0] * np.eye(3), abs=1e-8)
    assert mass.principal[0] == pytest.approx(mass.along([3, 1, 2])[0])


def layer(vacuum_along: int) -> Atoms:
    """Square layer of AlAs, its lattice vectors in cyclic order; the axis of the vacuum is tilted."""
    cell = np.roll([[4.0, 0.0, 0.0], [0.0, 4.4, 0.0], [1.0, 0.5, 14.0]], vacuum_along - 2, axis=(0, 1))
    positions = np.roll([[0.0, 0.0, 0.0], [1.9, 2.3, 0.9]], vacuum_along - 2, axis=1)
    return Atoms('AlAs', positions, cell=cell, pbc=True)


@pytest.mark.parametrize('vacuum_along', [0, 1, 2])
def test_masses_of_a_layer_are_those_in_its_plane(make_hamiltonian, vacuum_along):
    hamiltonian = make_hamiltonian(layer(vacuum_along))
    found = edge_masses(
        hamiltonian, {'vbm_kpoint': np.zeros(3), 'vbm_band': 0, 'cbm_kpoint': np.zeros(3), 'cbm_band': 4}
    )
    normal = np.eye(3)[vacuum_along]
    names = {''.join(map(str, n)) for n in np.ndindex(2, 2, 2) if any(n) and not n[vacuum_along]}
    expected = edge_masses(
        make_hamiltonian(layer(2)),
        {'vbm_kpoint': np.zeros(3), 'vbm_band': 0, 'cbm_kpoint': np.zeros(3), 'cbm_band': 4},
    )
    for edge, masses in found.items():
        assert set(masses['masses_along']) == {f'[{name}]' for name in names}
        assert np.shape(masses['principal_axes']) == (2, 3)
        np.testing.assert_allclose(masses['principal_axes'] @ normal, 0.0, atol=1e-12)
        np.testing.assert_allclose(masses['principal_masses'], expected[edge]['principal_masses'], rtol=1e-6)
    axes = np.array(found['vbm']['principal_axes'])
    mass = effective_mass(hamiltonian, found['vbm']['kpoint'], 0)
    for axis, one in zip(axes, found['vbm']['principal_masses'], strict=True):
        assert mass.along(axis)[0] == pytest.approx(one)
        assert axis @ mass.tensor @ axis == pytest.approx(one)


def test_edge_beside_the_mesh_is_found_in_a_layer(make_hamiltonian):
    """The curvature across the vacuum is zero, which must not lead the search astray."""
    atoms = layer(2)
    mass = refine_extremum(make_hamiltonian(atoms), [0.03, -0.02, 0.0], 0)
    assert mass.slope < 1e-6
    np.testing.assert_allclose(mass.kpoint, 0.0, atol=1e-6)


def test_molecule_has_no_mass(make_hamiltonian):
    atoms = Atoms('AlAs', [[0, 0, 0], [0, 0, 2.4]], cell=[20.0, 21.0, 22.0], pbc=True)
    masses = edge_masses(
        make_hamiltonian(atoms), {'vbm_kpoint': np.zeros(3), 'vbm_band': 3, 'cbm_kpoint': np.zeros(3), 'cbm_band': 4}
    )
    assert masses['vbm']['masses_along'] == {} and 'principal_masses' not in masses['vbm']
