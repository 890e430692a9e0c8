"""Tests of oriented crystals and of capped slabs."""

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list

from aiida_hamlr.electronic.crystals import Cap, capped_slab, match_plane, oriented_crystal, shift_species
from aiida_hamlr.electronic.species import species_labels

ORIENTATIONS = {'zincblende (001)': (5.66, 216), 'zincblende (111)': (5.66, 216), 'wurtzite (0001)': (4.0, 186)}

#: Valence electrons of GTH pseudopotentials, and of the hydrogens that complete bonds of two electrons: a bond of Al
#: lacks 2 - 3 / 4 electrons, one of As 2 - 5 / 4.
VALENCES = {'Al': 3.0, 'As': 5.0, 'H1': 1.25, 'H2': 0.75}

CAPS = {'Al': Cap(species='H1', bond=1.65), 'As': Cap(species='H2', bond=1.55)}

BOND = 5.66 * np.sqrt(3) / 4


def make(orientation):
    """Return AlAs along an axis; the wurtzite is the ideal one."""
    return oriented_crystal('Al', 'As', orientation, ORIENTATIONS[orientation][0])


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_oriented_crystal(orientation):
    """It is the crystal of the space group, with four equal bonds on each atom and cations on top."""
    a, number = ORIENTATIONS[orientation]
    atoms = make(orientation)
    assert spglib.get_symmetry_dataset((atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)).number == number
    expected = a * np.sqrt(3) / 4 if number == 216 else a * np.sqrt(3 / 8)
    first, second, distances = neighbor_list('ijd', atoms, 1.3 * expected)
    assert np.allclose(distances, expected)
    assert (np.bincount(first) == 4).all()
    assert (atoms.numbers[first] != atoms.numbers[second]).all()
    assert (np.diff(atoms.positions[:, 2]) > 0.1).all()
    assert atoms.get_chemical_symbols()[-1] == 'Al'


def test_oriented_crystal_of_real_wurtzite():
    """Axis and internal parameter are those given: bonds along the axis are u c long."""
    atoms = oriented_crystal('Zn', 'O', 'wurtzite (0001)', 3.25, 5.2, 0.382)
    first, _, distances, vectors = neighbor_list('ijdD', atoms, 2.3)
    along = np.abs(vectors[:, 2]) > 1.5
    assert np.allclose(distances[along], 0.382 * 5.2)
    # The other three: thirds of the plane's diagonal, and the rest of half a cell.
    assert np.allclose(distances[~along], np.sqrt(3.25**2 / 3 + ((0.5 - 0.382) * 5.2) ** 2))
    assert (np.bincount(first) == 4).all()


def test_unknown_orientation():
    """The message names the known ones; zincblende has one lattice constant."""
    with pytest.raises(ValueError, match=r'zincblende \(111\)'):
        oriented_crystal('Al', 'As', 'zincblende (110)', 5.66)
    with pytest.raises(ValueError, match='the lattice constant is a'):
        oriented_crystal('Al', 'As', 'zincblende (001)', 5.66, 5.0)


def test_match_plane():
    """The plane is taken over; the third vector keeps the volume, or follows the ratio of the strains."""
    atoms = make('zincblende (001)')
    plane = atoms.cell[:2] * 1.02
    strained = match_plane(atoms, plane)
    assert strained.get_volume() == pytest.approx(atoms.get_volume())
    assert np.allclose(strained.cell[:2], plane)
    elastic = match_plane(atoms, plane, strain_ratio=0.9)
    assert elastic.cell[2, 2] == pytest.approx(5.66 * (1 - 0.9 * 0.02))
    assert np.allclose(elastic.get_scaled_positions(), atoms.get_scaled_positions())
    sideways = match_plane(atoms, atoms.cell[1:] * 0.98, axis=0, strain_ratio=1.0)
    assert sideways.cell[0, 0] == pytest.approx(atoms.cell[0, 0] * 1.02)


