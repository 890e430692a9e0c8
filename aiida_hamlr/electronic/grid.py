"""The FFT grid, and matrix elements of a local potential given on it.

The grid is cut into small blocks. In each block the orbitals that reach it are evaluated once, for all points, and
one dense product per species pair gives their matrix elements: time is linear in the number of atoms, memory does not
grow with it beyond the result. The work is done by torch, on the CPU or a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
import spglib
import torch
from ase import Atoms
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from aiida_hamlr.electronic.accumulate import BlockAccumulator
from aiida_hamlr.electronic.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.blocks import BlockPattern
from aiida_hamlr.electronic.harmonics import real_harmonics
from aiida_hamlr.electronic.units import BOHR

#: Edge of a block, bohr. Smaller blocks waste fewer points outside the orbitals' spheres, larger ones have less
#: overhead for each product.
BLOCK_EDGE = 1.8

#: Blocks whose orbitals are evaluated together.
BLOCKS_AT_ONCE = 6

#: Pairs of an atom and a block that are checked point by point at once.
CHECKED_AT_ONCE = 1000

#: Of the functions ``Y_1m``, which are this times a component of the direction.
NORMALISATION = np.sqrt(3 / (4 * np.pi))


def fft_grid(cell: np.ndarray, ecutrho: float, factors: tuple[int, int, int] = (1, 1, 1)) -> tuple[int, int, int]:
    """Dimensions of the FFT grid that Quantum ESPRESSO chooses.

    Twice the largest index of a reciprocal vector within the cutoff, plus one, along each axis, rounded up to a
    multiple of ``factors`` with no prime factors but 2, 3 and 5 (``realspace_grid_init`` and ``good_fft_order``).

    Parameters
    ----------
    cell : (3, 3) array
        Å.
    ecutrho : float
        Cutoff of density and potential, Ry.
    factors : three int
        As `symmetry_factors` gives them.

    Raises
    ------
    ValueError
        If the cutoff is not positive.
    """
    if not ecutrho > 0:
        raise ValueError(f'the density cutoff must be positive, got {ecutrho} Ry')
    cell = np.asarray(cell) / BOHR
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    bounds = (np.sqrt(ecutrho) * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int) + 1
    sizes = []
    for axis in range(3):
        u, v = (a for a in range(3) if a != axis)
        span_u, span_v = (np.arange(-bounds[a], bounds[a] + 1) for a in (u, v))
        plane = span_u[:, None, None] * reciprocal[u] + span_v[None, :, None] * reciprocal[v]
        index = bounds[axis]
        while index and (np.sum((plane + index * reciprocal[axis]) ** 2, axis=-1)).min() > ecutrho:
            index -= 1
        sizes.append(_good_fft_order(2 * int(index) + 1, factors[axis]))
    return tuple(sizes)


def symmetry_factors(atoms: Atoms) -> tuple[int, int, int]:
    """What the grid dimensions must be multiples of, so that fractional translations map the grid onto itself.

    As in Quantum ESPRESSO, translations by 1/2, 1/3, 1/4 and 1/6 count; in a cell that is not primitive none does.

    Parameters
    ----------
    atoms : ase.Atoms
    """
    found = spglib.get_symmetry((atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers), symprec=1e-4)
    if found is None:
        return (1, 1, 1)
    rotations, translations = found['rotations'], found['translations']
    translations = translations - np.round(translations)
    if sum((rotation == np.eye(3)).all() for rotation in rotations) > 1:
        return (1, 1, 1)
    factors = np.ones(3, dtype=int)
    for translation in translations:
        orders = np.array([1 if abs(t) < 1e-4 else round(1 / abs(t)) for t in translation])
        exact = np.abs(np.abs(translation) * orders - (orders > 1)) < 1e-3
        if exact.all() and set(orders) <= {1, 2, 3, 4, 6}:
            factors = np.lcm(factors, orders)
    return tuple(int(factor) for factor in factors)


def _good_fft_order(n: int, factor: int) -> int:
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and n % factor == 0:
            return n
        n += 1


@cache
def _monomials(l: int) -> tuple[tuple[tuple[int, int], ...], np.ndarray]:
    """How solid harmonics of degree l > 0 follow from products of components.

    Returns
    -------
    factors : tuple of (lower, component)
        Every monomial of degree l as one of degree l - 1 times a component.
    coefficients : (2l + 1, n) array
        ``r^l Y_lm`` in terms of the monomials, but for ``sqrt(3 / 4 pi)``.
    """
    monomials = list(combinations_with_replacement(range(3), l))
    lower = list(combinations_with_replacement(range(3), l - 1))
    points = np.random.default_rng(0).normal(size=(8 * len(monomials), 3))
    products = np.stack([points[:, list(monomial)].prod(axis=1) for monomial in monomials], axis=1)
    values = real_harmonics(l, points) * np.linalg.norm(points, axis=1, keepdims=True) ** l / NORMALISATION
    coefficients = np.linalg.lstsq(products, values, rcond=None)[0].T
    coefficients[np.abs(coefficients) < 1e-13] = 0.0
    return tuple((lower.index(monomial[:-1]), monomial[-1]) for monomial in monomials), coefficients


class OrbitalEvaluator:
    """Values of the orbitals of one element at points.

    ``R(r) / r^l`` is a cubic spline on the basis' own mesh, multiplied by solid harmonics: no angles, no division.

    Parameters
    ----------
    species : SpeciesBasis
    device : str
    """

    def __init__(self, species: SpeciesBasis, device: str = 'cpu'):
        self.radius = species.cutoff_radius
        self.n_orbitals = species.n_orbitals
        self._momenta = species.angular_momenta
        self._slices = species.shell_slices
        self._inverse_step = 1.0 / species.step
        self._last = int(np.ceil(self.radius / species.step))
        r = species.step * np.arange(self._last + 1)
        tables = []
        for shell in species.shells:
            values = np.zeros(self._last + 1)
            n = min(len(values), len(shell.radial))
            values[:n] = np.where(r[:n] < shell.cutoff_radius, shell.radial[:n], 0.0)
            reduced = np.empty_like(values)
            reduced[1:] = values[1:] / r[1:] ** shell.angular_momentum
            # even in r: a parabola through the next two points gives the limit at the origin
            reduced[0] = values[0] if shell.angular_momentum == 0 else (4.0 * reduced[1] - reduced[2]) / 3.0
            spline = CubicSpline(r, reduced, bc_type=((1, 0.0), 'not-a-knot')).c
            # in steps of the mesh; a last interval of zeros takes all points outside
            spline = spline * species.step ** np.array([[3.0], [2.0], [1.0], [0.0]])
            tables.append(np.concatenate([spline, np.zeros((4, 1))], axis=1))
        table = np.stack(tables, axis=1).reshape(-1, self._last + 1)
        self._table = torch.from_numpy(table * NORMALISATION).to(device)
        self._coefficients = [torch.from_numpy(_monomials(l)[1]).to(device) for l in range(2, max(self._momenta) + 1)]

    def __call__(self, displacements: torch.Tensor) -> torch.Tensor:
        """(n, n_orbitals, points) values at displacements (3, n, points) from n atoms, bohr."""
        _, n_atoms, n_points = displacements.shape
        flat = displacements.view(3, -1)
        x, y, z = flat
        scaled = torch.mul(x, x).addcmul_(y, y).addcmul_(z, z).sqrt_().mul_(self._inverse_step)
        scaled.clamp_(max=self._last)
        index = scaled.to(torch.int32)
        remainder = scaled.sub_(index)
        # coefficients of one power of all shells: (shells, points of all atoms)
        gathered = flat.new_empty(len(self._table), len(index))
        for row, coefficient in zip(gathered, self._table, strict=True):
            torch.index_select(coefficient, 0, index, out=row)
        cubic, square, linear, constant = gathered.unflatten(0, (4, len(self._momenta)))
        radial = square.addcmul_(cubic, remainder)
        radial = linear.addcmul_(radial, remainder)
        radial = constant.addcmul_(radial, remainder).view(-1, n_atoms, n_points)
        harmonics = self._harmonics(displacements)
        values = flat.new_empty(n_atoms, self.n_orbitals, n_points)
        for l, rows, factor in zip(self._momenta, self._slices, radial, strict=True):
            torch.mul(factor, harmonics[l], out=values[:, rows].transpose(0, 1))
        return values

    def _harmonics(self, displacements: torch.Tensor) -> list:
        """``r^l Y_lm`` for every l over ``sqrt(3 / 4 pi)``, (2l + 1, n, points); those of l = 1 are x, y, z."""
        result = [torch.full((1, 1, 1), 1 / np.sqrt(3), dtype=displacements.dtype, device=displacements.device)]
        result.append(displacements)
        lower = displacements
        for l, coefficients in enumerate(self._coefficients, 2):
            factors, _ = _monomials(l)
            monomials = displacements.new_empty(len(factors), *displacements.shape[1:])
            for row, (a, b) in zip(monomials, factors, strict=True):
                torch.mul(lower[a], displacements[b], out=row)
            result.append(torch.mm(coefficients, monomials.flatten(1)).view(-1, *displacements.shape[1:]))
            lower = monomials
        return result


def _images_near_cell(positions: np.ndarray, cell: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Atoms (n,) and images (n, 3) that come within ``reach`` of the home cell."""
    inverse = np.linalg.inv(cell)
    fractional = positions @ inverse
    margin = reach * np.linalg.norm(inverse, axis=0)
    low = np.floor(-margin - fractional.max(axis=0)).astype(int)
    high = np.ceil(1 + margin - fractional.min(axis=0)).astype(int)
    images = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing='ij'), -1)
    images = images.reshape(-1, 3)
    found_atoms, found_images = [], []
    for image in images:
        shifted = fractional + image
        inside = np.flatnonzero(((shifted >= -margin) & (shifted <= 1 + margin)).all(axis=1))
        found_atoms.append(inside)
        found_images.append(np.broadcast_to(image, (len(inside), 3)))
    return np.concatenate(found_atoms), np.concatenate(found_images)


