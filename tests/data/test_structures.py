"""Kinds of structure nodes as species."""

from types import SimpleNamespace

import numpy as np
import pytest
from aiida import orm
from ase import Atoms

from aiida_hamlr.calculations.functions.structures import create_structures, extract_frames
from aiida_hamlr.calculations.validation import find_structure_problem
from aiida_hamlr.data.structures import (
    choose_species,
    find_missing_species,
    get_atoms,
    get_frame,
    moments_of_kinds,
    name_pseudos,
    select_pseudos,
    structure_from_atoms,
)
from aiida_hamlr.electronic.species import SPECIES_LABELS, labelled_atoms, species_labels
from aiida_hamlr.io.extxyz import format_extxyz

LABELS = ['Al', 'H1', 'As', 'H2', 'H']


@pytest.fixture
def capped(aiida_profile):
    """Return a structure with three kinds of hydrogen."""
    atoms = labelled_atoms(
        LABELS, positions=np.random.default_rng(0).uniform(0, 5, (5, 3)), cell=np.eye(3) * 6, pbc=True
    )
    return structure_from_atoms(atoms)


def test_names_of_kinds_are_labels(capped):
    atoms = get_atoms(capped)
    assert species_labels(atoms) == LABELS
    assert [site.kind_name for site in structure_from_atoms(atoms).sites] == LABELS
    assert capped.get_symbols_set() == {'Al', 'As', 'H'}
    plain = get_atoms(orm.StructureData(ase=Atoms('AlH', positions=[(0, 0, 0), (1, 1, 1)], cell=np.eye(3) * 6)))
    assert SPECIES_LABELS not in plain.arrays


def test_kinds_without_a_pseudopotential_are_of_their_element(capped):
    assert choose_species(capped, {'Al', 'As', 'H', 'H1'}) == {
        'Al': 'Al', 'As': 'As', 'H': 'H', 'H1': 'H1', 'H2': 'H',
    }  # fmt: skip
    assert find_missing_species([capped], {'Al', 'H1', 'H2'}) == ['As', 'H']
    assert select_pseudos({'Al': 1, 'As': 2, 'H': 3, 'H1': 4, 'O': 5}, capped) == {'Al': 1, 'As': 2, 'H': 3, 'H1': 4}


def test_moments_of_kinds(capped):
    """A name is a kind or an element; others have none, and a name that nothing has is a mistake."""
    found = moments_of_kinds([capped], {'H': 1.0, 'H2': -1.0})
    assert found == {'Al': 0.0, 'H1': 1.0, 'As': 0.0, 'H2': -1.0, 'H': 1.0}
    with pytest.raises(ValueError, match='for Fe1, but the kinds of the structure are Al, As, H, H1, H2; name'):
        moments_of_kinds([capped], {'H': 1.0, 'Fe1': 2.0})


def test_pseudopotentials_of_a_builder_go_by_species(capped):
    def pseudos(**md5):
        given = {'Al': 'a', 'As': 'b', 'H': 'c', 'H1': 'c', 'H2': 'c'} | md5
        return {name: SimpleNamespace(md5=value) for name, value in given.items()}

    assert set(name_pseudos(pseudos(), capped, ())) == {'Al', 'As', 'H'}
    assert set(name_pseudos(pseudos(), capped, ('H1',))) == {'Al', 'As', 'H', 'H1'}
    assert set(name_pseudos(pseudos(H2='d'), capped, ())) == {'Al', 'As', 'H', 'H1', 'H2'}


def test_trajectories_and_recipes_keep_species(capped):
    trajectory = orm.TrajectoryData(structurelist=[capped, capped])
    assert species_labels(get_atoms(get_frame(trajectory, 1))) == LABELS
    frames = extract_frames(trajectory.store())
    assert [site.kind_name for site in frames['n0000'].sites] == LABELS
    recipe = orm.Dict({'kind': 'rattle', 'count': 1, 'repeat': [2, 1, 1]})
    made = create_structures(recipe, orm.Int(1), a=capped)
    assert species_labels(get_atoms(made['n0000'])) == LABELS * 2


def test_names_that_are_no_labels_are_refused(capped):
    assert find_structure_problem(capped) is None
    capped.append_atom(symbols='H', name='cap', position=(0, 0, 0))
    assert "the kind 'cap' of H: name it by the chemical symbol" in find_structure_problem(capped)


def test_extended_xyz_has_every_digit(capped, tmp_path):
    import ase.io

    for atoms in (get_atoms(capped), get_atoms(capped)[[0, 2]]):
        (tmp_path / 'a.extxyz').write_text(format_extxyz(atoms))
        found = ase.io.read(tmp_path / 'a.extxyz')
        assert np.array_equal(found.positions, atoms.positions) and np.array_equal(found.cell[:], atoms.cell[:])
        assert found.pbc.all() and species_labels(found) == species_labels(atoms)
