"""The reciprocal lattice, and directions."""

import numpy as np
import pytest

from aiida_hamlr.electronic.lattice import reciprocal, unit_vector


def test_reciprocal_vectors_are_dual():
    cell = np.random.default_rng(0).normal(size=(3, 3))
    assert np.allclose(cell @ reciprocal(cell).T, 2 * np.pi * np.eye(3), atol=1e-12)
    assert np.allclose(reciprocal(np.diag([1.0, 2.0, 4.0])), np.diag([2 * np.pi, np.pi, np.pi / 2]))


def test_unit_vector():
    np.testing.assert_allclose(unit_vector((0, -3, 4), 'axis'), [0, -0.6, 0.8])
    for wrong in ((0, 0, 0), (1, 0), (np.nan, 0, 1), (np.inf, 0, 0)):
        with pytest.raises(ValueError, match='^axis .*three finite components are needed, not all zero'):
            unit_vector(wrong, 'axis')
