"""Hirshfeld charges and dipoles: identities, and the density of real runs."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from qe_fixtures import DEBIAN_PSEUDOS, run_pw
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.hirshfeld import FreeAtom, boxes_of_sphere, hirshfeld_moments
from aiida_hamlr.electronic.units import BOHR
from aiida_hamlr.io.qe import read_charge_density, read_density


def modulated(atoms, superposition, pseudos, ecutrho, amplitude=0.2):
    """A density with the electrons of neutral atoms, some of which a wave without symmetry has moved."""
    grid = fft_grid(atoms.cell[:], ecutrho)
    density = superposition(atoms, pseudos, grid, ecutrho)
    x, y, z = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in grid), indexing='ij')
    wave = density * (1 + amplitude * np.sin(x + 0.3) + 0.5 * amplitude * np.cos(y - z))
    return wave * density.sum() / wave.sum()


def cell_dipole(atoms, density, pseudos):
    """(3,) dipole of the cell as it stands, |e| Å, by summing over the grid: no electrons at its faces."""
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in density.shape), indexing='ij'), axis=-1)
    points = fractions @ atoms.cell[:]
    electrons = density * atoms.get_volume() / BOHR**3 / density.size
    charges = np.array([pseudos[symbol].z_valence for symbol in atoms.symbols])
    return charges @ atoms.positions - np.tensordot(electrons, points, axes=3)


@pytest.mark.parametrize('structure', ['bulk', 'skewed', 'slab'])
def test_free_atoms_are_neutral_and_have_no_dipole(upf_pseudos, superposition, structure):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    if structure == 'skewed':
        atoms.set_cell(atoms.cell[:] @ [[1.0, 0.3, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.1]], scale_atoms=True)
    if structure == 'slab':
        atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True)
        atoms.center(vacuum=6.0, axis=2)
    density = superposition(atoms, upf_pseudos, fft_grid(atoms.cell[:], 30.0), 30.0)
    charges, dipoles = hirshfeld_moments(atoms, density, upf_pseudos, 30.0)
    assert np.abs(charges).max() < 1e-8
    assert np.abs(dipoles).max() < 1e-8


def test_moments_are_those_of_the_definition(upf_pseudos, superposition):
    """``Z - int w rho`` and ``-int w (r - tau) rho`` by brute force over all images, to the error of the grid."""
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    atoms.positions += [[0.2, 0.1, -0.1], [-0.1, 0.3, 0.1]]
    density = modulated(atoms, superposition, upf_pseudos, 80.0)
    found, found_dipoles = hirshfeld_moments(atoms, density, upf_pseudos, 80.0)
    cell = atoms.cell[:] / BOHR
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in density.shape), indexing='ij'), -1).reshape(-1, 3) @ cell
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing='ij'), axis=-1).reshape(-1, 3) @ cell
    parts, moments = np.zeros((2, len(points))), np.zeros((2, len(points), 3))
    for index, (symbol, position) in enumerate(zip(atoms.symbols, atoms.positions / BOHR, strict=True)):
        pseudo = upf_pseudos[symbol]
        spline = CubicSpline(pseudo.r, pseudo.rho_atom / (4 * np.pi * pseudo.r**2))
        for image in images:
            vectors = points - position - image
            distances = np.linalg.norm(vectors, axis=1)
            free = np.where(distances < pseudo.r[-1], spline(distances), 0.0)
            parts[index] += free
            moments[index] += free[:, None] * vectors
    electrons = density.ravel() / parts.sum(axis=0) * abs(np.linalg.det(cell)) / density.size
    valence = np.array([upf_pseudos[symbol].z_valence for symbol in atoms.symbols])
    assert np.abs(found).max() > 0.05
    assert np.abs(found - (valence - parts @ electrons)).max() < 2e-3
    assert np.abs(found_dipoles + np.einsum('p,ipa->ia', electrons, moments) * BOHR).max() < 2e-3


def test_charges_are_neutral_in_sum_and_follow_translations(upf_pseudos, superposition):
    """A shift by a vector of the grid changes nothing, nor does an image of an atom in its place."""
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    density = modulated(atoms, superposition, upf_pseudos, 40.0)
    charges, dipoles = hirshfeld_moments(atoms, density, upf_pseudos, 40.0)
    assert abs(charges.sum()) < 1e-10
    assert np.abs(dipoles).max() > 0.01
    shift = np.array([5, -3, 2])
    moved = atoms.copy()
    moved.positions += shift / density.shape @ atoms.cell[:]
    moved.positions[1] += atoms.cell[0] - 2 * atoms.cell[2]
    found = hirshfeld_moments(moved, np.roll(density, shift, axis=(0, 1, 2)), upf_pseudos, 40.0)
    assert np.abs(found[0] - charges).max() < 1e-10
    assert np.abs(found[1] - dipoles).max() < 1e-10


def test_supercell_repeats_the_moments_of_its_cell(upf_pseudos, superposition):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    density = modulated(atoms, superposition, upf_pseudos, 40.0)
    expected = hirshfeld_moments(atoms, density, upf_pseudos, 40.0)
    large = atoms.repeat((2, 1, 3))
    found = hirshfeld_moments(large, np.tile(density, (2, 1, 3)), upf_pseudos, 40.0)
    assert np.abs(found[0] - np.tile(expected[0], 6)).max() < 1e-9
    assert np.abs(found[1] - np.tile(expected[1], (6, 1))).max() < 1e-9


def test_moments_turn_with_the_crystal(upf_pseudos, superposition, turn):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    density = modulated(atoms, superposition, upf_pseudos, 40.0)
    charges, dipoles = hirshfeld_moments(atoms, density, upf_pseudos, 40.0)
    turned = hirshfeld_moments(turn.structure(atoms), density, upf_pseudos, 40.0)
    assert np.abs(turned[0] - charges).max() < 1e-9
    assert np.abs(turned[1] - dipoles @ turn.matrix.T).max() < 1e-9


def test_dipole_of_the_cell_is_that_of_the_atoms(upf_pseudos, superposition):
    """In vacuum: ``sum_i Q_i tau_i + p_i`` against the grid; what lies beyond the free atoms is lost."""
    atoms = Atoms('AlAs', positions=[[8.0, 8.0, 6.9], [8.4, 8.3, 9.2]], cell=[16.0, 16.5, 16.0], pbc=True)
    density = modulated(atoms, superposition, upf_pseudos, 25.0, 0.1)
    charges, dipoles = hirshfeld_moments(atoms, density, upf_pseudos, 25.0)
    expected = cell_dipole(atoms, density, upf_pseudos)
    assert np.linalg.norm(expected) > 0.2
    assert abs(charges.sum()) < 1e-4
    assert np.abs(charges @ atoms.positions + dipoles.sum(axis=0) - expected).max() < 2e-3


def test_free_atom_is_that_of_the_file(upf_pseudos):
    """All electrons, and past the end of a short mesh the exponential that it ends with."""
    pseudo = upf_pseudos['As']
    free = FreeAtom(pseudo)
    r = np.linspace(0.0, free.radius, 4001)
    values = free(r**2)
    assert simpson(4 * np.pi * r**2 * values, x=r) == pytest.approx(5.0, abs=2e-3)
    assert free(np.array([(free.radius + 0.1) ** 2, 1e4])).max() == 0.0
    end = np.searchsorted(pseudo.r, 6.0)
    shape = {name: getattr(pseudo, name)[:end] for name in ('r', 'rab', 'rho_atom', 'v_local')}

    class Short:
        r, rho_atom, density_scale = shape['r'], shape['rho_atom'], pseudo.density_scale

    short = FreeAtom(Short)
    assert short.radius == pytest.approx(free.radius, abs=1.0)
    assert short(np.array([64.0]))[0] == pytest.approx(free(np.array([64.0]))[0], rel=0.3)


@pytest.mark.parametrize('radius', [1.1, 7.0])
def test_boxes_hold_every_point_of_a_sphere_once(radius):
    cell = np.array([[4.0, 0.5, 0.0], [1.5, 3.0, 0.3], [-0.7, 0.9, 5.0]])
    shape, centre = (12, 9, 16), np.array([3.9, -0.2, 7.7])
    counts = np.zeros(shape)
    for box in boxes_of_sphere(cell, shape, centre, radius):
        box.add(counts, (box.squared_distances <= radius**2).astype(float))
    images = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing='ij'), axis=-1).reshape(-1, 1, 3) @ cell
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing='ij'), axis=-1).reshape(-1, 3) @ cell
    distances = np.linalg.norm(points + images - centre, axis=-1)
    assert np.array_equal(counts.ravel(), (distances <= radius).sum(axis=0))


@pytest.mark.qe
def test_aluminium_arsenide(alas_run, upf_pseudos):
    """Aluminium gives, arsenic takes; the tetrahedral sites have no dipole."""
    run = alas_run.read()
    density = read_charge_density(alas_run.charge_density, run.fft_grid, run.atoms)
    charges, dipoles = hirshfeld_moments(run.atoms, density, upf_pseudos, run.ecutrho)
    assert 0.1 < charges[0] < 0.4
    assert abs(charges.sum()) < 1e-8
    assert np.abs(dipoles).max() < 1e-8
    from_plot = hirshfeld_moments(run.atoms, read_density(alas_run.density, run.atoms), upf_pseudos, run.ecutrho)
    assert np.abs(from_plot[0] - charges).max() < 1e-6


@pytest.mark.qe
def test_dipole_of_a_molecule(tmp_path):
    """A run of pw.x: the dipole of BH from its atoms and from the density."""
    pseudos = {'H': Pseudopotential.read(DEBIAN_PSEUDOS / 'H.pz-vbc.UPF')}
    pseudos['B'] = Pseudopotential.read(DEBIAN_PSEUDOS / 'B.pz-vbc.UPF')
    atoms = Atoms('BH', positions=[[3.6, 4.0, 3.5], [4.1, 4.0, 4.6]], cell=[8.0, 8.0, 8.0], pbc=True)
    finished = run_pw(tmp_path, atoms, pseudos, 25, (1, 1, 1), 4)
    run = finished.read()
    density = read_density(finished.density, run.atoms)
    charges, dipoles = hirshfeld_moments(run.atoms, density, pseudos, run.ecutrho)
    expected = cell_dipole(run.atoms, density, pseudos)
    assert np.linalg.norm(expected) > 0.1
    assert np.abs(charges @ run.atoms.positions + dipoles.sum(axis=0) - expected).max() < 5e-3
    assert abs(charges.sum()) < 1e-4
