"""Structure factors by a fast Fourier transform: the sums themselves, and one atom anywhere."""

import numpy as np
import pytest

from aiida_hamlr.electronic.integrals import neutral_atom
from aiida_hamlr.electronic.integrals.neutral_atom import ReciprocalGrid
from aiida_hamlr.electronic.integrals.structure_factor import fast_structure_factor


@pytest.mark.parametrize('shape', [(24, 25, 27), (12, 40, 9)])
def test_sums_over_atoms(shape):
    fractional = 3 * np.random.default_rng(0).random((150, 3)) - 1
    numbers = [np.fft.fftfreq(n, 1 / n) for n in shape[:2]] + [np.arange(shape[2] // 2 + 1)]
    h = np.stack(np.meshgrid(*numbers, indexing='ij'), axis=-1)
    expected = np.exp(-2j * np.pi * h @ fractional.T).sum(axis=-1)
    assert np.abs(fast_structure_factor(fractional, shape) - expected).max() < 1e-12 * len(fractional) + 1e-10


def test_grid_takes_it_for_many_atoms(monkeypatch):
    cell = np.array([[8.0, 1.0, 0.0], [0.0, 9.0, 0.5], [0.3, 0.0, 7.0]])
    positions = np.random.default_rng(1).normal(scale=9, size=(70, 3))
    grid = ReciprocalGrid(cell, (30, 32, 27), 30.0)
    expected = grid.structure_factor(positions)
    monkeypatch.setattr(neutral_atom, 'LARGEST_DIRECT', 10)
    monkeypatch.setattr(neutral_atom, 'SLAB_SIZE', None)
    assert np.abs(grid.structure_factor(positions) - expected).max() < 1e-10
