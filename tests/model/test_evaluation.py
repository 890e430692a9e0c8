"""Errors by what the elements belong to: all ways to sort them have the same sum."""

from dataclasses import replace

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.mesh import density_matrix
from aiida_hamlr.electronic.bands.spin import magnetic_moments
from aiida_hamlr.model.evaluation import DISTANCES, KPOINTS, band_errors, element_errors, filled_bands, moment_errors
from aiida_hamlr.model.reference_matrices import fitted_shift
from aiida_hamlr.plotting.errors import plot_errors
from aiida_hamlr.plotting.uncertainty import plot_calibration


def test_errors_by_species_and_shells(make_reference, rattled, tmp_path):
    hamiltonian = make_reference(rattled(0))
    # An error of the s orbitals of Al alone.
    error = np.zeros(hamiltonian.pattern.n_entries)
    rows, columns = hamiltonian.pattern.orbital_indices
    first = (rows == 0) & (columns == 0)
    error[first] = np.random.default_rng(0).normal(size=int(first.sum()))
    error -= (error @ hamiltonian.overlap) / (hamiltonian.overlap @ hamiltonian.overlap) * hamiltonian.overlap
    found = element_errors(error, hamiltonian)
    assert set(found['mae_by_species']) == {'Al-Al', 'Al-As', 'As-As'}
    assert set(found['mae_by_shells']) == {'s-s', 's-p', 'p-p'}
    sums = [
        sum(entry['mae_meV'] * entry['n_elements'] for entry in found[key].values())
        for key in ('mae_by_species', 'mae_by_shells')
    ]
    assert sums[0] == pytest.approx(sums[1])
    lengths = np.linalg.norm(
        hamiltonian.pattern.vectors(hamiltonian.atoms.cell[:], hamiltonian.atoms.positions), axis=1
    )
    near = np.repeat(lengths < DISTANCES[-2], hamiltonian.pattern.chunk_shapes.prod(axis=1))
    assert sums[0] == pytest.approx(1e3 * np.abs(error[near]).sum())
    assert found['mae_by_species']['Al-Al']['mae_meV'] > 5 * found['mae_by_species']['As-As']['mae_meV']
    assert plot_errors(found, tmp_path / 'errors.png').stat().st_size > 1000


def test_calibration_is_drawn(tmp_path):
    values = np.geomspace(0.1, 10.0, 20)
    assert plot_calibration({'test': (values, 2 * values)}, tmp_path / 'calibration.png').stat().st_size > 1000


def test_moments_are_compared_with_one_overlap_threshold(make_magnetic_reference, rattled):
    """With a threshold both sides are computed with it: a Hamiltonian has no errors against itself."""
    reference = make_magnetic_reference(rattled(0), [2.0, -1.0], strength=2.0)
    mesh = reference.attributes.kpoints = [2, 2, 2]
    reference.attributes.magnetic_moments = magnetic_moments(reference, density_matrix(reference, mesh)).tolist()
    threshold = 0.5
    plain, cut = (moment_errors(reference, reference, each) for each in (0.0, threshold))
    assert plain['moment_largest_error_muB'] < 1e-9 and cut['moment_largest_error_muB'] < 1e-9
    assert np.abs(np.subtract(plain['magnetic_moments_muB'], cut['magnetic_moments_muB'])).max() > 1e-6


def with_coupling(hamiltonian, coupling, axis):
    """The same Hamiltonian with a spin-orbit part and the magnetization along an axis."""
    attributes = replace(hamiltonian.attributes, magnetization_axis=axis)
    matrices = {**hamiltonian.matrices, 'spin_orbit': coupling}
    return replace(hamiltonian, matrices=matrices, attributes=attributes)


def antisymmetric(hamiltonian, scale):
    """An arbitrary spin-orbit part, eV, between orbitals that overlap."""
    values = np.random.default_rng(1).normal(scale=scale, size=(3, hamiltonian.pattern.n_entries)) * hamiltonian.overlap
    return 0.5 * (values - values[:, hamiltonian.pattern.transpose_indices])


def test_spinors_of_a_magnet_without_coupling_are_the_levels_of_both_spins(make_magnetic_reference, rattled):
    """The magnetization is free then: the lowest levels of both spins together are filled, whatever the axis."""
    predicted, reference = (make_magnetic_reference(rattled(0), [2.0, -1.0], strength=value) for value in (0.11, 0.1))
    found, expected = (np.sort(np.hstack(eigenvalues(each, KPOINTS))) for each in (predicted, reference))
    found += fitted_shift(predicted.hamiltonian - reference.hamiltonian, reference.overlap)
    deviations = 1e3 * np.abs(found - expected)
    zero = np.zeros((3, reference.pattern.n_entries))
    for axis in ([0.0, 0.0, 1.0], [0.36, 0.48, -0.8]):
        spinors = [with_coupling(each, zero, axis) for each in (predicted, reference)]
        assert filled_bands(spinors[1], spinors[0]) == (8,)
        errors = band_errors(*spinors)
        assert errors['band_mae_occupied_meV'] == pytest.approx(deviations[:, :8].mean(), abs=1e-6)
        assert errors['band_mae_conduction_meV'] == pytest.approx(deviations[:, 8:16].mean(), abs=1e-6)


def test_spinors_of_a_reversed_magnet_are_those_with_the_axis_reversed(make_magnetic_reference, rattled):
    """Spin up along an axis is spin down along its reverse, whatever the coupling does."""
    axis = np.array([0.36, 0.48, -0.8])
    found = []
    for sign in (1, -1):
        made = [make_magnetic_reference(rattled(0), [2.0, -1.0], strength=value) for value in (0.2, 0.3)]
        for one in made:
            one.matrices['hamiltonian'] = one.hamiltonian[::sign].copy()
            one.attributes.kpoints, one.attributes.magnetic_moments = [2, 2, 2], [0.0, 0.0]
        made = [with_coupling(one, antisymmetric(one, 0.05), (sign * axis).tolist()) for one in made]
        found.append((band_errors(*made), moment_errors(*made)))
    (bands, moments), (bands_reversed, moments_reversed) = found
    assert bands == pytest.approx(bands_reversed, abs=1e-7) and bands['band_mae_occupied_meV'] > 1
    assert moments['moment_mae_muB'] == pytest.approx(moments_reversed['moment_mae_muB'], abs=1e-9)
    values = [np.array(each['magnetic_moments_muB']) for each in (moments, moments_reversed)]
    np.testing.assert_allclose(*values * np.array([[1], [-1]]), atol=1e-9)
