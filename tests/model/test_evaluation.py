"""Errors by what the elements belong to: all ways to sort them have the same sum."""

import numpy as np
import pytest

from aiida_hamlr.model.evaluation import DISTANCES, element_errors
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