class _PointBlocks:
    """Boxes of grid points of one shape, and the atoms whose orbitals reach them.

    Parameters
    ----------
    starts : (n, 3) int array
        First grid point of every box along the axes.
    shape : three int
        Points of a box along the axes.
    steps : (3, 3) array
        Vectors between neighbouring grid points, bohr.
    """

    def __init__(self, starts: np.ndarray, shape: np.ndarray, steps: np.ndarray):
        self.starts, self.shape = starts, shape
        indices = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing='ij'), -1).reshape(-1, 3)
        self.corners = starts @ steps
        #: Points of a box relative to its corner, (points, 3).
        self.points = indices @ steps

    def neighbours(self, tree: cKDTree, radii: np.ndarray, chosen: slice) -> tuple[np.ndarray, np.ndarray]:
        """Atoms that reach each of the chosen boxes, one box after the other, and how many each box has.

        Parameters
        ----------
        tree : cKDTree
            Of the atoms and images.
        radii : (atoms,) array
            Of their orbitals, bohr.
        chosen : slice
        """
        middle = self.points.mean(axis=0)
        centred = self.points - middle
        squares = (centred**2).sum(axis=1)
        outer, inner = np.sqrt(squares.max()), np.sqrt(squares.min())
        middles = self.corners[chosen] + middle
        found = tree.query_ball_point(middles, radii.max() + outer, return_sorted=True)
        counts = np.array([len(each) for each in found])
        atoms = np.concatenate([np.array(each, dtype=np.int64) for each in found])
        boxes = np.repeat(np.arange(len(found)), counts)
        offsets = tree.data[atoms] - middles[boxes]
        distances = (offsets**2).sum(axis=1)
        near = np.sqrt(distances) < radii[atoms] - inner
        unclear = np.flatnonzero(~near)
        for start in range(0, len(unclear), CHECKED_AT_ONCE):
            part = unclear[start : start + CHECKED_AT_ONCE]
            smallest = (squares - 2.0 * (offsets[part] @ centred.T)).min(axis=1)
            near[part] = smallest + distances[part] < radii[atoms[part]] ** 2
        return atoms[near], np.bincount(boxes[near], minlength=len(found))


