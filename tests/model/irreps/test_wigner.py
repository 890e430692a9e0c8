"""Wigner matrices of bond frames against e3nn."""

import numpy as np
import pytest
import torch
from e3nn import o3

from aiida_hamlr.model.irreps.wigner import DenseWigner, bond_frame_wigner, flatten


@pytest.fixture
def vectors():
    """Random directions, both poles, and a bond that is nearly along the polar axis."""
    return np.concatenate([np.random.default_rng(0).normal(size=(5, 3)), [[0, 1, 0], [0, -2, 0], [1e-9, 1, 0]]])


@pytest.mark.parametrize('degree', range(7))
def test_polar_axis_goes_to_the_bond(vectors, degree):
    wigner = bond_frame_wigner(vectors, degree)[degree]
    pole = o3.spherical_harmonics(degree, torch.tensor([0.0, 1.0, 0.0]).double(), True).numpy()
    expected = o3.spherical_harmonics(degree, torch.tensor(vectors), True).numpy()
    assert np.abs(wigner @ pole - expected).max() < 1e-13
    assert np.abs(wigner @ wigner.transpose(0, 2, 1) - np.eye(2 * degree + 1)).max() < 1e-13


def test_agrees_with_e3nn(vectors):
    x, y, z = torch.tensor(vectors).T
    alpha, beta = torch.atan2(x, z), torch.atan2(torch.hypot(x, z), y)
    for degree, wigner in enumerate(bond_frame_wigner(vectors, 4)):
        # The tables of e3nn have single precision.
        expected = o3.wigner_D(degree, alpha, beta, torch.zeros_like(alpha)).numpy()
        assert np.abs(wigner - expected).max() < 3e-6


def test_dense_matrices_are_orthogonal_and_keep_lengths(vectors):
    dense = DenseWigner(4).double()
    natural, unnatural = dense(torch.tensor(flatten(bond_frame_wigner(vectors, 4))))
    for matrix, size in ((natural, 25), (unnatural, 15)):
        assert matrix.shape == (len(vectors), size, size)
        assert torch.allclose(matrix @ matrix.transpose(1, 2), torch.eye(size).double().expand_as(matrix), atol=1e-12)


def test_first_rows_of_the_natural_matrix_are_harmonics(vectors):
    natural, _ = DenseWigner(3).double()(torch.tensor(flatten(bond_frame_wigner(vectors, 3))))
    expected = o3.spherical_harmonics([0, 1, 2, 3], torch.tensor(vectors), True, normalization='norm')
    assert torch.allclose(natural[:, :4].sum(1), expected, atol=1e-12)
