"""Half of a grid: which half, and that its corrected sum is as exact as that of the whole grid."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy import fft

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.half_grid import HalfGrid, Windows, halve, with_even_axes
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.integrals.point_blocks import point_blocks
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential

CUBE = 10.0 * np.eye(3)


def test_a_cubic_grid_becomes_a_chessboard():
    half = halve((30, 30, 30), CUBE, 80.0)
    assert half.axes == (1, 1, 1)
    assert half.shortest == pytest.approx(np.sqrt(3) * np.pi * 30 / 10.0)


def test_a_grid_that_is_too_coarse_or_of_the_wrong_lattice_is_kept():
    assert halve((24, 24, 24), CUBE, 80.0) is None
    # half of a face-centred cubic grid has a reciprocal vector of half the length
    primitive = bulk('AlAs', 'zincblende', a=5.66).cell[:] / 0.529177
    assert halve(fft_grid(primitive * 0.529177, 80.0), primitive, 80.0) is None


@pytest.mark.parametrize('axes', [(1, 1, 1), (1, 0, 1)])
def test_boxes_hold_every_point_of_the_half_once(axes):
    """The values in the boxes, added up at their points, against the points with an even sum of indices."""
    shape, half = (12, 10, 8), HalfGrid(axes, 10.0)
    numbers = np.arange(np.prod(shape), dtype=float).reshape(1, *shape)
    cells, found = half.cells(numbers), []
    steps = CUBE / np.array(shape)[:, None]
    for blocks in point_blocks(cells.shape[1:4], CUBE, 2.0, half.motif / half.steps):
        every = np.arange(len(blocks.starts))
        for corner, values in zip(blocks.corners, blocks.values(cells, every)[:, 0], strict=True):
            indices = np.rint((corner + blocks.points) @ np.linalg.inv(steps)).astype(int)
            assert (numbers[(0, *indices.T)] == values).all()
            found.extend(values)
    parity = sum(axis * index for axis, index in zip(axes, np.indices(shape), strict=True)) % 2
    assert sorted(found) == sorted(numbers[0][parity == 0])
    assert (half.signs(np.indices(shape).reshape(3, -1).T) == 2 * parity.ravel() - 1).all()


def test_odd_axes_get_a_point_by_fourier_interpolation():
    def wave(n):
        return np.cos(2 * np.pi * 3 * np.arange(n) / n + 0.4)

    values = wave(9)[None, :, None, None] * wave(8)[None, None, :, None] * wave(7)[None, None, None, :]
    expected = wave(10)[None, :, None, None] * wave(8)[None, None, :, None] * wave(7)[None, None, None, :]
    assert np.abs(with_even_axes(values, (1, 1, 0)) - expected).max() < 1e-12


def test_windows_of_the_whole_less_twice_the_half_vanish_for_smooth_functions():
    """What the windows add is a Fourier component that a constant times the smooth window does not have."""
    half = halve((30, 30, 30), CUBE, 80.0)
    windows = Windows(np.array([[1.3, 2.7, 9.9]]), np.ones((1, 30, 30, 30)), CUBE, half)
    values = windows.values(np.array([0]))
    assert abs(values.sum()) < 1e-4 * np.abs(values).sum()


@pytest.fixture(scope='module')
def ingredients():
    pseudos = {element: make_pseudopotential(element) for element in ('Al', 'As')}
    return pseudos, Basis({element: generate_basis(pseudo, 'sz', 6.0) for element, pseudo in pseudos.items()})


@pytest.mark.parametrize('edges', [(5.66, 5.66, 5.66), (4.7, 5.66, 5.66)])
def test_the_half_is_as_exact_as_the_whole(ingredients, edges):
    """Both against a grid of eight times as many points with the same potential, eV; an odd axis in the second cell."""
    pseudos, basis = ingredients
    atoms: Atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True)
    atoms.set_cell(edges, scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    pattern, ecutrho = overlap_pattern(atoms, basis), 80.0
    shape = fft_grid(atoms.cell[:], ecutrho)
    assert halve(shape, atoms.cell[:] / 0.529177, ecutrho) is not None
    potential = neutral_atom_potential(atoms, pseudos, shape, ecutrho)
    fine = potential
    for axis, n in enumerate(shape):
        fine = fft.irfft(fft.rfft(fine, axis=axis), 2 * n, axis=axis) * 2
    exact = local_matrix(atoms, basis, pattern, fine)
    whole = np.abs(local_matrix(atoms, basis, pattern, potential) - exact)
    halved = local_matrix(atoms, basis, pattern, potential, ecutrho=ecutrho)
    assert pattern.asymmetry(halved) == 0.0
    halved = np.abs(halved - exact)
    assert halved.max() < whole.max() + 3e-5
    assert halved.mean() < 2.0 * whole.mean()


def test_shifts_by_lattice_vectors_and_by_points_of_the_half_change_nothing(ingredients):
    """The corrections follow atoms out of the cell and across its boundary, and neighbours farther than orbitals."""
    pseudos, _ = ingredients
    basis = Basis({element: generate_basis(pseudo, 'sz', 4.0) for element, pseudo in pseudos.items()})
    atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True)
    atoms.rattle(0.05, seed=1)
    pattern, ecutrho = overlap_pattern(atoms, basis), 80.0
    shape = fft_grid(atoms.cell[:], ecutrho)
    potential = neutral_atom_potential(atoms, pseudos, shape, ecutrho)
    expected = local_matrix(atoms, basis, pattern, potential, ecutrho=ecutrho)
    for shift, points in (((2.0, -1.0, 3.0), (0, 0, 0)), (np.array([3, 1, 0]) / shape, (3, 1, 0))):
        moved = atoms.copy()
        moved.positions += shift @ atoms.cell[:]
        rolled = np.roll(potential, points, axis=(0, 1, 2))
        assert np.abs(local_matrix(moved, basis, pattern, rolled, ecutrho=ecutrho) - expected).max() < 1e-9
