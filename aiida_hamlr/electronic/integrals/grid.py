"""The FFT grid, and matrix elements of a local potential given on it.

The grid is cut into small blocks. In each block the orbitals that reach it are evaluated once, for all points, and
one dense product per species pair gives their matrix elements: time is linear in the number of atoms, memory does not
grow with it beyond the result. The work is done by torch, on the CPU or a GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, combinations_with_replacement

import numpy as np
import spglib
import torch
from ase import Atoms
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.matrices.accumulate import BlockAccumulator
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.resources import GIGABYTE, check_memory, choose_device, items_at_once
from aiida_hamlr.electronic.species import species_labels, species_numbers
from aiida_hamlr.electronic.units import BOHR

#: Edge of a block, bohr. Smaller blocks waste fewer points outside the orbitals' spheres, larger ones have less
#: overhead for each product.
BLOCK_EDGE = 1.7

#: Grid points of all atoms of a batch of blocks, about: few enough for the cache.
BATCH_SIZE = {'cpu': 40_000, 'cuda': 4_000_000}

#: Bytes of temporary arrays for one point of one atom of a batch.
BYTES_PER_POINT = 500

#: Arrays as long as a result that adding it up takes: sums, their mirror images and the result.
ARRAYS_PER_RESULT = 4

#: Blocks whose neighbours are looked for at once.
SEARCHED_AT_ONCE = 2000

#: Where the atom of an empty place is, bohr.
FAR_AWAY = 1e6

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
    vectors = reciprocal(cell)
    bounds = (np.sqrt(ecutrho) * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int) + 1
    sizes = []
    for axis in range(3):
        u, v = (a for a in range(3) if a != axis)
        span_u, span_v = (np.arange(-bounds[a], bounds[a] + 1) for a in (u, v))
        plane = span_u[:, None, None] * vectors[u] + span_v[None, :, None] * vectors[v]
        index = bounds[axis]
        while index and (np.sum((plane + index * vectors[axis]) ** 2, axis=-1)).min() > ecutrho:
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
    found = spglib.get_symmetry((atoms.cell[:], atoms.get_scaled_positions(), species_numbers(atoms)), symprec=1e-4)
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
    """Values of the orbitals of elements with equal shells at points.

    ``R(r) / r^l`` is a cubic spline on the basis' own mesh, multiplied by solid harmonics: no angles, no division.

    Parameters
    ----------
    species : list of SpeciesBasis
        With the same angular momenta and mesh.
    device : str
    """

    def __init__(self, species: list[SpeciesBasis], device: str = 'cpu'):
        self.n_orbitals = species[0].n_orbitals
        self._momenta = species[0].angular_momenta
        self._slices = species[0].shell_slices
        self._inverse_step = 1.0 / species[0].step
        self._last = int(np.ceil(max(each.cutoff_radius for each in species) / species[0].step))
        # coefficients of every power of every shell, one element after the other: (4, shells, elements * intervals)
        tables = np.concatenate([self._splines(each) for each in species], axis=2)
        self._table = torch.from_numpy(tables * NORMALISATION).to(device)
        self._coefficients = [torch.from_numpy(_monomials(l)[1]).to(device) for l in range(2, max(self._momenta) + 1)]

    def _splines(self, species: SpeciesBasis) -> np.ndarray:
        """(4, shells, intervals) coefficients in steps of the mesh; the last interval is zero, for points outside."""
        r = species.step * np.arange(self._last + 1)
        result = np.zeros((4, len(species.shells), self._last + 1))
        for index, shell in enumerate(species.shells):
            values = np.zeros(self._last + 1)
            n = min(len(values), len(shell.radial))
            values[:n] = np.where(r[:n] < shell.cutoff_radius, shell.radial[:n], 0.0)
            reduced = np.empty_like(values)
            reduced[1:] = values[1:] / r[1:] ** shell.angular_momentum
            # even in r: a parabola through the next two points gives the limit at the origin
            reduced[0] = values[0] if shell.angular_momentum == 0 else (4.0 * reduced[1] - reduced[2]) / 3.0
            last = int(np.ceil(species.cutoff_radius / species.step))
            spline = CubicSpline(r[: last + 1], reduced[: last + 1], bc_type=((1, 0.0), 'not-a-knot')).c
            result[:, index, :last] = spline * species.step ** np.array([[3.0], [2.0], [1.0], [0.0]])
        return result

    def __call__(self, displacements: torch.Tensor, members: torch.Tensor, out: torch.Tensor):
        """Write the values at displacements from n atoms.

        Parameters
        ----------
        displacements : (3, boxes, n, points) tensor
            bohr.
        members : (boxes, n) int tensor
            Which of the elements every atom is.
        out : (boxes, n, n_orbitals, points) tensor
        """
        x, y, z = displacements
        scaled = torch.mul(x, x).addcmul_(y, y).addcmul_(z, z).sqrt_().mul_(self._inverse_step)
        scaled.clamp_(max=self._last)
        index = scaled.to(torch.int32)
        remainder = scaled.sub_(index).view(-1)
        index = index.add_(members[..., None] * (self._last + 1)).view(-1)
        # coefficients of one power of all shells, (shells, points of all atoms), the highest first
        radial, coefficients = displacements.new_empty(2, len(self._momenta), len(index))
        for power, table in enumerate(self._table):
            for row, coefficient in zip(coefficients if power else radial, table, strict=True):
                torch.index_select(coefficient, 0, index, out=row)
            if power:
                torch.addcmul(coefficients, radial, remainder, out=radial)
        radial = radial.view(-1, *x.shape)
        harmonics = self._harmonics(displacements)
        for l, rows, factor in zip(self._momenta, self._slices, radial, strict=True):
            torch.mul(factor, harmonics[l], out=out[:, :, rows].permute(2, 0, 1, 3))

    def _harmonics(self, displacements: torch.Tensor) -> list:
        """``r^l Y_lm`` for every l over ``sqrt(3 / 4 pi)``, (2l + 1, boxes, n, points); those of l = 1 are x, y, z."""
        result = [torch.full((1, 1, 1, 1), 1 / np.sqrt(3), dtype=displacements.dtype, device=displacements.device)]
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


@dataclass(frozen=True)
class _Batch:
    """Boxes of a batch and the atoms that reach them.

    Parameters
    ----------
    chosen : (n,) int array
        Which boxes.
    atoms, blocks, slots : (pairs,) int array
        Atom or image, box within the batch, and place within the box.
    counts : list of int
        Places for atoms of every kind, the same for all boxes.
    """

    chosen: np.ndarray
    atoms: np.ndarray
    blocks: np.ndarray
    slots: np.ndarray
    counts: list[int]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of boxes, and of places of each."""
        return len(self.chosen), sum(self.counts)


