"""Charges that pass along bonds."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import Graph, join_graphs
from aiida_hamlr.model.graph_builder import geometry, message_edges
from aiida_hamlr.model.long_range.neutrality import bond_weights, longest_bond, passed_along_bonds


def bonds_of(atoms):
    index, vectors = message_edges(atoms, longest_bond(atoms.numbers))
    return bond_weights(atoms.numbers, index, np.linalg.norm(vectors, axis=1))


def charges_of(atoms, values):
    index, weight = (torch.as_tensor(part) for part in bonds_of(atoms))
    values = torch.tensor([values[symbol] for symbol in atoms.symbols], dtype=torch.float64)
    return passed_along_bonds(values, {keys.BOND_INDEX: index, keys.BOND_WEIGHT: weight}).numpy()


@pytest.mark.parametrize(
    ('name', 'structure', 'a'),
    [
        ('AlAs', 'zincblende', 5.66),
        ('NaCl', 'rocksalt', 5.64),
        ('CsI', 'cesiumchloride', 4.57),
        ('MgO', 'rocksalt', 4.2),
    ],
)
def test_binary_crystals_get_half_the_difference(name, structure, a):
    atoms = bulk(name, structure, a=a)
    values = dict(zip(atoms.symbols, (1.0, -0.6), strict=True))
    assert charges_of(atoms, values) == pytest.approx([0.8, -0.8], rel=2e-3)


def test_equal_values_pass_nothing(mixed_atoms):
    assert np.abs(charges_of(mixed_atoms, dict.fromkeys(('H', 'Ga', 'As'), 0.7))).max() < 1e-15


def test_every_layer_of_a_superlattice_is_neutral():
    """Two crystals whose cations would have different charges: no layer has what would make a field that grows."""
    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True).repeat((1, 1, 6))
    height = atoms.cell[2, 2]
    atoms.symbols[(atoms.symbols == 'Al') & (atoms.positions[:, 2] < height / 2 - 0.1)] = 'Ga'
    charges = charges_of(atoms, {'Ga': 0.1, 'Al': 0.7, 'As': -0.4})
    assert abs(charges.sum()) < 1e-12
    to_interface = np.abs((atoms.positions[:, 2] / height * 2 + 0.5) % 1.0 - 0.5) * height / 2
    for cation, charge in (('Ga', 0.25), ('Al', 0.55)):
        half = atoms.positions[:, 2] < height / 2 if cation == 'Ga' else atoms.positions[:, 2] > height / 2
        for element, expected in ((cation, charge), ('As', -charge)):
            chosen = half & (atoms.symbols == element) & (to_interface > 2.0)
            assert chosen.sum() > 2 and charges[chosen] == pytest.approx(expected, rel=2e-3)


def test_an_atom_takes_its_charge_along():
    """Displacements as of vibrations leave the weights as they are."""
    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True)
    index, weight = bonds_of(atoms)
    assert len(weight) == 32 and weight == pytest.approx(0.125, rel=2e-3)
    atoms.rattle(0.07, seed=1)
    again, moved = bonds_of(atoms)
    assert (np.sort(again) == np.sort(index)).all() and moved == pytest.approx(0.125, rel=2e-3)


def test_weights_are_continuous_where_bonds_break():
    hydrogen, previous = molecule('H2', cell=[9.0, 9.0, 9.0], pbc=True), None
    for distance in np.arange(0.6, 1.0, 1e-3):
        hydrogen.positions = [[0, 0, 0], [0, 0, distance]]
        weight = bonds_of(hydrogen)[1]
        weight = weight[0] if len(weight) else 0.0
        assert previous is None or abs(weight - previous) < 0.01
        previous = weight
    assert previous == 0.0


def test_batches_pass_what_single_structures_pass():
    crystals, graphs, expected = [bulk('AlAs', 'zincblende', a=5.66), bulk('NaCl', 'rocksalt', a=5.64)], [], []
    for atoms in crystals:
        index, weight = (torch.as_tensor(part) for part in bonds_of(atoms))
        graph = Graph(**geometry(atoms), species=torch.zeros(2, dtype=torch.long))
        graph[keys.BOND_INDEX], graph[keys.BOND_WEIGHT] = index, weight
        graphs.append(graph)
        expected.append(charges_of(atoms, {'Al': 1.0, 'As': -1.0, 'Na': 0.5, 'Cl': -0.5}))
    batch = join_graphs(graphs)
    found = passed_along_bonds(torch.tensor([1.0, -1.0, 0.5, -0.5], dtype=torch.float64), batch)
    assert np.allclose(found.numpy(), np.concatenate(expected))
