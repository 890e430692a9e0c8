"""Graphs of structures with what the network sees of H0."""

import numpy as np
import pytest
import torch

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model import keys
from aiida_hamlr.model.inference import Predictor
from aiida_hamlr.model.irreps.wigner import bond_frame_wigner
from aiida_hamlr.model.structure_graph import structure_graph
from aiida_hamlr.model.training.fit import train

SHELLS = {'H': [0, 1], 'Ga': [2, 0, 0, 1], 'As': [0, 1, 2]}


@pytest.fixture
def structure(mixed_atoms, make_basis, make_h0):
    return make_h0(mixed_atoms, TwoCentreTables(make_basis(SHELLS)))


def shifted(structure, energy):
    matrices = {**structure.matrices, 'h0': structure.h0 + energy * structure.overlap}
    return Hamiltonian(structure.atoms, structure.basis, structure.pattern, matrices, {}, structure.attributes)


def test_the_zero_of_energy_makes_no_difference(make_model, structure):
    model = make_model(SHELLS)
    one, other = (structure_graph(model, each)[0] for each in (structure, shifted(structure, 7.0)))
    for name in (keys.ONSITE_H0, keys.PAIR_H0, keys.EDGE_H0):
        assert float(one[name].abs().max()) > 1.0
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)
    predictor = Predictor(model, {}, structure.basis, {})
    expected, found = (predictor.correction(each)[0] for each in (structure, shifted(structure, 7.0)))
    assert np.abs(found - expected).max() < 1e-6


def test_every_edge_has_its_block_of_h0(make_model, structure):
    """Beside the code: every edge is looked up in the pattern by its vector, and its block rotated by hand."""
    model = make_model(SHELLS, message_cutoff=4.0)
    graph, _ = structure_graph(model, structure)
    pattern, atoms = structure.pattern, structure.atoms
    levels = np.array([pattern.block(structure.h0, p).diagonal().mean() for p in pattern.onsite])
    vectors = pattern.vectors(atoms.cell[:], atoms.positions)
    receivers, senders = graph[keys.EDGE_INDEX].numpy()
    assert len(receivers) >= 20
    for edge in range(len(receivers)):
        i, j = int(receivers[edge]), int(senders[edge])
        near = (pattern.first == i) & (pattern.second == j)
        lengths = np.where(near, np.linalg.norm(vectors, axis=1), np.inf)
        candidates = np.flatnonzero(np.abs(lengths - float(graph[keys.EDGE_LENGTH][edge])) < 1e-9)
        found = graph[keys.EDGE_H0][edge].numpy()
        assert any(np.abs(by_hand(model, structure, pair, levels) - found).max() < 1e-9 for pair in candidates), (
            f'edge {edge}'
        )


def by_hand(model, structure, pair, levels):
    slots, pattern, atoms = model.slots, structure.pattern, structure.atoms
    i, j = int(pattern.first[pair]), int(pattern.second[pair])
    block = pattern.block(structure.h0, pair) - 0.5 * (levels[i] + levels[j]) * pattern.block(structure.overlap, pair)
    vector = pattern.vectors(atoms.cell[:], atoms.positions)[pair : pair + 1]
    wigner = [matrix[0] for matrix in bond_frame_wigner(vector, slots.max_degree)]
    rotations = []
    for atom in (i, j):
        shells = slots.shells[atoms.symbols[atom]]
        starts = np.cumsum([0, *(2 * l + 1 for l in shells)])
        rotation = np.zeros((starts[-1], starts[-1]))
        for l, start in zip(shells, starts, strict=False):
            rotation[start : start + 2 * l + 1, start : start + 2 * l + 1] = wigner[l]
        rotations.append(rotation)
    columns, tensors = slots.pairs.transform(atoms.symbols[i], atoms.symbols[j])
    result = np.zeros(len(slots.pairs))
    result[columns] = np.einsum('nab,ab->n', tensors, rotations[0].T @ block @ rotations[1])
    return result


def test_edges_beyond_all_orbitals_see_nothing(make_model, mixed_atoms, make_basis, make_h0):
    structure = make_h0(mixed_atoms, TwoCentreTables(make_basis(SHELLS, radius=3.0)))
    graph, _ = structure_graph(make_model(SHELLS, message_cutoff=5.0), structure)
    far = graph[keys.EDGE_LENGTH] > 2 * 3.0 * 0.529177
    assert int(far.sum()) > 10
    assert float(graph[keys.EDGE_H0][far].abs().max()) == 0.0
    assert float(graph[keys.EDGE_H0][~far].abs().max()) > 0.1


@pytest.mark.parametrize(('settings', 'sees'), [({}, True), ({'h0_features': False}, False)])
def test_on_site_blocks_of_h0_change_what_is_predicted(make_model, structure, settings, sees):
    predictor = Predictor(make_model(SHELLS, **settings), {}, structure.basis, {})
    expected = predictor.correction(structure)[0]
    h0 = structure.h0.copy()
    block = structure.pattern.block(h0, structure.pattern.onsite[1])
    block += np.diag(np.linspace(-0.5, 0.5, len(block)))
    matrices = {**structure.matrices, 'h0': h0}
    changed = Hamiltonian(structure.atoms, structure.basis, structure.pattern, matrices, {}, structure.attributes)
    difference = np.abs(predictor.correction(changed)[0] - expected).max()
    assert (difference > 1e-3) == sees and (sees or difference == 0.0)


def test_what_follows_from_h0_is_learned_from_few_structures(tmp_path, make_reference, rattled):
    """H - H0 is a quarter of H0 less its levels: blocks that depend on the directions of three atoms."""
    data = {'train': [], 'validation': []}
    for seed in range(6):
        reference = make_reference(rattled(seed, 0.15))
        pattern = reference.pattern
        levels = np.array([pattern.block(reference.h0, p).diagonal().mean() for p in pattern.onsite])
        mean = np.repeat(0.5 * (levels[pattern.first] + levels[pattern.second]), pattern.chunk_shapes.prod(axis=1))
        reference.matrices['hamiltonian'] = 1.25 * reference.h0 - 0.25 * mean * reference.overlap
        path = tmp_path / f'{seed}.h5'
        reference.write(path)
        data['train' if seed < 3 else 'validation'].append(path)
    errors = {}
    for h0_features in (True, False):
        model = {'variant': 'sr', 'short_range': {'h0_features': h0_features}}
        training = {'max_steps': 400, 'device': 'cpu', 'threads': 1}
        summary = train({'data': data, 'model': model, 'training': training}, tmp_path / str(h0_features))
        errors[h0_features] = summary['validation_mae_onsite_meV']
    assert errors[True] < 0.5 * errors[False]
