"""Kinetic energy of orbitals beyond a cutoff, against integrals by hand."""

import numpy as np
import pytest
from scipy.integrate import quad

from aiida_hamlr.electronic.orbitals.basis import Shell, SpeciesBasis
from aiida_hamlr.electronic.orbitals.cutoff import CUTOFFS, describe_cutoffs, kinetic_energy_beyond
from aiida_hamlr.electronic.units import RYDBERG


@pytest.fixture
def gaussians():
    """An s and a p Gaussian of exponents that end well within the cutoff radius."""
    step = 0.01
    r = step * np.arange(1001)
    shells = []
    for l, exponent in ((0, 1.5), (1, 0.8)):
        radial = r**l * np.exp(-exponent * r**2)
        radial /= np.sqrt(np.sum((radial * r) ** 2) * step)
        shells.append(Shell(l, 10.0, radial, f'{l + 1}{"sp"[l]}', 1.0))
    return SpeciesBasis('H', step, tuple(shells), {})


def test_all_of_it_is_the_kinetic_energy_of_a_gaussian(gaussians):
    """``<T> = 3 a`` and ``5 a`` Ry of Gaussians of exponent a with l = 0 and 1."""
    found = kinetic_energy_beyond(gaussians, [-1.0])[:, 0]
    assert found == pytest.approx([3 * 1.5 * RYDBERG, 5 * 0.8 * RYDBERG], rel=1e-4)


def test_tail_of_a_gaussian(gaussians):
    """Its transform is a Gaussian of exponent 1 / 4 a."""
    density = quad(lambda q: q**2 * np.exp(-(q**2) / 3.0), 0, 20)[0]
    expected = quad(lambda q: q**4 * np.exp(-(q**2) / 3.0), np.sqrt(12), 20)[0] / density * RYDBERG
    assert kinetic_energy_beyond(gaussians, [12.0])[0, 0] == pytest.approx(expected, rel=0.05)


def test_lines_name_the_cutoff_that_serves(gaussians):
    lines = describe_cutoffs(gaussians)
    enough = next(cutoff for cutoff in CUTOFFS if kinetic_energy_beyond(gaussians, [cutoff])[0, 0] < 0.02)
    assert lines[0].startswith('H 1s: kinetic energy beyond a cutoff, meV: ')
    assert lines[0].endswith(f'use ecutwfc of {enough} Ry or more')
