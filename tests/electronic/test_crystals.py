"""Crystals for the contraction: every element occurs, every bond is one that there is."""

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from ase.geometry import get_distances

from aiida_hamlr.electronic.crystals import simple_crystals


@pytest.mark.parametrize(
    ('elements', 'formulas'),
    [
        (['As', 'Al'], {'AlAs'}),
        (['Si'], {'Si2'}),
        (['Al', 'Ga', 'N'], {'AlN', 'GaN'}),
        (['Cd', 'Zn', 'S', 'Se'], {'CdS', 'CdSe', 'ZnS', 'ZnSe'}),
        (['Si', 'Ge'], {'Si2', 'Ge2'}),
        (['O'], {'O2'}),
        (['Ar', 'Na', 'Cl'], {'Ar', 'NaCl'}),
        (['Al'], {'Al'}),
        (['Zn'], {'Zn2'}),
    ],
)
def test_cations_meet_anions_and_the_others_themselves(elements, formulas):
    assert {atoms.get_chemical_formula('metal') for atoms in simple_crystals(elements)} == formulas


def test_every_known_element_occurs():
    for element in list(atomic_numbers)[1:87]:
        (atoms,) = simple_crystals([element])
        assert set(atoms.get_chemical_symbols()) == {element}
        assert 0 < atoms.get_volume() / len(atoms) < 150


def test_bonds_have_covalent_length():
    (atoms,) = simple_crystals(['Ga', 'N'])
    _, distances = get_distances(atoms.positions[:1], atoms.positions[1:], cell=atoms.cell, pbc=True)
    expected = covalent_radii[atomic_numbers['Ga']] + covalent_radii[atomic_numbers['N']]
    assert distances[0, 0] == pytest.approx(expected)
    molecule = simple_crystals(['N'])[0]
    assert np.ptp(molecule.positions[:, 2]) == pytest.approx(1.10)
