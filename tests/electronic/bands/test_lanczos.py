"""Block Lanczos on dense matrices with known levels."""

import numpy as np
import pytest
from scipy import linalg

from aiida_hamlr.electronic.bands.lanczos import SingularShift, block_lanczos
from aiida_hamlr.errors import NumericalError

N = 120


def problem(levels, seed=0):
    """Matrices with given levels, complex hermitian, and an overlap that is not the unit matrix."""
    random = np.random.default_rng(seed)
    mix = random.normal(size=(N, N)) + 1j * random.normal(size=(N, N))
    states = linalg.qr(mix)[0] @ np.diag(random.uniform(0.5, 2.0, N))
    inverse = linalg.inv(states)
    return inverse.conj().T @ np.diag(levels) @ inverse, inverse.conj().T @ inverse


def test_twelvefold_level_beyond_the_size_of_a_block():
    levels = np.concatenate([np.full(12, 1.0), np.linspace(2, 30, N - 12)])
    H, S = problem(levels)
    factors = linalg.lu_factor(H - 0.9 * S)
    energies, states = block_lanczos(S, lambda b: linalg.lu_solve(factors, b), 16, 0.9, complex)
    assert np.abs(energies - levels[:16]).max() < 1e-9
    assert np.abs(states.conj().T @ S @ states - np.eye(16)).max() < 1e-9


def test_level_at_the_shift_is_said():
    levels = np.linspace(0, 10, N)
    H, S = problem(levels)
    factors = linalg.lu_factor(H - (levels[40] + 1e-9) * S)
    with pytest.raises(SingularShift, match='is a level'):
        block_lanczos(S, lambda b: linalg.lu_solve(factors, b), 8, levels[40] + 1e-9, complex)


def test_indefinite_overlap_is_said():
    with pytest.raises(NumericalError, match='positive definite'):
        block_lanczos(-np.eye(N), lambda b: b, 8, 0.0, float)
