"""Lowest states of an operator, against its full diagonalisation."""

import numpy as np
import pytest
from scipy.linalg import eigvalsh

from aiida_hamlr.electronic.reference import lowest_states as module
from aiida_hamlr.electronic.reference import plane_waves
from aiida_hamlr.electronic.reference.lowest_states import lowest_states
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.io.qe import read_potential


@pytest.fixture
def problem():
    """Kinetic energies up to 30 Ry, and a Hermitian potential of some Ry."""
    rng = np.random.default_rng(0)
    kinetic = np.sort(30 * rng.random(300) ** (2 / 3))
    matrix = rng.normal(size=(300, 300)) + 1j * rng.normal(size=(300, 300))
    return np.diag(kinetic) + 0.05 * (matrix + matrix.conj().T), kinetic


def test_wanted_states_are_those_of_the_full_matrix(problem):
    matrix, kinetic = problem
    energies, states = lowest_states(lambda x: matrix @ x, kinetic, np.eye(300, 9, dtype=complex), 6, 1e-6)
    assert np.abs(energies[:6] - eigvalsh(matrix)[:6]).max() < 1e-9
    assert np.abs(states.conj().T @ states - np.eye(9)).max() < 1e-10


def test_what_does_not_converge_is_told(problem, monkeypatch):
    matrix, kinetic = problem
    monkeypatch.setattr(module, 'MAX_ITERATIONS', 2)
    with pytest.raises(NumericalError, match='did not converge, residual'):
        lowest_states(lambda x: matrix @ x, kinetic, np.eye(300, 9, dtype=complex), 6, 1e-6)


@pytest.mark.qe
def test_start_at_a_lower_cutoff_leads_to_the_same_levels(rattled_alas_run, upf_pseudos, monkeypatch):
    run, potential = rattled_alas_run.read(), read_potential(rattled_alas_run.potential)
    hamiltonian = plane_waves.PlaneWaveHamiltonian(run.atoms, potential, upf_pseudos, run.ecutwfc)
    for name in ('DENSE_SIZE', 'COARSE_SIZE'):
        monkeypatch.setattr(plane_waves, name, 20)
    monkeypatch.setattr(plane_waves, 'COARSE_CUTOFF', 0.7)
    found = hamiltonian.eigenvalues(run.kpoints[1], 4, residual=3e-4)
    assert np.abs(found - run.eigenvalues[1, :4]).max() < 1e-4