def _layouts(basis: Basis, labels) -> dict[str, tuple[int, int]]:
    """Of every species, which evaluator it belongs to and its number in there: equal shells share one."""
    kinds, members, result = {}, Counter(), {}
    for element in sorted(set(labels)):
        kind = kinds.setdefault((basis[element].angular_momenta, basis[element].step), len(kinds))
        result[element] = kind, members[kind]
        members[kind] += 1
    return result


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

    def regions(self, chosen: np.ndarray) -> list[tuple[slice, ...]]:
        """Slices of the grid of some of the boxes."""
        return [
            tuple(slice(int(a), int(a + n)) for a, n in zip(start, self.shape, strict=True))
            for start in self.starts[chosen]
        ]

    def batches(self, tree: cKDTree, radii: np.ndarray, kinds: np.ndarray, size: int) -> Iterator[_Batch]:
        """Batches of boxes with similar numbers of atoms that reach them; boxes that none reaches are left out.

        Parameters
        ----------
        tree : cKDTree
            Of the atoms and images, ordered by kind.
        radii : (atoms,) array
            Of their orbitals, bohr.
        kinds : (atoms,) int array
        size : int
            Points of all atoms of a batch, about.
        """
        parts = [
            self._neighbours(tree, radii, np.arange(start, min(start + SEARCHED_AT_ONCE, len(self.starts))))
            for start in range(0, len(self.starts), SEARCHED_AT_ONCE)
        ]
        atoms, boxes = (np.concatenate(each) for each in zip(*parts, strict=True))
        counts = np.zeros((len(self.starts), kinds.max() + 1), dtype=np.int64)
        np.add.at(counts, (boxes, kinds[atoms]), 1)
        bounds = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
        order = np.lexsort(counts.T)
        order = order[counts[order].any(axis=1)]
        start = 0
        while start < len(order):
            n_boxes = int(max(1, size // (counts[order[start]].sum() * len(self.points))))
            chosen = order[start : start + n_boxes]
            start += n_boxes
            n_places = counts[chosen].max(axis=0)
            pairs = np.concatenate([np.arange(bounds[box], bounds[box + 1]) for box in chosen])
            blocks = np.repeat(np.arange(len(chosen)), counts[chosen].sum(axis=1))
            pair_kinds = kinds[atoms[pairs]]
            # atoms of a box are ordered by kind: count from the first of the kind in the box
            firsts = np.cumsum(counts[chosen], axis=1) - counts[chosen]
            within = np.arange(len(pairs)) - np.searchsorted(blocks, blocks) - firsts[blocks, pair_kinds]
            slots = (np.cumsum(n_places) - n_places)[pair_kinds] + within
            yield _Batch(chosen, atoms[pairs], blocks, slots, n_places.tolist())

    def _neighbours(self, tree: cKDTree, radii: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Atoms that reach the chosen boxes, one box after the other, and the box of each."""
        middle = self.points.mean(axis=0)
        centred = self.points - middle
        squares = (centred**2).sum(axis=1)
        outer, inner = np.sqrt(squares.max()), np.sqrt(squares.min())
        middles = self.corners[chosen] + middle
        found = tree.query_ball_point(middles, radii.max() + outer, return_sorted=True)
        counts = np.array([len(each) for each in found])
        atoms = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=counts.sum())
        boxes = np.repeat(np.arange(len(found)), counts)
        offsets = tree.data[atoms] - middles[boxes]
        distances = (offsets**2).sum(axis=1)
        near = np.sqrt(distances) < radii[atoms] - inner
        unclear = np.flatnonzero(~near)
        for start in range(0, len(unclear), CHECKED_AT_ONCE):
            part = unclear[start : start + CHECKED_AT_ONCE]
            smallest = (squares - 2.0 * (offsets[part] @ centred.T)).min(axis=1)
            near[part] = smallest + distances[part] < radii[atoms[part]] ** 2
        return atoms[near], chosen[boxes[near]]


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
    atoms: Atoms,
    basis: Basis,
    pattern: BlockPattern,
    potential: np.ndarray,
    device: str = 'cpu',
    memory_limit: float | None = None,
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
        'auto', 'cpu' or 'cuda'.
    memory_limit : float, optional
        GB; what is done at once, points and potentials, is chosen so that all arrays stay below it.

    Returns
    -------
    (M,) or (n, M) array
        eV.

    Raises
    ------
    ValueError
        If the potential is not finite, or not given on a three-dimensional grid; if the result does not fit in the
        memory limit, or there is no such device.
    """
    potential = np.asarray(potential, dtype=np.float64)
    if potential.ndim not in (3, 4) or not np.isfinite(potential).all():
        raise ValueError(f'the potential must be finite, on a three-dimensional grid; its shape is {potential.shape}')
    device = choose_device(device)
    several = potential.reshape(-1, *potential.shape[-3:])
    result_bytes = 8 * pattern.n_entries
    check_memory((len(several) + ARRAYS_PER_RESULT - 1) * result_bytes, memory_limit, 'the matrix of the potential')
    if memory_limit is not None and len(several) > 1:
        free = memory_limit * GIGABYTE - len(several) * result_bytes
        at_once = int(free // ((ARRAYS_PER_RESULT - 1) * result_bytes))
        if at_once < len(several):
            entries = np.empty((len(several), pattern.n_entries))
            for start in range(0, len(several), at_once):
                part = slice(start, start + at_once)
                entries[part] = _sum_over_grid(atoms, basis, pattern, several[part], device, memory_limit)
            return entries
    entries = _sum_over_grid(atoms, basis, pattern, several, device, memory_limit)
    return entries if potential.ndim == 4 else entries[0]


def _sum_over_grid(
    atoms: Atoms, basis: Basis, pattern: BlockPattern, several: np.ndarray, device: str, memory_limit: float | None
) -> np.ndarray:
    """`local_matrix` of potentials (n, n1, n2, n3), all at once."""
    shape = several.shape[1:]
    labels = species_labels(atoms)
    layouts = _layouts(basis, labels)
    kinds = np.array([layouts[label][0] for label in labels])
    members = np.array([layouts[label][1] for label in labels], dtype=np.int32)
    evaluators = [
        OrbitalEvaluator([basis[element] for element in layouts if layouts[element][0] == kind], device)
        for kind in range(kinds.max() + 1)
    ]
    cell, positions = atoms.cell[:] / BOHR, atoms.positions / BOHR
    radii = np.array([basis[label].cutoff_radius for label in labels])
    image_atoms, images = _images_near_cell(positions, cell, radii.max())
    order = np.argsort(kinds[image_atoms], kind='stable')
    image_atoms, images = image_atoms[order], images[order]
    centres = positions[image_atoms] + images @ cell
    tree = cKDTree(centres)
    accumulator = BlockAccumulator(pattern, kinds, len(several), device)
    volume = abs(np.linalg.det(cell)) / np.prod(shape)
    batch_size = items_at_once(BYTES_PER_POINT, memory_limit, BATCH_SIZE[device])
    for blocks in _point_blocks(shape, cell, BLOCK_EDGE):
        points = torch.from_numpy(np.ascontiguousarray(blocks.points.T)).to(device)
        for batch in blocks.batches(tree, radii[image_atoms], kinds[image_atoms], batch_size):
            chosen = image_atoms[batch.atoms]
            places = accumulator.places(chosen, images[batch.atoms], batch.blocks, batch.slots, batch.shape)
            # an empty place has an atom far away
            offsets = np.full((*batch.shape, 3), FAR_AWAY)
            offsets[batch.blocks, batch.slots] = blocks.corners[batch.chosen][batch.blocks] - centres[batch.atoms]
            offsets = torch.from_numpy(np.ascontiguousarray(offsets.transpose(2, 0, 1))).to(device)
            batch_members = np.zeros(batch.shape, dtype=np.int32)
            batch_members[batch.blocks, batch.slots] = members[chosen]
            batch_members = torch.from_numpy(batch_members).to(device)
            n_blocks, n_points = batch.shape[0], points.shape[1]
            sizes = [n * evaluator.n_orbitals for n, evaluator in zip(batch.counts, evaluators, strict=True)]
            orbitals = points.new_empty(n_blocks, sum(sizes), n_points)
            first = 0
            for evaluator, n, part in zip(evaluators, batch.counts, orbitals.split(sizes, dim=1), strict=True):
                if not n:
                    continue
                kind = slice(first, first + n)
                displacements = offsets[:, :, kind, None] + points[:, None, None, :]
                evaluator(displacements, batch_members[:, kind], part.unflatten(1, (n, evaluator.n_orbitals)))
                first += n
            regions = blocks.regions(batch.chosen)
            weights = np.stack([several[(slice(None), *region)].reshape(-1, n_points) for region in regions])
            weights = torch.from_numpy(weights * volume).to(device)[:, :, None]
            accumulator.add(places, batch.counts, lambda rows, o=orbitals, w=weights: o[:, None, rows] * w, orbitals)
    return accumulator.entries()
