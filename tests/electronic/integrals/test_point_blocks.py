"""Boxes of grid points: every point once, and every atom that reaches a box."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aiida_hamlr.electronic.integrals.point_blocks import images_near_cell, point_blocks

CELL = np.array([[6.0, 0.5, 0.0], [0.0, 5.0, 1.0], [1.0, 0.0, 7.0]])
SHAPE = (12, 10, 15)


@pytest.mark.parametrize('edge', [0.4, 1.7, 50.0])
def test_boxes_hold_every_point_once(edge):
    hits = np.zeros(SHAPE, dtype=int)
    steps = CELL / np.array(SHAPE)[:, None]
    for blocks in point_blocks(SHAPE, CELL, edge):
        assert np.allclose(blocks.corners, blocks.starts @ steps)
        for region in blocks.regions(np.arange(len(blocks.starts))):
            hits[region] += 1
    assert (hits == 1).all()


def test_images_are_all_that_come_near():
    """Compared with every atom of a large block of cells."""
    positions, reach = np.array([[0.1, 0.2, 0.3], [5.5, 3.0, 6.0]]), 2.5
    atoms, images = images_near_cell(positions, CELL, reach)
    found = {(atom, *image) for atom, image in zip(atoms.tolist(), images.tolist(), strict=True)}
    fine = np.stack(np.meshgrid(*(np.linspace(0, 1, 13),) * 3, indexing='ij'), -1).reshape(-1, 3) @ CELL
    for image in np.ndindex(7, 7, 7):
        image = np.array(image) - 3
        for atom, position in enumerate(positions):
            if np.linalg.norm(fine - position - image @ CELL, axis=1).min() < reach:
                assert (atom, *image) in found


def test_batches_name_every_atom_that_reaches_a_point_of_a_box():
    rng = np.random.default_rng(0)
    centres = rng.uniform(-2, 8, size=(60, 3))
    kinds = np.sort(rng.integers(0, 2, size=60))
    radii = np.where(kinds == 0, 1.5, 2.5)
    for blocks in point_blocks(SHAPE, CELL, 1.7):
        found = set()
        for batch in blocks.batches(cKDTree(centres), radii, kinds, 500):
            for atom, block, slot in zip(batch.atoms, batch.blocks, batch.slots, strict=True):
                first = sum(batch.counts[: kinds[atom]])
                assert first <= slot < first + batch.counts[kinds[atom]]
                found.add((int(batch.chosen[block]), int(atom)))
            assert len(set(zip(batch.blocks, batch.slots, strict=True))) == len(batch.atoms)
        for box, corner in enumerate(blocks.corners):
            distances = np.linalg.norm(blocks.points + corner - centres[:, None], axis=-1).min(axis=1)
            reaching = {(box, int(atom)) for atom in np.flatnonzero(distances < radii - 1e-9)}
            assert {pair for pair in found if pair[0] == box} == reaching