@pytest.mark.parametrize(('orientation', 'caps_of_a_face'), list(zip(ORIENTATIONS, (2, 1, 1), strict=True)))
@pytest.mark.parametrize('layers', [1, 3])
def test_capped_slab(orientation, caps_of_a_face, layers):
    """Every atom has its four bonds, and the electrons of the pseudopotentials fill the bonds exactly."""
    slab = capped_slab(make(orientation), layers, 9.0, CAPS)
    labels = species_labels(slab)
    assert {label: labels.count(label) for label in VALENCES} == {
        'Al': layers,
        'As': layers,
        'H1': caps_of_a_face,
        'H2': caps_of_a_face,
    }
    bond = make(orientation).get_all_distances(mic=True)
    first, second, distances = neighbor_list('ijd', slab, 1.05 * bond[bond > 0].min())
    hydrogen = slab.numbers == 1
    bonds = ~(hydrogen[first] & hydrogen[second])
    counts = np.bincount(first[bonds])
    assert (counts[~hydrogen] == 4).all()
    assert (counts[hydrogen] == 1).all()
    capped = hydrogen[first] & bonds
    for label, cap in (('H1', 'Al'), ('H2', 'As')):
        chosen = capped & (np.array(labels)[first] == label)
        assert np.allclose(distances[chosen], CAPS[cap].bond)
        assert set(np.array(labels)[second[chosen]]) == {cap}
    assert sum(VALENCES[label] for label in labels) == pytest.approx(bonds.sum())  # two electrons, each bond twice


def test_capped_slab_is_centred():
    """The vacuum is as wide above as below, and asked for; cations are on top."""
    slab = capped_slab(make('zincblende (111)'), 2, 11.0, CAPS)
    heights = slab.positions[:, 2]
    assert heights.min() == pytest.approx(5.5)
    assert slab.cell[2, 2] - heights.max() == pytest.approx(5.5)
    assert slab.pbc.all()
    labels = species_labels(slab)
    assert labels[int(heights.argmax())] == 'H1'
    assert labels[int(heights.argmin())] == 'H2'
    assert np.linalg.norm(slab.positions[1] - slab.positions[0]) == pytest.approx(BOND)


def test_capped_slab_refuses():
    """A species without a cap, a tilted axis and no layers are named."""
    atoms = make('zincblende (111)')
    with pytest.raises(ValueError, match='As has dangling bonds'):
        capped_slab(atoms, 2, 10.0, {'Al': CAPS['Al']})
    with pytest.raises(ValueError, match='0 layers'):
        capped_slab(atoms, 0, 10.0, CAPS)
    tilted = atoms.copy()
    tilted.set_cell(atoms.cell[:] + np.array([[0, 0, 0], [0, 0, 0], [0.5, 0, 0]]))
    with pytest.raises(ValueError, match='along z'):
        capped_slab(tilted, 2, 10.0, CAPS)


def test_shift_species():
    """Only the species moves, along the axis; a polar crystal's dipole changes by its share of the atoms."""
    slab = capped_slab(make('zincblende (111)'), 2, 10.0, CAPS)
    shifted = shift_species(slab, 'H1', 0.05)
    moved = shifted.positions - slab.positions
    chosen = np.array(species_labels(slab)) == 'H1'
    assert np.allclose(moved[chosen], [0, 0, 0.05])
    assert np.allclose(moved[~chosen], 0)
    oblique = shift_species(make('zincblende (111)'), 'Al', 0.1, axis=1)
    along = oblique.positions - make('zincblende (111)').positions
    assert np.allclose(np.linalg.norm(along[oblique.symbols == 'Al'], axis=1), 0.1)
    assert np.allclose(np.cross(along[oblique.symbols == 'Al'], oblique.cell[1]), 0)
    for species in ('Ga', 'H'):
        with pytest.raises(ValueError, match='only a part of the atoms'):
            shift_species(slab, species, 0.05)
