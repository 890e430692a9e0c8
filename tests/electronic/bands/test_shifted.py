"""Sparse matrices of one k-point and counts of its levels, against dense ones."""

from copy import copy

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.factorisation import available_solvers
from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues
from aiida_hamlr.electronic.bands.shifted import ShiftedMatrices, count_states, sparse_bloch_sum

GENERAL = (0.13, 0.21, 0.31)
SOLVERS = available_solvers()


@pytest.mark.parametrize('kpoint', [(0, 0, 0), (0.5, 0, 0.5), GENERAL])
def test_sparse_bloch_sum_is_the_dense_one(rod, kpoint):
    expected = bloch_matrices(rod.pattern, rod.overlap, np.array([kpoint]))[0]
    found = sparse_bloch_sum(rod.pattern, rod.overlap, np.array(kpoint, dtype=float)).toarray()
    assert np.abs(found - expected).max() < 1e-14
    assert np.iscomplexobj(found) == (kpoint == GENERAL)


@pytest.mark.parametrize('solver', SOLVERS)
@pytest.mark.parametrize('kpoint', [(0, 0, 0), GENERAL])
def test_count_in_the_gap_is_half_the_electrons(rod, solver, kpoint):
    expected = eigenvalues(rod, np.array([kpoint]))[0]
    n_occupied = int(rod.n_electrons / 2)
    energies = [expected[0] - 1, 0.5 * (expected[n_occupied - 1] + expected[n_occupied]), expected[-1] + 1]
    assert count_states(rod, energies, kpoint, solver=solver).tolist() == [0, n_occupied, rod.n_orbitals]


def test_sectors_of_collinear_spins_and_of_spinors(rod):
    """Levels below an energy: those of both spins; without coupling spinors have twice as many."""
    energy = 0.5 * sum(eigenvalues(rod, np.zeros((1, 3)))[0, [30, 31]])
    overlap, hamiltonian = rod.matrices['overlap'], rod.matrices['hamiltonian']
    magnet, spinors = copy(rod), copy(rod)
    magnet.matrices = {'overlap': overlap, 'hamiltonian': np.stack([hamiltonian, hamiltonian + 1e3 * overlap])}
    spinors.matrices = rod.matrices | {'spin_orbit': np.zeros((3, rod.pattern.n_entries))}
    assert ShiftedMatrices(magnet).counts_below(energy).tolist() == [31, 0]
    assert ShiftedMatrices(spinors).counts_below(energy).tolist() == [62]
    assert count_states(magnet, [energy]) == [31]
    assert ShiftedMatrices(magnet).dimension == ShiftedMatrices(spinors).dimension == 2 * rod.n_orbitals
