"""Tests of the structures that are made of others."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import get_distances
from ase.neighborlist import neighbor_list

from aiida_hamlr.electronic.crystals import oriented_crystal
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.structures import make_structures


@pytest.fixture
def alas():
    """Return a cubic cell of AlAs."""
    return bulk('AlAs', 'zincblende', a=5.66, cubic=True)


def shortest(atoms):
    """Return the shortest distance of two atoms, images included."""
    double = atoms.repeat((2, 2, 2))
    _, distances = get_distances(double.positions, cell=double.cell, pbc=True)
    return distances[distances > 1e-6].min()


def test_rattle(alas):
    """The displacements have the asked-for spread, and depend on the seed alone."""
    recipe = {'kind': 'rattle', 'standard_deviation': 0.05, 'count': 4, 'repeat': [2, 2, 1]}
    made = make_structures([alas], recipe, 3)
    assert [len(atoms) for atoms in made] == [32] * 4
    moved = np.array([atoms.positions - alas.repeat((2, 2, 1)).positions for atoms in made])
    assert 0.045 < moved.std() < 0.055
    assert not np.allclose(moved[0], moved[1])
    again = make_structures([alas], recipe, 3)
    assert all((a.positions == b.positions).all() for a, b in zip(made, again, strict=True))
    assert not np.allclose(make_structures([alas], recipe, 4)[0].positions, made[0].positions)


def test_strain(alas):
    """Strains are symmetric and within the maximum; the atoms go with the cell."""
    for atoms in make_structures([alas], {'kind': 'strain', 'maximum': 0.03, 'count': 5}, 1):
        strain = np.linalg.inv(alas.cell[:]) @ atoms.cell[:] - np.eye(3)
        assert np.allclose(strain, strain.T)
        assert 1e-4 < np.abs(strain).max() <= 0.03
        assert np.allclose(atoms.get_scaled_positions(), alas.get_scaled_positions())


def test_wave(alas):
    """One element follows a sine over the whole length; its centre of mass stays."""
    amplitudes = [0.02, 0.05]
    column = alas.repeat((1, 1, 6))
    moved = column.symbols == 'Al'
    for polarization, component in ((None, 2), ([1, 0, 0], 0)):
        recipe = {'kind': 'wave', 'element': 'Al', 'amplitudes': amplitudes, 'cells': 6}
        made = make_structures([alas], recipe | ({'polarization': polarization} if polarization else {}))
        for atoms, amplitude in zip(made, amplitudes, strict=True):
            displacement = atoms.positions - column.positions
            assert np.allclose(displacement[~moved], 0)
            assert np.allclose(displacement.sum(axis=0), 0, atol=1e-12)
            expected = amplitude * np.sin(2 * np.pi * column.positions[moved, 2] / column.cell[2, 2])
            assert np.allclose(displacement[moved][:, component], expected)


def test_slab(alas):
    """Number of layers, vacuum and stoichiometry are those asked for; shifting planes changes the termination."""
    recipe = {'kind': 'slab', 'miller': [1, 0, 0], 'layers': [2, 3], 'vacua': [10.0, 18.0]}
    made = make_structures([alas], recipe)
    assert [len(atoms) for atoms in made] == [16, 16, 24, 24]
    for atoms, vacuum in zip(made, [10, 18, 10, 18], strict=True):
        heights = atoms.positions[:, 2]
        assert atoms.cell[2, 2] - np.ptp(heights) == pytest.approx(vacuum, abs=1e-6)
        assert atoms.pbc.all()
        assert shortest(atoms) == pytest.approx(5.66 * np.sqrt(3) / 4)
    (shifted,) = make_structures([alas], recipe | {'layers': [2], 'vacua': [10.0], 'shift': 1})

    def lowest(atoms):
        return atoms.get_chemical_symbols()[int(atoms.positions[:, 2].argmin())]

    assert {lowest(made[0]), lowest(shifted)} == {'Al', 'As'}
    assert shifted.get_chemical_formula() == made[0].get_chemical_formula()


def test_superlattice():
    """Both crystals keep their volume on the mean in-plane lattice, and the bonds across the interfaces are whole."""
    gan, aln = (bulk(name, 'zincblende', a=a, cubic=True) for name, a in (('GaN', 4.50), ('AlN', 4.37)))
    made = make_structures([gan, aln], {'kind': 'superlattice', 'periods': [[1, 1], [3, 2]]})
    for atoms, (n, m) in zip(made, [(1, 1), (3, 2)], strict=True):
        assert np.allclose(atoms.cell.lengths()[:2], 4.435)
        assert atoms.get_volume() == pytest.approx(n * gan.get_volume() + m * aln.get_volume())
        assert atoms.get_chemical_symbols().count('Ga') == 4 * n
        assert shortest(atoms) > 1.85


def test_superlattice_along_another_axis():
    """Stacking along x gives what stacking along z gives; interface bonds are as long as the mean says."""
    crystals = [
        oriented_crystal('Cd', 'Se', 'zincblende (001)', 6.05),
        oriented_crystal('Zn', 'S', 'zincblende (001)', 5.41),
    ]
    recipe = {
        'kind': 'superlattice',
        'periods': [[2, 1]],
        'strain_ratios': [1.4, 1.25],
        'largest_mismatch': 0.15,
    }
    (upright,) = make_structures(crystals, recipe)
    turned = []
    for atoms in crystals:
        scaled = atoms.get_scaled_positions()[:, [2, 0, 1]]
        turned.append(Atoms(atoms.symbols, scaled_positions=scaled, cell=atoms.cell.lengths()[[2, 0, 1]], pbc=True))
    (lying,) = make_structures(turned, recipe | {'axis': 0})
    assert np.allclose(lying.positions[:, [1, 2, 0]], upright.positions)
    assert np.allclose(lying.cell.lengths()[[1, 2, 0]], upright.cell.lengths())
    heights = [-1.4 * (np.mean([6.05, 5.41]) / 6.05 - 1), -1.25 * (np.mean([6.05, 5.41]) / 5.41 - 1)]
    c = np.array([6.05, 5.41]) * (1 + np.array(heights))
    assert upright.cell.lengths() == pytest.approx([5.73 / np.sqrt(2)] * 2 + [2 * c[0] + c[1]])
    first, second, distances = neighbor_list('ijd', upright, 2.8)
    symbols = np.array(upright.get_chemical_symbols())
    for pair in (('Cd', 'S'), ('Zn', 'Se')):
        bond = distances[(symbols[first] == pair[0]) & (symbols[second] == pair[1])]
        assert len(bond) == 2
        assert np.allclose(bond, np.hypot(5.73 / np.sqrt(8), c.sum() / 8))


def test_polar_recipes():
    """Capped slabs and rigid shifts are those of the functions, a structure for every combination."""
    crystal = oriented_crystal('Zn', 'O', 'wurtzite (0001)', 3.25, 5.2, 0.382)
    caps = {'Zn': {'species': 'H1', 'bond': 1.6}, 'O': {'species': 'H2', 'bond': 1.0}}
    slabs = make_structures([crystal], {'kind': 'capped_slab', 'layers': [2, 3], 'vacua': [8.0, 14.0], 'caps': caps})
    assert [len(slab) for slab in slabs] == [6, 6, 8, 8]
    assert slabs[1].cell[2, 2] - slabs[0].cell[2, 2] == pytest.approx(6.0)
    assert set(species_labels(slabs[0])) == {'Zn', 'O', 'H1', 'H2'}
    shifted = make_structures(slabs[:1], {'kind': 'shift', 'species': 'Zn', 'displacements': [-0.06, 0.06]})
    moved = [atoms.positions - slabs[0].positions for atoms in shifted]
    assert np.allclose(moved[0], -moved[1])
    assert np.allclose(moved[1][slabs[0].symbols == 'Zn'], [0, 0, 0.06])


@pytest.mark.parametrize(
    ('recipe', 'words'),
    [
        ({'kind': 'capped_slab', 'layers': [2], 'caps': {'Al': {'species': 'H1'}}}, 'bond'),
        ({'kind': 'shift', 'species': 'Ga', 'displacements': [0.1]}, 'a shift of Ga'),
        ({'kind': 'rattle', 'cont': 3}, 'cont'),
        ({'kind': 'shake'}, "'shake'"),
        ({'kind': 'rattle', 'count': 0}, 'count'),
        ({'kind': 'wave', 'element': 'Ga', 'amplitudes': [0.1], 'cells': 2}, 'a wave of Ga'),
        ({'kind': 'superlattice', 'periods': [[1, 1]]}, 'made of 2 structures, not of 1'),
    ],
)
def test_refused(alas, recipe, words):
    """What a recipe cannot mean is named."""
    with pytest.raises(ValueError, match=words):
        make_structures([alas], recipe)


def test_mismatch(alas):
    """Crystals that do not fit on each other are not forced to."""
    with pytest.raises(ValueError, match='differ by'):
        make_structures([alas, bulk('C', 'diamond', a=3.57, cubic=True)], {'kind': 'superlattice', 'periods': [[1, 1]]})
