"""Identities of the block container."""

import numpy as np
import pytest

from aiida_hamlr.electronic.matrices.blocks import BlockPattern


@pytest.fixture
def pattern():
    pairs = [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [1, 0, 0, 0, 1], [-1, 0, 0, 1, 0]]
    return BlockPattern(np.array(pairs), np.array([4, 9]))


def test_reverse_is_an_involution_that_swaps_the_atoms(pattern):
    reverse = pattern.reverse
    assert np.array_equal(reverse[reverse], np.arange(len(pattern)))
    assert np.array_equal(pattern.first[reverse], pattern.second)
    assert np.array_equal(pattern.images[reverse], -pattern.images)


def test_transpose_indices_transpose_every_block(pattern):
    entries = np.random.default_rng(0).normal(size=pattern.n_entries)
    transposed = entries[pattern.transpose_indices]
    for pair in range(len(pattern)):
        assert np.array_equal(pattern.block(transposed, pair), pattern.block(entries, pattern.reverse[pair]).T)


def test_symmetrized_matrix_is_exactly_symmetric(pattern):
    entries = np.random.default_rng(1).normal(size=(2, pattern.n_entries))
    assert pattern.asymmetry(entries) > 0.1
    assert pattern.asymmetry(pattern.symmetrize(entries)) == 0.0


def test_orbital_indices_place_every_entry(pattern):
    rows, columns = pattern.orbital_indices
    pair = 4
    block_rows, block_columns = pattern.block(rows, pair), pattern.block(columns, pair)
    assert np.array_equal(block_rows, np.repeat(np.arange(4), 9).reshape(4, 9))
    assert np.array_equal(block_columns, np.tile(np.arange(4, 13), (4, 1)))


def test_groups_cover_all_entries_once(pattern):
    covered = np.sort(np.concatenate([entries.ravel() for _, _, entries in pattern.groups()]))
    assert np.array_equal(covered, np.arange(pattern.n_entries))


def test_places_are_those_of_blocks_and_of_their_transposes(pattern):
    """Slices of half of the blocks, with their reverses, hold every entry."""
    entries = np.random.default_rng(2).normal(size=pattern.n_entries)
    count = np.zeros(pattern.n_entries)
    for chosen in pattern.slices(pattern.half, 1):
        assert len(chosen) == 1
        places, mirrored = pattern.places(chosen)
        assert np.array_equal(entries[places[0]], pattern.block(entries, chosen[0]))
        assert np.array_equal(entries[mirrored[0]], pattern.block(entries, pattern.reverse[chosen[0]]).T)
        count[np.unique([places, mirrored])] += 1
    assert (count == 1).all()


def test_slices_have_one_shape_and_are_bounded(pattern):
    chosen = np.array([5, 0, 1, 3, 2])
    slices = list(pattern.slices(chosen, 2))
    assert [len(set(map(tuple, pattern.chunk_shapes[each].tolist()))) for each in slices] == [1] * len(slices)
    assert max(map(len, slices)) == 2
    assert sorted(np.concatenate(slices).tolist()) == sorted(chosen.tolist())


@pytest.mark.parametrize(
    ('pairs', 'message'),
    [
        ([[0, 0, 0, 0, 1]], 'reverse'),
        ([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], 'twice'),
        ([[0, 0, 0, 0, 7], [0, 0, 0, 7, 0]], 'atom 7'),
    ],
)
def test_impossible_patterns_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        BlockPattern(np.array(pairs), np.array([4, 9]))


def test_find_gives_the_blocks_of_rows_and_minus_one_for_others(pattern):
    order = [4, 0, 5]
    wanted = np.concatenate([pattern.atom_pairs[order], [[2, 0, 0, 0, 1], [0, 0, 0, 2, 0], [1, 0, 0, 1, 0]]])
    assert pattern.find(wanted).tolist() == [*order, -1, -1, -1]
    assert pattern.find(np.empty((0, 5), dtype=int)).shape == (0,)
