"""Components of blocks: orthonormality, exact shapes, selection rules."""

import numpy as np
import pytest

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.irreps.shells import ShellSlots

#: Different shells for every element, up to f, and not in the order of l.
MIXED = {'H': [0, 1], 'Ga': [2, 0, 0, 1, 3], 'As': [0, 1, 2]}


@pytest.fixture
def slots():
    return ShellSlots(MIXED)


@pytest.mark.parametrize('first', MIXED)
@pytest.mark.parametrize('second', MIXED)
def test_pair_components_are_an_orthonormal_basis_of_the_exact_shape(slots, first, second):
    columns, tensors = slots.pairs.transform(first, second)
    shape = slots.n_orbitals(first), slots.n_orbitals(second)
    assert tensors.shape == (shape[0] * shape[1], *shape)
    assert len(set(columns)) == len(columns)
    flat = tensors.reshape(len(tensors), -1)
    assert np.abs(flat @ flat.T - np.eye(len(flat))).max() < 1e-12


@pytest.mark.parametrize('element', MIXED)
def test_onsite_components_are_a_basis_of_symmetric_blocks(slots, element):
    columns, tensors = slots.onsite.transform(element)
    n = slots.n_orbitals(element)
    assert len(columns) == n * (n + 1) // 2
    assert np.abs(tensors - tensors.transpose(0, 2, 1)).max() < 1e-12
    flat = tensors.reshape(len(tensors), -1)
    assert np.abs(flat @ flat.T - np.diag(slots.onsite.multiplicity[columns])).max() < 1e-12


def test_widths_count_all_columns(slots):
    widths = slots.pairs.widths
    assert widths[0] + widths[1] + 2 * sum(widths[2:]) == len(slots.pairs)


@pytest.fixture
def framed(make_basis, make_model, mixed_atoms):
    basis = make_basis(MIXED)
    pattern = overlap_pattern(mixed_atoms, basis)
    model = make_model(MIXED, pair_cutoff=5.0)
    _, selection = model.builder.build(mixed_atoms, pattern)
    overlap, _ = TwoCentreTables(basis).overlap_and_kinetic(mixed_atoms, pattern)
    return BlockFrames.of(model.slots, mixed_atoms, pattern, selection), pattern, overlap, model


def test_overlap_has_axial_natural_components_only(framed):
    frames, _, overlap, model = framed
    (components,) = frames.pair_components(overlap)
    axial = model.slots.pairs.is_two_body
    assert np.abs(components[:, axial]).max() > 0.1
    assert np.abs(components[:, ~axial]).max() < 1e-7


def test_assembling_inverts_taking_apart(framed):
    frames, pattern, _, _ = framed
    matrix = pattern.symmetrize(np.random.default_rng(0).normal(size=pattern.n_entries))
    (pairs,), (onsite,) = frames.pair_components(matrix), frames.onsite_components(matrix)
    rebuilt = frames.assemble(onsite, pairs)
    selected = np.zeros(len(pattern), dtype=bool)
    selected[np.concatenate([frames.selection.blocks, pattern.reverse[frames.selection.blocks], pattern.onsite])] = True
    kept = np.repeat(selected, pattern.chunk_shapes.prod(axis=1))
    assert np.abs(rebuilt - np.where(kept, matrix, 0.0)).max() < 1e-12
