"""Starting moments: where they stand, which files keep them, and what is no collinear order."""

import io

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from aiida_hamlr.electronic.magnetism import (
    label_moments,
    moments_of_species,
    same_order_reversed,
    set_starting_moments,
    starting_moments,
)
from aiida_hamlr.electronic.species import set_species_labels, species_labels
from aiida_hamlr.io.extxyz import format_extxyz


def test_zeros_are_no_moments():
    atoms = bulk('MnO', 'rocksalt', a=4.4)
    assert starting_moments(atoms) is None
    atoms.set_initial_magnetic_moments([0.0, 0.0])
    assert starting_moments(atoms) is None
    set_starting_moments(atoms, np.array([5.0, 0.0]))
    np.testing.assert_array_equal(starting_moments(atoms.repeat((1, 1, 2))), [5.0, 0.0] * 2)
    set_starting_moments(atoms, None)
    assert 'initial_magmoms' not in atoms.arrays


def test_vectors_and_infinities_are_refused():
    for moments, words in (
        ([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0]], r'MnO: starting moments of shape \(2, 3\); noncollinear'),
        ([np.inf, 0.0], 'not finite'),
    ):
        atoms = bulk('MnO', 'rocksalt', a=4.4)
        atoms.set_initial_magnetic_moments(moments)
        with pytest.raises(ValueError, match=words):
            starting_moments(atoms)


def test_labels_come_before_elements():
    found = moments_of_species(['Mn1', 'Mn2', 'O', 'Mn'], {'Mn': 4.0, 'Mn2': -5.0})
    np.testing.assert_array_equal(found, [4.0, -5.0, 0.0, 4.0])


def test_the_first_moment_says_which_of_two_orders_it_is():
    atoms = bulk('MnO', 'rocksalt', a=4.4)
    for moments, expected in (([0.0, -1.0], True), ([1.0, -2.0], False), ([0.0, 0.0], False)):
        atoms.set_initial_magnetic_moments(moments)
        assert same_order_reversed(atoms) is expected


def test_extended_xyz_keeps_every_digit():
    atoms = bulk('MnO', 'rocksalt', a=4.4)
    assert 'magmoms' not in format_extxyz(atoms)
    set_starting_moments(atoms, np.array([1 / 3, -5.0]))
    read = ase.io.read(io.StringIO(format_extxyz(atoms)), format='extxyz')
    np.testing.assert_array_equal(starting_moments(read), starting_moments(atoms))


def test_labels_tell_moments_apart():
    """A label means one moment in all structures, and a label without one means none."""
    known = {}
    anti, ferro, none, other = (bulk('MnO', 'rocksalt', a=4.4).repeat((1, 1, 2)) for _ in range(4))
    for atoms, moments in ((anti, [5, 0, -5, 0]), (ferro, [5, 0, 5, 0]), (none, [0] * 4), (other, [3, 0, 0, 0.1])):
        atoms.set_initial_magnetic_moments(moments)
        label_moments(atoms, known)
        assert starting_moments(atoms) is None
    assert species_labels(anti) == ['Mn1', 'O', 'Mn2', 'O'] and species_labels(ferro) == ['Mn1', 'O', 'Mn1', 'O']
    assert species_labels(none) == ['Mn', 'O'] * 2 and species_labels(other) == ['Mn3', 'O', 'Mn', 'O1']
    assert known == {'Mn1': 5.0, 'Mn2': -5.0, 'Mn3': 3.0, 'O1': 0.1}


def test_labels_of_their_own_have_one_moment():
    known = {}
    atoms = bulk('MnO', 'rocksalt', a=4.4).repeat((1, 1, 2))
    set_species_labels(atoms, ['Mn1', 'O', 'Mn', 'O'])
    atoms.set_initial_magnetic_moments([-2, 0, 4, 0])
    label_moments(atoms, known)
    assert species_labels(atoms) == ['Mn1', 'O', 'Mn2', 'O'] and known == {'Mn1': -2.0, 'Mn2': 4.0}
    atoms.set_initial_magnetic_moments([3, 0, 4, 0])
    with pytest.raises(ValueError, match='the species Mn1 has starting moments of -2 and 3; one label, one moment'):
        label_moments(atoms, known)
    many = bulk('Fe', 'bcc', a=2.9).repeat((1, 1, 10))
    many.set_initial_magnetic_moments(np.arange(1, 11))
    with pytest.raises(ValueError, match='Fe has more than nine different starting moments'):
        label_moments(many, {})
