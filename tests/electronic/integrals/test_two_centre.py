"""Two-centre integrals against brute-force integration, their symmetries and the limits that are known."""

import numpy as np
import pytest
from ase import Atoms
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.integrals.radial_integrals import simpson_weights
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.electronic.units import BOHR, RYDBERG

RADIUS, STEP = 5.0, 0.01


def smooth_species(element: str, momenta, decay: float = 1.0) -> SpeciesBasis:
    """Normalised functions that vanish smoothly at the cutoff."""
    r = STEP * np.arange(int(RADIUS / STEP) + 1)
    shells = []
    for index, l in enumerate(momenta):
        # even in r beyond the power, as smooth functions are
        radial = r**l * np.exp(-(decay + 0.2 * index) * r**2 / 2) * (1 - (r / RADIUS) ** 2) ** 4
        radial /= np.sqrt(simpson_weights(len(r), STEP) @ (radial * r) ** 2)
        shells.append(Shell(l, RADIUS, radial))
    return SpeciesBasis(element, STEP, tuple(shells))


@pytest.fixture(scope='module')
def basis():
    return Basis({'Al': smooth_species('Al', (0, 1, 2)), 'As': smooth_species('As', (0, 1, 0, 2), 0.7)})


@pytest.fixture(scope='module')
def tables(basis):
    return TwoCentreTables(basis)


@pytest.fixture
def pair():
    """Two atoms in a box so large that images do not touch."""
    return Atoms('AlAs', positions=[[0, 0, 0], [0.8, -1.1, 0.6]], cell=[14, 14, 14], pbc=True)


def orbitals_at(species: SpeciesBasis, points: np.ndarray) -> np.ndarray:
    """(n_orbitals, n) values at points around the atom, bohr."""
    distances = np.linalg.norm(points, axis=1)
    values = []
    for shell in species.shells:
        radial = CubicSpline(STEP * np.arange(len(shell.radial)), shell.radial)(distances)
        values.append(np.where(distances < RADIUS, radial, 0) * real_harmonics(shell.angular_momentum, points).T)
    return np.concatenate(values)


def find(pattern, i, j, image=(0, 0, 0)) -> int:
    return int(np.flatnonzero((pattern.atom_pairs == [*image, i, j]).all(axis=1))[0])


@pytest.fixture(scope='module')
def brute_force(basis):
    """Overlap, kinetic energy (by finite differences) and dipole of the pair on a fine uniform grid."""
    spacing = 0.16
    displacement = np.array([0.8, -1.1, 0.6]) / BOHR
    axis = np.arange(-RADIUS - 0.5, RADIUS + 0.5, spacing)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), axis=-1).reshape(-1, 3)
    left = orbitals_at(basis['Al'], points)

    def right(shift):
        return orbitals_at(basis['As'], points - displacement + shift)

    h = 0.03
    centre = right(np.zeros(3))
    laplacian = np.zeros_like(centre)
    for direction in np.eye(3):
        near = right(h * direction) + right(-h * direction)
        far = right(2 * h * direction) + right(-2 * h * direction)
        laplacian = laplacian + (16 * near - far - 30 * centre) / (12 * h**2)
    volume = spacing**3
    dipole = np.stack([(left * component) @ centre.T for component in points.T]) * volume
    return left @ centre.T * volume, -(left @ laplacian.T) * volume * RYDBERG, dipole * BOHR


def test_overlap_kinetic_and_dipole_agree_with_integration_on_a_grid(basis, tables, pair, brute_force):
    pattern = overlap_pattern(pair, basis)
    overlap, kinetic = tables.overlap_and_kinetic(pair, pattern)
    block = find(pattern, 0, 1)
    assert np.abs(pattern.block(overlap, block) - brute_force[0]).max() < 2e-6
    assert np.abs(pattern.block(kinetic, block) - brute_force[1]).max() < 2e-4
    assert np.abs(pattern.block(tables.dipole(pair, pattern), block) - brute_force[2]).max() < 2e-6


