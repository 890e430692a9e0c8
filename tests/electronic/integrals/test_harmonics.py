"""Real spherical harmonics against e3nn, and the algebra of their products."""

import numpy as np
import pytest
import torch
from e3nn import o3

from aiida_hamlr.electronic.integrals.harmonics import gaunt, real_harmonics, solid_harmonics

SPECIAL = np.vstack([np.eye(3), -np.eye(3), [[1, 1, 0], [0, -2, 1e-9], [1e-200, 0, 0]]])


@pytest.mark.parametrize('l', range(7))
def test_harmonics_are_those_of_e3nn(l):
    vectors = np.vstack([np.random.default_rng(l).normal(size=(200, 3)), SPECIAL[:-1]])
    expected = o3.spherical_harmonics(l, torch.from_numpy(vectors), normalize=True, normalization='integral')
    assert np.allclose(real_harmonics(l, vectors), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize('l', range(4))
def test_harmonics_are_finite_at_and_near_the_origin(l):
    at_origin = real_harmonics(l, np.zeros((1, 3)))
    assert np.allclose(at_origin, 1 / np.sqrt(4 * np.pi) if l == 0 else 0.0)
    assert np.isfinite(real_harmonics(l, SPECIAL)).all()


def test_p_functions_are_x_y_z():
    vectors = np.random.default_rng(0).normal(size=(5, 3))
    assert np.allclose(np.stack(solid_harmonics(1, *vectors.T)[1], axis=-1), np.sqrt(3 / (4 * np.pi)) * vectors)


def test_solid_harmonics_scale_as_a_power_of_the_distance_in_torch_too():
    vectors = np.random.default_rng(1).normal(size=(20, 3))
    distances = np.linalg.norm(vectors, axis=1)
    solid = solid_harmonics(3, *torch.from_numpy(vectors).T)[3]
    expected = real_harmonics(3, vectors) * distances[:, None] ** 3
    assert np.allclose(np.stack([component.numpy() for component in solid], axis=-1), expected)


@pytest.mark.parametrize(('l1', 'l2', 'l3'), [(0, 0, 0), (1, 1, 2), (2, 2, 2), (2, 3, 1), (3, 3, 4), (1, 1, 1)])
def test_gaunt_coefficients_expand_products(l1, l2, l3):
    """Y_l1 Y_l2 is the sum over all L of Gaunt coefficients times Y_L; odd sums vanish."""
    vectors = np.random.default_rng(2).normal(size=(10, 3))
    product = np.einsum('na,nb->nab', real_harmonics(l1, vectors), real_harmonics(l2, vectors))
    expanded = sum(
        np.einsum('abm,nm->nab', gaunt(l1, l2, total), real_harmonics(total, vectors)) for total in range(l1 + l2 + 1)
    )
    assert np.allclose(expanded, product, atol=1e-13)
    if (l1 + l2 + l3) % 2:
        assert not gaunt(l1, l2, l3).any()