def _point_blocks(shape: tuple[int, int, int], cell: np.ndarray, edge: float) -> Iterator[_PointBlocks]:
    """The grid cut into boxes with edges of about ``edge``, those of equal shape together."""
    steps = cell / np.array(shape)[:, None]
    counts = [
        min(n, max(1, round(float(np.linalg.norm(vector)) / edge))) for n, vector in zip(shape, cell, strict=True)
    ]
    bounds = [np.linspace(0, n, count + 1).round().astype(int) for n, count in zip(shape, counts, strict=True)]
    starts = np.stack(np.meshgrid(*(b[:-1] for b in bounds), indexing='ij'), -1).reshape(-1, 3)
    sizes = np.stack(np.meshgrid(*(np.diff(b) for b in bounds), indexing='ij'), -1).reshape(-1, 3)
    shapes, member = np.unique(sizes, axis=0, return_inverse=True)
    for index, box in enumerate(shapes):
        yield _PointBlocks(starts[member.ravel() == index], box, steps)


def local_matrix(
    atoms: Atoms, basis: Basis, pattern: BlockPattern, potential: np.ndarray, device: str = 'cpu'
) -> np.ndarray:
    """Matrix elements of local potentials, ``sum_r phi_i(r) V(r) phi_j(r) dV`` over the grid.

    Linear in the atoms; symmetric to the last bit.

    Parameters
    ----------
    atoms : ase.Atoms
    basis : Basis
    pattern : BlockPattern
        As `overlap_pattern` makes it.
    potential : (n1, n2, n3) or (n, n1, n2, n3) array
        eV; point (a, b, c) lies at the fractional position (a / n1, b / n2, c / n3). Several potentials at once cost
        little more than one.
    device : str
        'cpu' or 'cuda'.

    Returns
    -------
    (M,) or (n, M) array
        eV.

    Raises
    ------
    ValueError
        If the potential is not finite, or not given on a three-dimensional grid.
    """
    potential = np.asarray(potential, dtype=np.float64)
    if potential.ndim not in (3, 4) or not np.isfinite(potential).all():
        raise ValueError(f'the potential must be finite, on a three-dimensional grid; its shape is {potential.shape}')
    several = potential.reshape(-1, *potential.shape[-3:])
    shape = several.shape[1:]
    symbols = np.array(atoms.get_chemical_symbols())
    # the accumulator wants atoms ordered by their number of orbitals
    elements = sorted(set(symbols), key=lambda element: (basis[element].n_orbitals, element))
    kinds = np.array([elements.index(symbol) for symbol in symbols])
    evaluators = [OrbitalEvaluator(basis[element], device) for element in elements]
    cell, positions = atoms.cell[:] / BOHR, atoms.positions / BOHR
    image_atoms, images = _images_near_cell(positions, cell, max(evaluator.radius for evaluator in evaluators))
    order = np.argsort(kinds[image_atoms], kind='stable')
    image_atoms, images = image_atoms[order], images[order]
    centres, image_kinds = positions[image_atoms] + images @ cell, kinds[image_atoms]
    radii = np.array([evaluator.radius for evaluator in evaluators])[image_kinds]
    tree = cKDTree(centres)
    accumulator = BlockAccumulator(pattern, len(several), device)
    volume = abs(np.linalg.det(cell)) / np.prod(shape)
    for blocks in _point_blocks(shape, cell, BLOCK_EDGE):
        n_points = len(blocks.points)
        points = torch.from_numpy(np.ascontiguousarray(blocks.points.T)).to(device)
        for first in range(0, len(blocks.starts), BLOCKS_AT_ONCE):
            chosen = slice(first, first + BLOCKS_AT_ONCE)
            near, counts = blocks.neighbours(tree, radii, chosen)
            groups = accumulator.groups(image_atoms[near], images[near], counts)
            offsets = np.repeat(blocks.corners[chosen], counts, axis=0) - centres[near]
            offsets = torch.from_numpy(np.ascontiguousarray(offsets.T)).to(device)
            near_kinds = image_kinds[near]
            box = np.repeat(np.arange(len(counts)), counts)
            values, bounds = [], []
            for kind, evaluator in enumerate(evaluators):
                members = np.flatnonzero(near_kinds == kind)
                bounds.append(np.searchsorted(box[members], np.arange(len(counts) + 1)))
                displacements = offsets[:, torch.from_numpy(members).to(device)][:, :, None] + points[:, None, :]
                values.append(evaluator(displacements))
            for index, (group, start) in enumerate(zip(groups, blocks.starts[chosen], strict=True)):
                parts = [v[b[index] : b[index + 1]] for v, b in zip(values, bounds, strict=True)]
                orbitals = torch.cat([part.flatten(0, 1) for part in parts if len(part)])
                region = tuple(slice(a, a + n) for a, n in zip(start, blocks.shape, strict=True))
                weights = torch.from_numpy(several[(slice(None), *region)].reshape(-1, n_points) * volume).to(device)
                accumulator.add(group, orbitals[:, None] * weights, orbitals)
    entries = accumulator.entries()
    return entries if potential.ndim == 4 else entries[0]
