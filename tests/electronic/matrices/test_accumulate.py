"""Sums of dense products in the blocks of a pattern, against loops."""

import numpy as np
import pytest

from aiida_hamlr.electronic.arrays import NumpyArrays, TorchArrays
from aiida_hamlr.electronic.matrices.accumulate import BlockAccumulator
from aiida_hamlr.electronic.matrices.blocks import BlockPattern

#: Atoms of two kinds, with two and three orbitals; the pair (1, 1) at the image x is not in the pattern.
KINDS, SIZES = np.array([0, 1, 0]), np.array([2, 3, 2])


@pytest.fixture
def pattern():
    pairs = [[0, 0, 0, i, j] for i in range(3) for j in range(3)]
    pairs += [[1, 0, 0, 0, 1], [-1, 0, 0, 1, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]]
    return BlockPattern(np.array(pairs), SIZES)


@pytest.mark.parametrize('arrays', [NumpyArrays(), TorchArrays('cpu')], ids=['numpy', 'torch'])
@pytest.mark.parametrize('n_operators', [1, 2])
def test_sums_are_those_of_a_loop(pattern, arrays, n_operators):
    """Two groups; the second has an empty place."""
    rng = np.random.default_rng(0)
    # atom, image of every place, kind after kind: two of kind 0, two of kind 1
    groups = [[(0, 0), (2, 0), (1, 0), (1, 1)], [(0, 1), None, (1, 0), (1, 1)]]
    counts, weights = [2, 2], rng.normal(size=(2, n_operators, 1, 7))
    right = rng.normal(size=(2, 10, 7))
    right[1, 2:4] = 0.0
    filled = [(g, s, *place) for g, places in enumerate(groups) for s, place in enumerate(places) if place]
    g, s, atoms, x = np.array(filled).T
    images = np.stack([x, 0 * x, 0 * x], axis=1)
    accumulator = BlockAccumulator(pattern, KINDS, arrays, n_operators)
    places = accumulator.places(atoms, images, g, s, (2, 4))
    left, factors = arrays.array(right), arrays.array(weights)
    accumulator.add(places, counts, lambda rows: left[:, None, rows] * factors, arrays.array(right))
    found = accumulator.entries()
    offsets = [0, 2, 4, 7]
    index = {tuple(pair): block for block, pair in enumerate(pattern.atom_pairs.tolist())}
    expected = np.zeros((n_operators, pattern.n_entries))
    for group in (0, 1):
        here = [(slot, atom, image) for of, slot, atom, image in filled if of == group]
        for slot_a, a, image_a in here:
            for slot_b, b, image_b in here:
                block = index.get((image_b - image_a, 0, 0, a, b))
                if block is None:
                    continue
                rows, columns = (right[group, offsets[slot] :][: SIZES[n]] for slot, n in ((slot_a, a), (slot_b, b)))
                for operator in range(n_operators):
                    product = (rows * weights[group, operator]) @ columns.T
                    pattern.block(expected[operator], block)[...] += product
    assert np.allclose(found, expected, atol=1e-12)
    assert pattern.asymmetry(found) == 0.0
