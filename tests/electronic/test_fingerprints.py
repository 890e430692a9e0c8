"""Fingerprints: the same for descriptions of one crystal, different for different crystals."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.fingerprints import REACH, STEP, WIDTH, fingerprints


def test_descriptions_of_one_crystal():
    """Neither a larger cell, nor the order of atoms, nor a rotation or a translation changes anything."""
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    atoms.rattle(0.1, seed=1)
    turned = atoms.repeat((1, 2, 1))[[3, 1, 0, 2]]
    turned.rotate(40.0, (1, 2, 3), rotate_cell=True)
    turned.positions += (0.3, 0.1, 0.7)
    one, other = fingerprints([atoms, turned])
    assert one == pytest.approx(other, abs=1e-9)


def test_distances_order_structures():
    """A structure is nearer to one with smaller displacements, and compositions differ by more than displacements."""
    perfect = bulk('AlAs', 'zincblende', a=5.66).repeat((2, 1, 1))
    structures = [perfect]
    for amplitude in (0.02, 0.1, 0.3):
        atoms = perfect.copy()
        atoms.rattle(amplitude, seed=3)
        structures.append(atoms)
    alloy = perfect.copy()
    alloy.symbols[0] = 'Ga'
    found = fingerprints([*structures, alloy])
    lengths = np.linalg.norm(found[1:] - found[0], axis=1)
    assert lengths[0] < lengths[1] < lengths[2] and lengths[1] < lengths[3]


def test_two_atoms_have_the_gaussian_of_their_distance():
    """Two atoms of a large cell: both see one neighbour."""
    length = 3.0
    atoms = Atoms('Si2', positions=[[0, 0, 0], [0, 0, length]], cell=[20, 20, 20], pbc=True)
    (found,) = fingerprints([atoms])
    points = np.arange(STEP, REACH, STEP)
    expected = np.cos(np.pi * length / 2 / REACH) ** 2 * np.exp(-((length - points) ** 2) / 2 / WIDTH**2)
    assert found == pytest.approx(np.concatenate([[1.0], expected]))
