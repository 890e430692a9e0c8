"""Errors by what the elements belong to: all ways to sort them have the same sum."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.mesh import density_matrix
from aiida_hamlr.electronic.bands.spin import magnetic_moments
from aiida_hamlr.model.evaluation import DISTANCES, element_errors, moment_errors
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