def test_onsite_overlap_is_one_and_kinetic_energy_that_of_the_radial_function(basis, tables, pair):
    pattern = overlap_pattern(pair, basis)
    overlap, kinetic = tables.overlap_and_kinetic(pair, pattern)
    block = pattern.block(overlap, find(pattern, 0, 0))
    assert np.abs(block - np.eye(len(block))).max() < 1e-9
    r = STEP * np.arange(len(basis['Al'].shells[0].radial))
    diagonal = np.diag(pattern.block(kinetic, find(pattern, 0, 0)))
    for shell, rows in zip(basis['Al'].shells, basis['Al'].shell_slices, strict=True):
        l = shell.angular_momentum
        slope = CubicSpline(r, r * shell.radial)(r, 1)
        expected = simpson_weights(len(r), STEP) @ (slope**2 + l * (l + 1) * shell.radial**2)
        assert np.allclose(diagonal[rows] / RYDBERG, expected, rtol=1e-6)


def test_matrices_are_symmetric_and_vanish_at_the_end_of_their_range(basis, tables):
    atoms = Atoms('AlAs', positions=[[0, 0, 0], [1.2, 1.5, 1.1]], cell=[[3.1, 0, 0], [0.4, 2.9, 0], [0, 0.7, 3.3]])
    pattern = overlap_pattern(atoms, basis)
    overlap, kinetic = tables.overlap_and_kinetic(atoms, pattern)
    assert pattern.asymmetry(overlap) < 1e-12
    assert pattern.asymmetry(kinetic) < 1e-12 * np.abs(kinetic).max() + 1e-12
    distances = np.linalg.norm(pattern.vectors(atoms.cell[:], atoms.positions), axis=1)
    outermost = int(distances.argmax())
    assert distances[outermost] > 0.97 * 2 * RADIUS * BOHR
    assert np.abs(pattern.block(overlap, outermost)).max() < 1e-8


def test_dipole_about_the_other_atom_differs_by_the_displacement_times_the_overlap(basis, tables, pair):
    """``<i|r - tau_i|j> = <j|r - tau_j|i>^T + (tau_j - tau_i) <i|j>``."""
    pattern = overlap_pattern(pair, basis)
    overlap, _ = tables.overlap_and_kinetic(pair, pattern)
    dipole = tables.dipole(pair, pattern)
    vectors = pattern.vectors(pair.cell[:], pair.positions)
    per_entry = np.repeat(vectors, pattern.chunk_shapes.prod(axis=1), axis=0).T
    assert np.abs(dipole - dipole[:, pattern.transpose_indices] - per_entry * overlap).max() < 1e-8


def test_rotated_structure_has_rotated_blocks(plain_basis, upf_pseudos, turn):
    """Overlap, kinetic energy and nonlocal pseudopotential of AlAs with its true orbitals."""
    basis = plain_basis(('Al', 'As'))
    tables = TwoCentreTables(basis, {element: upf_pseudos[element] for element in basis})
    cell = [[0, 2.9, 2.8], [2.8, 0.1, 2.8], [2.8, 2.9, 0]]
    atoms = Atoms('AlAs', positions=[[0.1, 0, 0], [1.3, 1.5, 1.2]], cell=cell)
    turned = turn.structure(atoms)
    pattern, pattern_turned = overlap_pattern(atoms, basis), overlap_pattern(turned, basis)
    assert np.array_equal(pattern.atom_pairs, pattern_turned.atom_pairs)
    matrices = [*tables.overlap_and_kinetic(atoms, pattern), tables.nonlocal_part(atoms, pattern)]
    matrices_turned = [
        *tables.overlap_and_kinetic(turned, pattern_turned),
        tables.nonlocal_part(turned, pattern_turned),
    ]
    for matrix, matrix_turned in zip(matrices, matrices_turned, strict=True):
        expected = turn.entries(pattern, matrix, basis, atoms.get_chemical_symbols())
        assert np.abs(matrix_turned - expected).max() < 1e-8
        assert pattern.asymmetry(matrix) < 1e-11


def test_missing_pseudopotential_is_named(basis, upf_pseudos):
    with pytest.raises(ValueError, match='no pseudopotential for As'):
        TwoCentreTables(basis, {'Al': upf_pseudos['Al']})
