"""Crystals for the contraction: every element occurs, every bond is one that there is."""

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

from aiida_hamlr.electronic.contraction.crystals import simple_crystals


@pytest.mark.parametrize(
    ('elements', 'formulas'),
    [
        (['As', 'Al'], ['AlAs', 'Al2As2']),
        (['Si'], ['Si2', 'Si4']),
        (['Al', 'Ga', 'N'], ['AlN', 'GaN', 'Al2N2', 'Ga2N2']),
        (['Cd', 'S', 'Se'], ['CdS', 'CdSe', 'Cd2S2', 'Cd2Se2']),
        (['Si', 'Ge'], ['Ge2', 'Si2', 'Ge4', 'Si4']),
        (['O'], ['O2']),
        (['Ar', 'Na', 'Cl'], ['NaCl', 'Ar', 'Na2Cl2']),
        (['Al'], ['Al']),
        (['Zn'], ['Zn2']),
    ],
)
def test_cations_meet_anions_and_the_others_themselves(elements, formulas):
    crystals = simple_crystals(elements)
    assert [atoms.get_chemical_formula('metal') for atoms in crystals] == formulas
    assert [atoms.pbc.all() for atoms in crystals] == [len(atoms) < 4 for atoms in crystals]


def test_every_known_element_occurs():
    for element in list(atomic_numbers)[1:87]:
        for atoms in simple_crystals([element]):
            assert set(atoms.get_chemical_symbols()) == {element}
            assert 0 < atoms.get_volume() / len(atoms) < 200


def test_bonds_have_covalent_length():
    expected = covalent_radii[atomic_numbers['Ga']] + covalent_radii[atomic_numbers['N']]
    for atoms, neighbours in zip(simple_crystals(['Ga', 'N']), (4, 3), strict=True):
        first, distances = neighbor_list('id', atoms, 1.001 * expected)
        assert distances == pytest.approx(np.full(len(distances), expected))
        assert np.bincount(first).tolist() == [neighbours] * len(atoms)
    molecule = simple_crystals(['N'])[0]
    assert np.ptp(molecule.positions[:, 2]) == pytest.approx(1.10)
