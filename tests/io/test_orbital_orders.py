"""Orders of orbitals: against sisl's functions, published lists and formulas of the functions."""

import numpy as np
import pytest

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.io.orbital_orders import (
    ORDERS,
    atom_turns,
    change_orbitals,
    magnetic_numbers,
    shell_letters,
    shell_permutation,
    shell_turn,
)

DIRECTIONS = np.random.default_rng(0).normal(size=(60, 3))
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1)[:, None]
X, Y, Z = DIRECTIONS.T


@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize('l', range(6))
def test_turns_are_orthogonal(order, l):
    turn = shell_turn(order, l)
    np.testing.assert_allclose(turn @ turn.T, np.eye(2 * l + 1), atol=1e-15)


def test_shells_by_their_polynomials():
    """The functions that every manual lists, with the polar axis z."""
    s3 = np.sqrt(3)
    p = {'polar_z': [Y, Z, X], 'openmx': [X, Y, Z], 'siesta': [-Y, Z, -X], 'wannier90': [Z, X, Y]}
    xy, yz, xz, z2, x2y2 = s3 * X * Y, s3 * Y * Z, s3 * X * Z, (3 * Z**2 - 1) / 2, s3 * (X**2 - Y**2) / 2
    d = {'polar_z': [xy, yz, z2, xz, x2y2], 'openmx': [z2, x2y2, xy, xz, yz], 'siesta': [xy, -yz, z2, -xz, x2y2]}
    d['wannier90'] = [z2, xz, yz, x2y2, xy]
    f = {'wannier90': [Z * (5 * Z**2 - 3) / 2, *(np.sqrt(3 / 8) * a * (5 * Z**2 - 1) for a in (X, Y))]}
    f['wannier90'] += [np.sqrt(15) / 2 * Z * (X**2 - Y**2), np.sqrt(15) * X * Y * Z]
    f['wannier90'] += [np.sqrt(5 / 8) * X * (X**2 - 3 * Y**2), np.sqrt(5 / 8) * Y * (3 * X**2 - Y**2)]
    for l, functions in ((1, p), (2, d), (3, f)):
        for order, expected in functions.items():
            found = real_harmonics(l, DIRECTIONS) @ shell_turn(order, l).T * np.sqrt(4 * np.pi / (2 * l + 1))
            np.testing.assert_allclose(found, np.transpose(expected), atol=1e-14)


@pytest.mark.parametrize('l', range(5))
def test_siesta_is_what_sisl_evaluates(l):
    sisl = pytest.importorskip('sisl')
    orbital = sisl.SphericalOrbital(l, (np.linspace(0, 2, 20), np.ones(20)))
    angles = np.arctan2(Y, X), np.arccos(Z)
    expected = np.transpose([orbital.spher(*angles, m) for m in range(-l, l + 1)])
    np.testing.assert_allclose(real_harmonics(l, DIRECTIONS) @ shell_turn('siesta', l).T, expected, atol=1e-14)


def test_openmx_by_the_lists_of_deeph():
    """Which of OpenMX's orbitals stands at each m = -l .. l."""
    for l, places in {1: [1, 2, 0], 2: [2, 4, 0, 3, 1], 3: [6, 4, 2, 0, 1, 3, 5]}.items():
        assert [magnetic_numbers('openmx', l)[place] for place in places] == list(range(-l, l + 1))
    with pytest.raises(ValueError, match="unknown order of orbitals 'abacus'"):
        magnetic_numbers('abacus', 1)


def test_shells_are_brought_into_another_sequence():
    assert shell_letters((1, 0, 2, 0)) == '2s1p1d'
    np.testing.assert_array_equal(shell_permutation((1, 0, 2, 0), (0, 0, 1, 2)), [3, 9, 0, 1, 2, 4, 5, 6, 7, 8])
    with pytest.raises(ValueError, match='shells 1s1p are not 2s'):
        shell_permutation((0, 1), (0, 0))


@pytest.mark.parametrize('order', ORDERS)
def test_there_and_back(order):
    from foreign_examples import example

    hamiltonian = example(n_spin=2)
    momenta = [species.angular_momenta for species in hamiltonian.basis.for_labels(hamiltonian.species)]
    wanted = [sorted(shells) for shells in momenta]
    there = change_orbitals(hamiltonian.pattern, hamiltonian.hamiltonian, atom_turns(order, momenta, wanted))
    assert np.abs(there - hamiltonian.hamiltonian).max() > 1
    back = change_orbitals(hamiltonian.pattern, there, atom_turns(order, momenta, wanted, inverse=True))
    np.testing.assert_allclose(back, hamiltonian.hamiltonian, rtol=0, atol=1e-13)
