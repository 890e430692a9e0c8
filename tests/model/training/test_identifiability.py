"""Which data tell polarisabilities from charges."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, surface

from aiida_hamlr.model.training.identifiability import identify_response, is_heterostructure


def slab(vacuum, layers=3, a=5.6):
    atoms = surface(bulk('AlAs', 'zincblende', a=a, cubic=True), (1, 1, 0), layers)
    atoms.center(vacuum=vacuum / 2, axis=2)
    atoms.pbc = True
    return atoms


def superlattice(first='Ga', second='Al', layers=2):
    """Wurtzite cells stacked along c."""
    cells = [bulk(f'{metal}N', 'wurtzite', a=3.15, c=5.1).repeat((1, 1, layers)) for metal in (first, second)]
    cells[1].positions[:, 2] += cells[0].cell[2, 2]
    atoms = cells[0] + cells[1]
    atoms.set_cell(cells[0].cell[:] * [[1], [1], [2]])
    return atoms


def test_one_slab_in_two_vacua():
    found = identify_response([('a.h5', slab(10.0)), ('bulk.h5', bulk('AlAs', 'zincblende', a=5.6)), ('b', slab(18.0))])
    assert found.verdict == 'identified' and found.elements == ('Al', 'As')
    assert found.reason == 'Al12As12 with 10.0 and 18.0 Å of vacuum (a.h5, b)'


def test_dielectric_constant_of_one_structure():
    """It tells of the elements of that structure only."""
    structures = [('a.h5', bulk('AlAs', 'zincblende', a=5.6)), ('b.h5', bulk('GaN', 'zincblende', a=4.5))]
    found = identify_response(structures, structures[1:])
    assert found.elements == ('Ga', 'N') and found.reason == 'dielectric constant of b.h5'


def test_rattled_and_turned_slabs_are_the_same():
    one, other = slab(10.0), slab(18.0)
    one.rattle(0.1, seed=0)
    other.rattle(0.1, seed=1)
    # The normal along the first lattice vector.
    other.set_cell(other.cell[:][[2, 0, 1]])
    assert identify_response([('a', one), ('b', other)]).verdict == 'identified'


@pytest.mark.parametrize(
    'structures',
    [
        [slab(10.0)],
        [slab(10.0), slab(11.0)],
        [slab(10.0), slab(18.0, layers=4)],
        [slab(10.0), slab(18.0, a=5.9)],
        [bulk('AlAs', 'zincblende', a=5.6).repeat((1, 1, n)) for n in (1, 2, 6)],
        [Atoms('NaCl', positions=[[0, 0, 0], [0, 0, 2.4]], cell=[size] * 3, pbc=True) for size in (12, 18)],
    ],
    ids=['one slab', 'one vacuum', 'two thicknesses', 'two lattices', 'bulk', 'molecules'],
)
def test_what_does_not_tell(structures):
    found = identify_response([(str(n), atoms) for n, atoms in enumerate(structures)])
    assert found.verdict == 'unidentified' and found.elements == ()
    assert found.reason == 'no slab in two vacua, no heterostructure and no dielectric constant among the training data'


def test_superlattices_are_heterostructures():
    atoms = superlattice()
    assert is_heterostructure(atoms)
    found = identify_response([('x', bulk('AlAs', 'zincblende', a=5.6)), ('gan-aln.h5', atoms)])
    assert found.elements == ('Al', 'Ga', 'N') and found.reason == 'heterostructure gan-aln.h5'


def test_dopants_alloys_and_slabs_are_none():
    doped = bulk('AlAs', 'zincblende', a=5.6, cubic=True).repeat((1, 1, 4))
    doped.symbols[0] = 'Ga'
    assert not is_heterostructure(doped)
    alloy = bulk('AlAs', 'zincblende', a=5.6, cubic=True).repeat(3)
    metal = np.flatnonzero(alloy.symbols == 'Al')
    alloy.symbols[np.random.default_rng(0).permutation(metal)[: len(metal) // 2]] = 'Ga'
    assert not is_heterostructure(alloy)
    passivated = slab(12.0)
    passivated += Atoms('H2', positions=[[0, 0, 4.5], [0, 0, passivated.cell[2, 2] - 4.5]])
    assert not is_heterostructure(passivated)
