"""Vacuum levels from a reference slab, for superposed neutral atoms, whose potential vanishes in the vacuum."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.bands.surfaces import align_vacuum
from aiida_hamlr.electronic.integrals.h0 import compute_h0

SHIFT = 0.7


def slab(n_layers: int, vacuum: float) -> Atoms:
    """Layers of Al and As along z, with As on both surfaces."""
    index = np.arange(n_layers)
    positions = np.stack([2.0 * (index % 2), 2.0 * (index // 2 % 2), 1.6 * index], axis=1) + 1.0
    cell = [4.0, 4.0, 1.6 * (n_layers - 1) + vacuum]
    return Atoms(['Al' if layer % 2 else 'As' for layer in index], positions=positions, cell=cell, pbc=True)


@pytest.fixture(scope='module')
def hamiltonians(upf_pseudos, plain_basis):
    """A slab of nine layers whose zero is moved, and a reference of seven in another vacuum."""
    basis = plain_basis(('Al', 'As'), 'sz')
    made = [compute_h0(atoms, basis, upf_pseudos, 30.0) for atoms in (slab(9, 12.0), slab(7, 9.0))]
    for each, shift in zip(made, (SHIFT, 0.0), strict=True):
        each.matrices['hamiltonian'] = each.h0 + shift * each.overlap
    made[1].attributes.vacuum_level = 0.0
    return made


def test_the_level_follows_the_zero_of_the_slab(hamiltonians):
    found = align_vacuum(*hamiltonians)
    assert found.levels == pytest.approx((SHIFT, SHIFT), abs=2e-3)
    assert max(found.spreads) < 2e-3


def test_each_side_has_its_own_level(hamiltonians):
    slab, reference = hamiltonians
    polar = replace(reference, attributes=replace(reference.attributes, vacuum_levels=[-0.2, 0.3]))
    assert align_vacuum(slab, polar, n_layers=2).levels == pytest.approx((SHIFT - 0.2, SHIFT + 0.3), abs=2e-3)


def test_what_cannot_be_compared_is_refused(hamiltonians):
    slab, reference = hamiltonians
    with pytest.raises(ValueError, match='no vacuum level'):
        align_vacuum(reference, slab)
    with pytest.raises(ValueError, match='no vacuum along lattice vector 1'):
        align_vacuum(slab, reference, axis=0)
    other = copy.deepcopy(slab)
    other.atoms.positions[:, 2] *= -1
    other.atoms.symbols[0] = 'Al'
    with pytest.raises(ValueError, match='layer 1 of the upper surface'):
        align_vacuum(other, reference)
