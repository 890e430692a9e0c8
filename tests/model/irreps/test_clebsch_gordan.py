"""Clebsch-Gordan coefficients of real harmonics against e3nn."""

from itertools import product

import numpy as np
import pytest
import torch
from e3nn import o3

from aiida_hamlr.model.irreps.clebsch_gordan import coupling

TRIPLES = [(a, b, c) for a, b in product(range(5), repeat=2) for c in range(abs(a - b), a + b + 1)]


@pytest.mark.parametrize(('l1', 'l2', 'l3'), TRIPLES)
def test_agree_with_e3nn(l1, l2, l3):
    expected = np.sqrt(2 * l3 + 1) * o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
    assert np.abs(coupling(l1, l2, l3) - expected.transpose(2, 0, 1)).max() < 1e-14


@pytest.mark.parametrize(('l1', 'l2'), [(0, 3), (2, 2), (4, 3), (5, 6)])
def test_all_of_two_shells_are_an_orthonormal_basis(l1, l2):
    tensors = np.concatenate([coupling(l1, l2, l3) for l3 in range(abs(l1 - l2), l1 + l2 + 1)])
    flat = tensors.reshape(len(tensors), -1)
    assert flat.shape == ((2 * l1 + 1) * (2 * l2 + 1),) * 2
    assert np.abs(flat @ flat.T - np.eye(len(flat))).max() < 1e-12
