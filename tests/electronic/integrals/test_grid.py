"""Grid integrals: limits that are known exactly, and symmetry."""

import numpy as np
import pytest
import torch
from ase import Atoms

from aiida_hamlr.electronic.integrals import grid
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis


@pytest.fixture(scope='module')
def basis(plain_basis):
    return plain_basis(('Al', 'As'))


def skewed_alas() -> Atoms:
    cell = [[0, 2.9, 2.8], [2.8, 0.1, 2.8], [2.8, 2.9, 0.2]]
    return Atoms('AlAs', positions=[[0.1, 0, 0], [1.3, 1.5, 7.2]], cell=cell, pbc=True)


def test_constant_potential_gives_the_overlap(basis):
    atoms = skewed_alas()
    pattern = overlap_pattern(atoms, basis)
    overlap, _ = TwoCentreTables(basis).overlap_and_kinetic(atoms, pattern)
    entries = local_matrix(atoms, basis, pattern, np.full((40, 40, 40), 2.5))
    assert np.abs(entries - 2.5 * overlap).max() < 2e-6
    assert pattern.asymmetry(entries) == 0.0


def test_several_potentials_at_once_are_the_same_as_one_after_the_other(basis):
    atoms = skewed_alas()
    pattern = overlap_pattern(atoms, basis)
    potentials = np.random.default_rng(0).normal(size=(2, 12, 15, 10))
    together = local_matrix(atoms, basis, pattern, potentials)
    assert np.allclose(together, [local_matrix(atoms, basis, pattern, p) for p in potentials], atol=1e-12)


def test_supercell_has_the_blocks_of_the_cell(basis):
    """Every block of a supercell is found in the primitive cell."""
    atoms = skewed_alas()
    n = (2, 1, 1)
    supercell = atoms * n
    potential = np.random.default_rng(1).normal(size=(12, 12, 12))
    pattern, pattern_super = overlap_pattern(atoms, basis), overlap_pattern(supercell, basis)
    entries = local_matrix(atoms, basis, pattern, potential)
    entries_super = local_matrix(supercell, basis, pattern_super, np.tile(potential, n))
    index = {tuple(pair): block for block, pair in enumerate(pattern.atom_pairs.tolist())}
    for block, (x, y, z, i, j) in enumerate(pattern_super.atom_pairs.tolist()):
        image = 2 * x + j // 2 - i // 2
        expected = pattern.block(entries, index[image, y, z, i % 2, j % 2])
        assert np.abs(pattern_super.block(entries_super, block) - expected).max() < 1e-11


def test_shift_by_grid_points_changes_nothing(basis):
    atoms = skewed_alas()
    potential = np.random.default_rng(2).normal(size=(12, 12, 12))
    shifted = atoms.copy()
    shifted.positions += np.array([3, 5, 2]) / 12 @ atoms.cell[:]
    pattern = overlap_pattern(atoms, basis)
    moved = local_matrix(shifted, basis, pattern, np.roll(potential, (3, 5, 2), axis=(0, 1, 2)))
    assert np.abs(moved - local_matrix(atoms, basis, pattern, potential)).max() < 1e-11


def test_bad_potential_is_refused(basis):
    atoms = skewed_alas()
    pattern = overlap_pattern(atoms, basis)
    with pytest.raises(ValueError, match='three-dimensional'):
        local_matrix(atoms, basis, pattern, np.zeros((4, 4)))
    with pytest.raises(ValueError, match='finite'):
        local_matrix(atoms, basis, pattern, np.full((4, 4, 4), np.nan))


def test_blocks_of_any_size_and_any_memory_limit_give_the_same(basis, monkeypatch):
    atoms = skewed_alas()
    pattern = overlap_pattern(atoms, basis)
    potentials = np.random.default_rng(3).normal(size=(2, 12, 15, 10))
    expected = local_matrix(atoms, basis, pattern, potentials, 'cpu')
    # room for both results and for the sums of one potential
    limited = local_matrix(atoms, basis, pattern, potentials, memory_limit=3.5 * 8e-9 * pattern.n_entries)
    assert np.abs(limited - expected).max() < 1e-11
    for edge in (1.5, 5.0):
        monkeypatch.setattr(grid, 'BLOCK_EDGE', edge)
        assert np.abs(local_matrix(atoms, basis, pattern, potentials) - expected).max() < 1e-11


def test_a_memory_limit_below_the_result_is_refused_with_both_numbers(basis):
    atoms = skewed_alas()
    pattern = overlap_pattern(atoms, basis)
    needed = 2 * 8e-9 * pattern.n_entries
    with pytest.raises(ValueError, match=f'takes {needed:.3g} GB, memory_limit is 0.0001 GB'):
        local_matrix(atoms, basis, pattern, np.zeros((12, 12, 12)), memory_limit=1e-4)


def test_elements_with_unequal_shells(basis, plain_basis):
    """A constant potential gives the overlap between bases of different sizes too."""
    mixed = Basis({'Al': plain_basis(('Al',), 'sz')['Al'], 'As': basis['As']})
    atoms = skewed_alas()
    pattern = overlap_pattern(atoms, mixed)
    overlap, _ = TwoCentreTables(mixed, memory_limit=1e-4).overlap_and_kinetic(atoms, pattern)
    entries = local_matrix(atoms, mixed, pattern, np.full((40, 40, 40), 2.5))
    assert np.abs(entries - 2.5 * overlap).max() < 2e-6
    assert pattern.asymmetry(entries) == 0.0


def test_elements_with_unequal_shells_in_separate_places(basis, plain_basis):
    """Around many points of a cell with vacuum there are atoms of one of the two kinds only."""
    mixed = Basis({'Al': plain_basis(('Al',), 'sz')['Al'], 'As': basis['As']})
    atoms = Atoms('AlAs', positions=[[0, 0, 2.0], [0, 0, 16.0]], cell=[5.0, 5.0, 28.0], pbc=True)
    pattern = overlap_pattern(atoms, mixed)
    overlap, _ = TwoCentreTables(mixed).overlap_and_kinetic(atoms, pattern)
    entries = local_matrix(atoms, mixed, pattern, np.full((40, 40, 216), 2.5))
    assert np.abs(entries - 2.5 * overlap).max() < 2e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
def test_gpu_gives_the_same(basis):
    atoms = skewed_alas()
    pattern = overlap_pattern(atoms, basis)
    potentials = np.random.default_rng(4).normal(size=(2, 12, 15, 10))
    on_gpu = local_matrix(atoms, basis, pattern, potentials, 'cuda')
    assert np.abs(on_gpu - local_matrix(atoms, basis, pattern, potentials, 'cpu')).max() < 1e-11
