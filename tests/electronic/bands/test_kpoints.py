"""Meshes and band paths."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, graphene, make_supercell
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.bands.kpoints import (
    BandPath,
    band_path,
    mesh_from_spacing,
    monkhorst_pack,
    read_band_path,
)
from aiida_hamlr.electronic.bands.kspace import eigenvalues


@pytest.mark.parametrize('mesh', [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 3, 1)])
def test_mesh_and_its_mirror_image_are_the_full_mesh(mesh):
    kpoints, weights = monkhorst_pack(mesh)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    total = np.zeros(mesh)
    for k, w in zip(kpoints, weights, strict=True):
        for sign in (1, -1):
            total[tuple(np.round(sign * k * mesh).astype(int) % mesh)] += w / 2
    assert np.allclose(total, 1 / np.prod(mesh))


@pytest.mark.parametrize('mesh', [(0, 1, 1), (2, 2), (1.5, 1, 1), 'abc'])
def test_impossible_meshes_are_refused(mesh):
    with pytest.raises(ValueError, match='three positive integers'):
        monkhorst_pack(mesh)


def test_mesh_from_spacing_is_just_dense_enough_and_even_or_one():
    atoms = Atoms('H4', scaled_positions=[[0, 0, z / 4] for z in range(4)], cell=[4.0, 7.8, 30.0], pbc=True)
    mesh = mesh_from_spacing(atoms, 0.3)
    steps = 2 * np.pi / np.diag(atoms.cell) / mesh
    assert (steps <= 0.3 + 1e-6).all()
    assert mesh == (6, 4, 1)


def test_a_slab_has_one_point_across_it():
    slab = fcc100('Al', (1, 1, 5), vacuum=6.0, periodic=True)
    assert mesh_from_spacing(slab, 0.2) == (12, 12, 1)
    assert mesh_from_spacing(bulk('Al', cubic=True), 0.2) == (8, 8, 8)
    slab.center(vacuum=2.0, axis=2)
    assert mesh_from_spacing(slab, 0.2)[2] == 4
    slab.pbc = (True, True, False)
    assert mesh_from_spacing(slab, 0.2) == (12, 12, 1)


def named_points(path, atoms):
    reciprocal = 2 * np.pi * np.linalg.inv(np.array(atoms.cell)).T
    return {label: k @ reciprocal for k, label in zip(path.kpoints, path.labels, strict=True) if label}


def fcc_cells():
    primitive = bulk('AlAs', 'zincblende', a=5.66)
    turned = primitive.copy()
    turned.set_cell(np.array(turned.cell) @ Rotation.random(random_state=5).as_matrix().T, scale_atoms=True)
    cubic = bulk('AlAs', 'zincblende', a=5.66, cubic=True)
    skewed = make_supercell(primitive, [[2, 1, 0], [0, 1, 0], [-1, 0, 1]])
    return [primitive, turned, cubic, skewed]


@pytest.mark.parametrize('atoms', fcc_cells(), ids=['primitive', 'turned', 'cubic', 'skewed supercell'])
def test_fcc_points_lie_where_they_must_in_any_cell(atoms):
    points = named_points(band_path(atoms), atoms)
    unit = 2 * np.pi / 5.66
    assert np.allclose(points['GAMMA'], 0)
    assert np.linalg.norm(points['X']) == pytest.approx(unit, rel=1e-6)
    assert np.linalg.norm(points['L']) == pytest.approx(unit * np.sqrt(0.75), rel=1e-6)
    assert np.linalg.norm(points['W']) == pytest.approx(unit * np.sqrt(1.25), rel=1e-6)
    assert np.linalg.norm(points['K']) == pytest.approx(unit * np.sqrt(1.125), rel=1e-6)
    # L lies along a bond.
    first, bonds = neighbor_list('iD', atoms, 2.6)
    bonds = bonds[first == 0] / np.linalg.norm(bonds[first == 0], axis=1, keepdims=True)
    assert np.abs(bonds @ points['L'] / np.linalg.norm(points['L'])).max() == pytest.approx(1, abs=1e-6)


def test_primitive_bands_are_among_the_folded_ones_of_the_cubic_cell(make_hamiltonian):
    primitive, _, cubic, _ = fcc_cells()
    low, high = (band_path(atoms, spacing=0.3) for atoms in (primitive, cubic))
    assert low.labels == high.labels
    assert np.allclose(low.distances, high.distances, atol=1e-6)
    bands, folded = (
        eigenvalues(make_hamiltonian(primitive), low.kpoints),
        eigenvalues(make_hamiltonian(cubic), high.kpoints),
    )
    assert np.abs(bands[:, :, None] - folded[:, None, :]).min(axis=2).max() < 1e-9


@pytest.mark.parametrize('axes', [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize('turns', [[[1, 0], [0, 1]], [[1, 1], [0, 1]], [[2, 1], [1, 1]]])
def test_path_of_a_layer_lies_in_its_plane_in_any_cell(axes, turns):
    atoms = graphene(a=2.46, vacuum=8.0)
    atoms.pbc = True
    atoms.set_cell(np.array([*(np.array(turns) @ atoms.cell[:2]), [0.3, 0.2, 17.0]])[list(axes)])
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    path = band_path(atoms)
    assert (path.kpoints[:, axes.index(2)] == 0).all()
    assert [label for label in path.labels if label] == ['GAMMA', 'M', 'K', 'GAMMA']
    # distances within the plane, of a honeycomb: GAMMA M, M K, K GAMMA
    unit = 2 * np.pi / 2.46
    places = path.distances[[index for index, label in enumerate(path.labels) if label]]
    assert np.diff(places) == pytest.approx([unit / np.sqrt(3), unit / 3, unit * 2 / 3], rel=1e-6)


def test_path_of_a_layer_passes_where_its_bands_touch():
    """K is the corner of the zone: there the phases of the three neighbours of an atom cancel."""
    atoms = graphene(a=2.46, vacuum=8.0)
    path = band_path(atoms)
    corner = path.kpoints[path.labels.index('K')]
    first, images = neighbor_list('iS', atoms, 1.5)
    assert abs(np.exp(2j * np.pi * images[first == 0] @ corner).sum()) < 1e-9


def test_path_of_a_chain():
    chain = Atoms('H2', positions=[[0, 0, 0], [0, 0, 0.8]], cell=[20.0, 20.0, 2.5], pbc=True)
    path = band_path(chain)
    assert [label for label in path.labels if label] == ['GAMMA', 'X']
    assert np.allclose(path.kpoints[-1], [0, 0, 0.5])
    assert path.distances[-1] == pytest.approx(np.pi / 2.5)


@pytest.mark.parametrize('periodic', [True, False])
def test_levels_of_a_molecule_need_two_points(periodic):
    molecule = Atoms('H2', positions=[[0, 0, 0], [0, 0, 0.8]], cell=[12.0, 13.0, 14.0], pbc=periodic)
    path = band_path(molecule)
    assert path.labels == ('GAMMA', 'X') and path.distances[-1] > 0


def test_points_without_end_are_refused_before_they_are_made():
    crystal = bulk('AlAs', 'zincblende', a=5.66)
    with pytest.raises(ValueError, match=r'spacing 1e-07 1/Å: too many points'):
        band_path(crystal, 1e-7)
    with pytest.raises(ValueError, match='mesh 1000 x 1000 x 1000: more than 1,000,000 points'):
        monkhorst_pack((1000, 1000, 1000))


def test_path_of_a_crystal_without_symmetry():
    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True)
    atoms.rattle(0.05, seed=1)
    path = band_path(atoms)
    assert 'GAMMA' in path.labels
    assert np.abs(path.kpoints).max() < 1.01
    # Named points of a triclinic lattice are halves of its reciprocal vectors.
    named = np.array([k for k, label in zip(path.kpoints, path.labels, strict=True) if label])
    assert np.allclose(2 * named, np.round(2 * named), atol=1e-9)


def test_path_is_sampled_evenly_and_jumps_cost_nothing():
    lines = [[('A', [0, 0, 0]), ('B', [0.5, 0, 0])], [('C', [0, 0.5, 0]), ('D', [0, 0, 0])]]
    path = BandPath.from_lines(lines, np.diag([2.0, 4.0, 4.0]), spacing=0.1)
    steps = np.diff(path.distances)
    jump = path.labels.index('C')
    assert steps[jump - 1] == 0
    assert steps.max() <= 0.1 + 1e-9
    assert path.distances[-1] == pytest.approx(0.5 * np.pi + 0.25 * np.pi)


def test_path_file(tmp_path):
    file = tmp_path / 'path.txt'
    file.write_text(
        '# a path\nGAMMA 0 0 0\nX 0.5 0 0.5 # zone face\n# still\nW 1/2 1/4 3/4\n\nL .5 .5 .5\nGAMMA 0 0 0\n'
    )
    path = read_band_path(file, np.eye(3) * 4)
    assert [label for label in path.labels if label] == ['GAMMA', 'X', 'W', 'L', 'GAMMA']
    assert np.allclose(path.kpoints[path.labels.index('W')], [0.5, 0.25, 0.75])


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('GAMMA 0 0 0\nX 0.5 zero 0\n', r'line 2: expected "label k1 k2 k3"'),
        ('GAMMA 0 0 0\nX 1/0 0 0\n', r'line 2: expected "label k1 k2 k3", as in "X 0.5 0 1/2"'),
        ('GAMMA 0 0 0\nG 0 0 0\n', 'line 2: G is the same point as GAMMA before it; remove one'),
        ('GAMMA 0 0 0\nX 0.5 nan 0\n', r'line 2'),
        ('GAMMA 0 0 0\n\nX 0.5 0 0\n', 'at least two points'),
        ('', 'at least two points'),
    ],
)
def test_bad_path_files_are_refused_with_name_and_line(tmp_path, text, message):
    file = tmp_path / 'path.txt'
    file.write_text(text)
    with pytest.raises(ValueError, match=f'path.txt.*{message}'):
        read_band_path(file, np.eye(3))
    with pytest.raises(ValueError, match='No such file'):
        read_band_path(tmp_path / 'none', np.eye(3))
