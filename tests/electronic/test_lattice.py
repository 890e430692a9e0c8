"""The reciprocal lattice."""

import numpy as np

from aiida_hamlr.electronic.lattice import reciprocal


def test_reciprocal_vectors_are_dual():
    cell = np.random.default_rng(0).normal(size=(3, 3))
    assert np.allclose(cell @ reciprocal(cell).T, 2 * np.pi * np.eye(3), atol=1e-12)
    assert np.allclose(reciprocal(np.diag([1.0, 2.0, 4.0])), np.diag([2 * np.pi, np.pi, np.pi / 2]))
