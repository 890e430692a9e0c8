"""The pair list against a direct search over images."""

import itertools

import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.matrices.neighbours import neighbour_pairs, overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.electronic.units import BOHR


def basis_with_radii(**radii: float) -> Basis:
    mesh = np.linspace(1, 0, 11)
    return Basis({e: SpeciesBasis(e, radius / 10, (Shell(0, radius, mesh),)) for e, radius in radii.items()})


@pytest.mark.parametrize('cell', [[[4, 0, 0], [1.5, 3.8, 0], [-1, 0.7, 4.4]], [[2.5, 0, 0], [0, 2.5, 0], [0, 0, 12]]])
def test_pattern_holds_exactly_the_overlapping_pairs(cell):
    atoms = Atoms('AlAsH', positions=[[0, 0, 0], [1.4, 1.2, 1.6], [-3.0, 9.5, 0.3]], cell=cell, pbc=True)
    basis = basis_with_radii(Al=5.0, As=4.0, H=2.5)
    pattern = overlap_pattern(atoms, basis)
    radii = np.array([basis[s].cutoff_radius for s in atoms.symbols]) * BOHR
    expected = set()
    for image in itertools.product(range(-8, 9), repeat=3):
        for i, j in itertools.product(range(3), repeat=2):
            vector = atoms.positions[j] + np.array(image) @ atoms.cell[:] - atoms.positions[i]
            if np.linalg.norm(vector) < radii[i] + radii[j]:
                expected.add((*image, i, j))
    assert {tuple(int(x) for x in row) for row in pattern.atom_pairs} == expected
    assert len(pattern.onsite) == 3


def test_lone_atom_has_its_onsite_block():
    pattern = overlap_pattern(Atoms('H', cell=[20, 20, 20]), basis_with_radii(H=2.0))
    assert pattern.atom_pairs.tolist() == [[0, 0, 0, 0, 0]]


def test_impossible_structures_are_refused():
    with pytest.raises(ValueError, match='no atoms'):
        neighbour_pairs(Atoms(cell=[5, 5, 5]), 3.0)
    with pytest.raises(ValueError, match='three-dimensional cell'):
        neighbour_pairs(Atoms('H'), 3.0)
    with pytest.raises(ValueError, match=r'atoms [01] and [01] .* 0\.010 Å apart'):
        neighbour_pairs(Atoms('H2', positions=[[0, 0, 0], [0, 0, 0.01]], cell=[5, 5, 5]), 3.0)
    with pytest.raises(ValueError, match='no basis for He'):
        overlap_pattern(Atoms('He', cell=[5, 5, 5]), basis_with_radii(H=2.0))
