"""Symmetries of the short-range network, exact for any weights."""

import numpy as np
import pytest
import torch
from ase.build import make_supercell
from e3nn import o3
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.model.network import short_range
from aiida_hamlr.model.network.layers import Widths

#: Different shells for every element, up to f, and not in the order of l.
MIXED = {'H': [0, 1], 'Ga': [2, 0, 0, 1, 3], 'As': [0, 1, 2]}

OPERATIONS = {
    'rotation': Rotation.random(random_state=3).as_matrix(),
    'inversion': -np.eye(3),
    'mirror': np.diag([1.0, 1.0, -1.0]),
    'improper': -Rotation.random(random_state=4).as_matrix(),
}


def largest_difference(pattern, one, other, symbols, rotations):
    worst = 0.0
    for pair in range(len(pattern)):
        left, right = (rotations[symbols[int(a[pair])]] for a in (pattern.first, pattern.second))
        worst = max(worst, np.abs(pattern.block(other, pair) - left @ pattern.block(one, pair) @ right.T).max())
    return worst


@pytest.fixture(params=['sr', 'ea'])
def case(request, make_basis, make_model, mixed_atoms, predict_short_range):
    basis, model = make_basis(MIXED), make_model(MIXED, variant=request.param)
    pattern = overlap_pattern(mixed_atoms, basis)
    return model, mixed_atoms, basis, pattern, predict_short_range(model, mixed_atoms, pattern, basis)


@pytest.mark.parametrize('name', OPERATIONS)
def test_equivariant_under_rotations_and_reflections(case, predict_short_range, orbital_rotation, name):
    model, atoms, basis, pattern, matrix = case
    moved = atoms.copy()
    moved.set_cell(atoms.cell[:] @ OPERATIONS[name].T)
    moved.positions = atoms.positions @ OPERATIONS[name].T
    rotations = {element: orbital_rotation(momenta, OPERATIONS[name]) for element, momenta in MIXED.items()}
    found = predict_short_range(model, moved, pattern, basis)
    assert np.abs(matrix).max() > 0.1
    assert largest_difference(pattern, matrix, found, atoms.get_chemical_symbols(), rotations) < 1e-11


def test_exactly_symmetric(case):
    _, _, _, pattern, matrix = case
    assert pattern.asymmetry(matrix) == 0.0


def test_blocks_of_edges_and_pairs_make_no_difference(case, predict_short_range, monkeypatch):
    model, atoms, basis, pattern, matrix = case
    monkeypatch.setattr(short_range, 'BLOCK', 7)
    assert np.abs(predict_short_range(model, atoms, pattern, basis) - matrix).max() < 1e-12


def test_independent_of_translations(case, predict_short_range):
    model, atoms, basis, pattern, matrix = case
    moved = atoms.copy()
    moved.positions += [0.3, -1.7, 0.9]
    assert np.abs(predict_short_range(model, moved, pattern, basis) - matrix).max() < 1e-11


def test_independent_of_the_order_of_atoms(case, predict_short_range):
    model, atoms, basis, pattern, matrix = case
    order = np.array([3, 0, 4, 2, 1])
    place = np.argsort(order)
    permuted = atoms[order]
    pairs = pattern.atom_pairs.copy()
    pairs[:, 3:] = place[pairs[:, 3:]]
    shuffled = np.random.default_rng(0).permutation(len(pairs))
    other = BlockPattern(pairs[shuffled], basis.n_orbitals(permuted.get_chemical_symbols()))
    found = predict_short_range(model, permuted, other, basis)
    for new, old in enumerate(shuffled):
        assert np.abs(other.block(found, new) - pattern.block(matrix, old)).max() < 1e-11


