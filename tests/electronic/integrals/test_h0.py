"""H0 of a structure: symmetries of the crystal, and the same numbers in numpy and in torch."""

import tracemalloc

import numpy as np
import pytest
from ase.build import bulk

from aiida_hamlr.electronic.arrays import NumpyArrays
from aiida_hamlr.electronic.integrals import grid, neutral_atom
from aiida_hamlr.electronic.integrals.h0 import ARRAYS, compute_h0
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices import accumulate
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential


@pytest.fixture(scope='module')
def pseudos():
    return {element: make_pseudopotential(element) for element in ('Al', 'As')}


@pytest.fixture(scope='module')
def basis(pseudos):
    return Basis({element: generate_basis(pseudo, 'sz') for element, pseudo in pseudos.items()})


def test_matrices_are_symmetric_and_what_is_recorded_is_complete(basis, pseudos):
    h0 = compute_h0(bulk('AlAs', 'zincblende', a=5.66), basis, pseudos, 60.0)
    assert h0.pattern.asymmetry(h0.h0) < 1e-12 and h0.pattern.asymmetry(h0.overlap) < 1e-12
    attributes = h0.attributes
    assert (attributes.origin, attributes.gauge, attributes.ecutrho) == ('h0', 'neutral_atom', 60.0)
    assert (h0.n_electrons, h0.n_orbitals, set(h0.matrices)) == (8.0, 8, {'overlap', 'h0'})


def test_supercell_has_the_onsite_blocks_of_the_cell(basis, pseudos):
    """The grid of the supercell is the same one, so that the blocks agree to rounding."""
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    one, two = (compute_h0(each, basis, pseudos, 60.0) for each in (atoms, atoms.repeat((1, 1, 2))))
    assert two.attributes.grid[:2] == one.attributes.grid[:2]
    assert two.attributes.grid[2] == 2 * one.attributes.grid[2]
    for atom in range(4):
        found = two.pattern.block(two.h0, two.pattern.onsite[atom])
        assert np.abs(found - one.pattern.block(one.h0, one.pattern.onsite[atom % 2])).max() < 1e-8


def test_numpy_and_torch_agree(basis, pseudos, monkeypatch):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    expected = compute_h0(atoms, basis, pseudos, 60.0)
    monkeypatch.setattr(grid, 'arrays_on', lambda device, size: NumpyArrays())
    assert np.abs(compute_h0(atoms, basis, pseudos, 60.0).h0 - expected.h0).max() < 1e-11


def test_memory_is_that_of_the_arrays_that_the_limit_counts(pseudos, monkeypatch):
    """Of a structure whose matrices are larger than what is done at once."""
    monkeypatch.setattr(grid, 'arrays_on', lambda device, size: NumpyArrays())
    monkeypatch.setattr(grid, 'BATCH_SIZE', {'cpu': 100})
    monkeypatch.setattr(accumulate, 'BLOCKS_AT_ONCE', 100)
    monkeypatch.setattr(neutral_atom, 'SLAB_SIZE', 20_000)
    basis = Basis({element: generate_basis(pseudo, 'dzp', 7.0) for element, pseudo in pseudos.items()})
    tables = TwoCentreTables(basis, pseudos, memory_limit=0.02)
    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True).repeat((1, 2, 2))
    compute_h0(atoms, basis, pseudos, 10.0, tables=tables)  # tables that are kept for later structures
    tracemalloc.start()
    found = compute_h0(atoms, basis, pseudos, 10.0, tables=tables)
    kept, peak = (each / found.overlap.nbytes for each in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert 2.0 < kept < 2.3
    assert peak < ARRAYS
