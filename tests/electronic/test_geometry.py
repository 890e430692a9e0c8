"""Structures that cannot be computed are refused by name; those that are not periodic are spoken of."""

import numpy as np
import pytest
import vesin  # noqa: F401 - its import is no part of the time
from ase import Atoms
from ase.build import bulk, fcc100, molecule

from aiida_hamlr.electronic.geometry import check_structure, describe_periodicity


def changed(**changes):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


IMPOSSIBLE = {
    'no atoms': (Atoms(cell=[5, 5, 5], pbc=True), 'no atoms'),
    'no cell': (molecule('H2O'), 'no three-dimensional cell'),
    'flat cell': (changed(cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]]), 'no three-dimensional cell'),
    'not finite': (changed(positions=[[0, 0, 0], [np.nan, 0, 0]]), 'not finite'),
    'one degree': (Atoms('Al', cell=[5, 5, 5, 90, 90, 1], pbc=True), 'degenerate, its angles are 90.0, 90.0, 1.0°'),
    'own images': (Atoms('Al', cell=[5, 5, 5, 90, 90, 5], pbc=True), 'lattice vector of 0.436 Å'),
    'tiny': (changed(cell=0.05 * np.eye(3)), 'lattice vector of 0.050 Å'),
    'huge': (Atoms('Al', cell=1e3 * np.eye(3), pbc=True), r'1e\+09 Å\^3 per atom'),
    'far outside': (changed(positions=[[0, 0, 0], [1e4, 0, 0]]), 'atom 1 .* cells away'),
    'images overlap': (changed(positions=[[0, 0, 0], [0.1, 2.83, 2.83]]), 'atoms 0 and 1 .* closer than 0.4 Å'),
    'unknown element': (changed(numbers=[13, 0]), 'atom 1 .* no chemical element'),
}


@pytest.mark.parametrize('name', IMPOSSIBLE)
def test_impossible_structures_are_refused(name):
    atoms, message = IMPOSSIBLE[name]
    with pytest.raises(ValueError, match=f'^a.xyz: .*{message}'):
        check_structure(atoms, 'a.xyz')


def test_real_structures_pass():
    oblique = Atoms('Al2', positions=[[0, 0, 0], [30, 1, 2]], cell=[4, 4, 60, 60, 70, 50], pbc=True)
    for atoms in (bulk('AlAs', 'zincblende', a=5.66), fcc100('Al', (1, 1, 9), vacuum=60.0), oblique):
        atoms.pbc = True
        check_structure(atoms, 'a.xyz')
        assert describe_periodicity(atoms) == []


def test_directions_without_periods():
    slab = fcc100('Al', (1, 1, 3), vacuum=10.0)
    assert describe_periodicity(slab) == [
        'not periodic along cell vector 3, but computed as periodic, also its electrostatics'
    ]
    slab.center(vacuum=1.5, axis=2)
    assert describe_periodicity(slab)[0].endswith('with only 3.0 Å between images; they interact, add vacuum')
    assert len(describe_periodicity(molecule('CO', cell=[20, 20, 20], pbc=False))) == 3
