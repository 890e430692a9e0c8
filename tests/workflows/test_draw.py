"""Random draws of structures."""

import pytest

from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.workflows.draw import draw, draw_parts

NUMBERS = {'test': 2, 'validation': 1, 'train': 2}


@pytest.fixture
def structures(aiida_profile, zincblende):
    """Return eight crystals with displacements of growing size."""
    nodes = []
    for seed in range(8):
        atoms = zincblende()
        atoms.rattle(0.02 + 0.02 * seed, seed=seed)
        nodes.append(structure_from_atoms(atoms).store())
    return nodes


def get_species(node):
    return set(node.get_symbols_set())


def substitute(node, symbol):
    """Return a structure with another first element."""
    atoms = node.get_ase()
    atoms.symbols[0] = symbol
    return structure_from_atoms(atoms).store()


def test_draw(structures):
    """The seed decides, the order does not; one more candidate changes one place at most."""
    drawn = draw(structures, 1, 4)
    assert drawn == draw(reversed(structures), 1, 4)
    assert drawn != draw(structures, 2, 4)
    assert len(set(draw(structures[:-1], 1, 4)) & set(drawn)) >= 3
    assert len(draw(structures, 1, 99)) == 8


def test_parts(structures):
    """Without rare species the parts are the first ones of the draw, in turn."""
    order = draw(structures, 1)
    parts = draw_parts(structures, 1, NUMBERS, get_species)
    assert parts == {'test': order[:2], 'validation': order[2:3], 'train': order[3:5]}
    assert draw_parts(structures, 1, {**NUMBERS, 'train': 0}, get_species, ('Al', 'As'))['train'] == []


def test_rare_species_are_trained_on(structures):
    """A species that one structure alone has is among those to train on, wherever this structure is in the draw."""
    order = draw(structures, 1)
    for place in range(8):
        rare = substitute(order[place], 'Ga')
        candidates = [*order[:place], *order[place + 1 :], rare]
        parts = draw_parts(candidates, 1, NUMBERS, get_species)
        assert rare in parts['train']
        assert {part: len(nodes) for part, nodes in parts.items()} == NUMBERS
        assert len({node.uuid for nodes in parts.values() for node in nodes}) == 5
    # As many as there are species, if need be, but none for those that are known.
    candidates = [*structures[:5], *(substitute(node, 'Ga') for node in structures[5:])]
    few = {**NUMBERS, 'train': 1}
    trained = draw_parts(candidates, 1, few, get_species)['train']
    assert set().union(*map(get_species, trained)) == {'Al', 'Ga', 'As'}
    assert len(trained) == 2
    assert len(draw_parts(candidates, 1, few, get_species, {'Al', 'Ga', 'As'})['train']) == 1
