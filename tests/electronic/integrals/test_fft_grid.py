"""Dimensions of the FFT grid, as printed by pw.x."""

import pytest
from ase.build import bulk

from aiida_hamlr.electronic.integrals import fft_grid as module
from aiida_hamlr.electronic.integrals.fft_grid import fft_grid, symmetry_factors


def test_grid_dimensions_are_those_of_pw_x():
    """As printed by pw.x 6.7 for these cells."""
    assert fft_grid(bulk('AlAs', 'zincblende', a=5.66).cell[:], 120.0) == (27, 27, 27)
    assert fft_grid(bulk('AlAs', 'zincblende', a=5.66, cubic=True).cell[:], 120.0) == (40, 40, 40)
    assert fft_grid(bulk('GaN', 'zincblende', a=4.5).cell[:], 320.0) == (36, 36, 36)
    silicon = bulk('Si', 'diamond', a=5.43)
    assert symmetry_factors(silicon) == (4, 4, 4)
    assert fft_grid(silicon.cell[:], 120.0, symmetry_factors(silicon)) == (32, 32, 32)
    assert symmetry_factors(bulk('Si', 'diamond', a=5.43, cubic=True)) == (1, 1, 1)


def test_a_cutoff_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r'must be positive, got 0\.0 Ry'):
        fft_grid(bulk('Si', 'diamond', a=5.43).cell[:], 0.0)


def test_symmetries_are_searched_only_if_atoms_can_be_equivalent(monkeypatch):
    """With displacements no two surroundings are equal; in a crystal with one displaced atom some are."""
    monkeypatch.setattr(module, 'MANY_ATOMS', 10)
    crystal = bulk('Si', 'diamond', a=5.43, cubic=True) * 3
    rattled, one = crystal.copy(), crystal.copy()
    rattled.rattle(0.05, seed=1)
    one.positions[0] += 0.1
    assert [module._has_no_equivalent_atoms(atoms) for atoms in (crystal, rattled, one)] == [False, True, False]
    silicon = bulk('Si', 'diamond', a=5.43)
    monkeypatch.setattr(module, 'MANY_ATOMS', 1)
    assert symmetry_factors(silicon) == (4, 4, 4)
    assert symmetry_factors(rattled) == (1, 1, 1)
