"""Two-centre integrals of Gaussians, which are known."""

import numpy as np
import pytest
from scipy.special import spherical_jn

from aiida_hamlr.electronic.integrals.radial_integrals import RadialFunctions, RadialIntegrals, simpson_weights

Q = np.linspace(0.0, 14.0, 1200)
DISTANCES = np.arange(0.0, 6.0, 0.02)


def gaussians(exponent):
    """``exp(-a r^2) Y_00`` and ``r exp(-a r^2) Y_1m`` by their analytic transforms."""
    s = np.sqrt(np.pi) / (4 * exponent**1.5) * np.exp(-(Q**2) / (4 * exponent))
    return RadialFunctions((0, 1), np.array([s, s * Q / (2 * exponent)]), 3.0)


def test_simpsons_rule_integrates_cubics_exactly():
    x = np.linspace(0.0, 2.0, 21)
    assert simpson_weights(21, 0.1) @ x**3 == pytest.approx(4.0, abs=1e-13)
    assert simpson_weights(20, 0.1).sum() == pytest.approx(1.9, abs=1e-13)


def test_functions_count_every_m():
    functions = gaussians(1.0)
    assert (functions.size, functions.slices) == (4, [slice(0, 1), slice(1, 4)])


def test_overlap_and_kinetic_energy_of_gaussians():
    """``int exp(-a r^2) exp(-b |r - d|^2) = (pi / (a + b))^(3/2) exp(-mu d^2)``, and its derivatives."""
    a, b = 0.9, 1.4
    integrals = RadialIntegrals(
        gaussians(a), gaussians(b), Q, lambda order: spherical_jn(order, Q[:, None] * DISTANCES), DISTANCES, (0, 2)
    )
    vectors = np.array([[0.3, -0.4, 0.5], [1.0, 1.2, -0.7], [0.0, 0.0, 0.0], [4.0, 4.0, 3.0]])
    overlap, laplacian = integrals(vectors)
    mu, squared = a * b / (a + b), (vectors**2).sum(axis=1)
    ss = (np.pi / (a + b)) ** 1.5 * np.exp(-mu * squared) / (4 * np.pi)
    ss[3] = 0.0
    assert np.abs(overlap[:, 0, 0] - ss).max() < 1e-7
    assert np.abs(laplacian[:, 0, 0] - (6 * mu - 4 * mu**2 * squared) * ss).max() < 1e-6
    # r_i exp(-b r^2) is the derivative of the Gaussian by its centre over 2 b; Y_1m is sqrt(3) r_i / r times Y_00
    sp = np.sqrt(3) / (2 * b) * (-2 * mu) * vectors * ss[:, None]
    assert np.abs(overlap[:, 0, 1:] - sp).max() < 1e-7