def test_supercell_holds_the_blocks_of_the_cell(case, predict_short_range):
    model, atoms, basis, pattern, matrix = case
    supercell = make_supercell(atoms, np.diag([2, 1, 1]))
    large = overlap_pattern(supercell, basis)
    found = predict_short_range(model, supercell, large, basis)
    vectors = pattern.vectors(atoms.cell[:], atoms.positions)
    for pair in range(0, len(large), 7):
        i, j = int(large.first[pair]) % len(atoms), int(large.second[pair]) % len(atoms)
        vector = large.vectors(supercell.cell[:], supercell.positions)[pair]
        distance = np.linalg.norm(vectors - vector, axis=1) + 1e3 * ((pattern.first != i) | (pattern.second != j))
        assert distance.min() < 1e-9
        assert np.abs(large.block(found, pair) - pattern.block(matrix, int(distance.argmin()))).max() < 1e-9


def test_zero_beyond_the_pair_cutoff_and_continuous_there(make_basis, make_model, predict_short_range, rattled):
    shells = {'Al': [0, 1], 'As': [0, 1]}
    basis, model, atoms = make_basis(shells), make_model(shells, pair_cutoff=3.0), rattled(0)
    pattern = overlap_pattern(atoms, basis)
    lengths = np.linalg.norm(pattern.vectors(atoms.cell[:], atoms.positions), axis=1)
    matrix = predict_short_range(model, atoms, pattern, basis)
    far = np.repeat(lengths > 3.0, pattern.chunk_shapes.prod(axis=1))
    assert far.any() and np.abs(matrix[far]).max() == 0.0
    shortest = lengths[lengths > 0].min()
    for gap, largest in ((0.05, 1e-2), (0.005, 1e-5)):
        model.normalisation.pair_cutoff = model.pair_cutoff = shortest + gap
        near = predict_short_range(model, atoms, pattern, basis)
        pair = int(np.argmin(np.where(lengths > 0, lengths, np.inf)))
        assert 0.0 < np.abs(pattern.block(near, pair)).max() < largest


def test_messages_end_smoothly_at_their_cutoff(make_model, predict_short_range, make_basis, rattled):
    shells = {'Al': [0, 1], 'As': [0, 1]}
    atoms, basis = rattled(1), make_basis(shells)
    pattern = overlap_pattern(atoms, basis)
    distance = np.linalg.norm(pattern.vectors(atoms.cell[:], atoms.positions), axis=1).max()
    below, above = (
        predict_short_range(make_model(shells, message_cutoff=distance + shift), atoms, pattern, basis)
        for shift in (-1e-4, 1e-4)
    )
    assert np.abs(below - above).max() < 1e-3 * np.abs(below).max()


@pytest.mark.parametrize('shells', [{'H': [0]}, {'H': [0], 'As': [1]}, {'Ga': [3], 'As': [0]}])
def test_any_shells_will_do(make_basis, make_model, predict_short_range, mixed_atoms, shells):
    symbols = [list(shells)[n % len(shells)] for n in range(len(mixed_atoms))]
    atoms = mixed_atoms.copy()
    atoms.set_chemical_symbols(symbols)
    basis = make_basis(shells)
    pattern = overlap_pattern(atoms, basis)
    matrix = predict_short_range(make_model(shells), atoms, pattern, basis)
    assert np.isfinite(matrix).all() and np.abs(matrix).max() > 1e-3


def test_closed_gates_of_the_attention_leave_the_short_range(case, make_model, predict_short_range):
    model, atoms, basis, pattern, matrix = case
    plain = predict_short_range(make_model(MIXED), atoms, pattern, basis)
    assert (np.abs(matrix - plain).max() > 0.01) == bool(model.network.attention)
    for attention in model.network.attention:
        torch.nn.init.zeros_(attention.strength)
    assert np.array_equal(predict_short_range(model, atoms, pattern, basis), plain)


def test_declared_irreps():
    widths = Widths(2, 8, 4, 3)
    assert o3.Irreps(widths.irreps).dim == 8 + 4 * 9 + 3 * 3
    assert str(o3.Irreps(widths.irreps).simplify()) == '12x0e+4x1o+4x2e+3x1e'
