"""Penalties of errors."""

import pytest
import torch

from aiida_hamlr.model.losses import ComponentErrors

ERRORS = torch.tensor([-3.0, -0.5, 0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        ('mae', [3.0, 0.5, 0.0, 1.0, 2.0]),
        ('mse', [9.0, 0.25, 0.0, 1.0, 4.0]),
        # delta = 2: e^2 / 4 up to there, |e| - 1 beyond.
        ('huber', [2.0, 0.0625, 0.0, 0.25, 1.0]),
    ],
)
def test_penalties(loss, expected):
    assert ComponentErrors([1.0], loss, huber_delta=2.0).penalty(ERRORS).tolist() == pytest.approx(expected)
