"""The FFT grid, and matrix elements of a local potential given on it.

The grid is cut into small blocks. In each block the orbitals that reach it are evaluated once, for all points, and
one dense product per species pair gives their matrix elements: time is linear in the number of atoms, memory does not
grow with it beyond the result. The work is done by torch, on the CPU or a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import spglib
import torch
from ase import Atoms
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from aiida_hamlr.electronic.accumulate import BlockAccumulator
from aiida_hamlr.electronic.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.blocks import BlockPattern
from aiida_hamlr.electronic.harmonics import solid_harmonics
from aiida_hamlr.electronic.units import BOHR

#: Edge of a block, bohr. Smaller blocks waste fewer points outside the orbitals' spheres, larger ones have less
#: overhead for each product.
BLOCK_EDGE = 2.0


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
        self._step = species.step
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
            coefficients = CubicSpline(r, reduced, bc_type=((1, 0.0), 'not-a-knot')).c
            # a last interval of zeros takes all points outside
            tables.append(np.concatenate([coefficients, np.zeros((4, 1))], axis=1))
        self._tables = torch.from_numpy(np.ascontiguousarray(np.stack(tables))).to(device)

    def __call__(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, squared: torch.Tensor) -> torch.Tensor:
        """(n, n_orbitals, points) values at (n, points) displacements from n atoms, bohr; ``squared = r^2``."""
        scaled = squared.sqrt() / self._step
        index = scaled.to(torch.int32).clamp_(max=self._last)
        remainder = (scaled - index) * self._step
        flat_index = index.flatten()
        harmonics = solid_harmonics(max(self._momenta), x, y, z)
        values = torch.empty(len(x), self.n_orbitals, x.shape[1], dtype=x.dtype, device=x.device)
        row = 0
        for l, table in zip(self._momenta, self._tables, strict=True):
            radial = table[0].index_select(0, flat_index).view_as(x)
            for coefficient in table[1:]:
                radial.mul_(remainder).add_(coefficient.index_select(0, flat_index).view_as(x))
            for harmonic in harmonics[l]:
                torch.mul(radial, harmonic, out=values[:, row])
                row += 1
        return values


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


def _grid_blocks(shape: tuple[int, int, int], cell: np.ndarray, edge: float) -> Iterator[tuple[slice, slice, slice]]:
    counts = [
        min(n, max(1, round(float(np.linalg.norm(vector)) / edge))) for n, vector in zip(shape, cell, strict=True)
    ]
    edges = [np.linspace(0, n, count + 1).round().astype(int) for n, count in zip(shape, counts, strict=True)]
    for a in range(counts[0]):
        for b in range(counts[1]):
            for c in range(counts[2]):
                yield tuple(slice(int(e[p]), int(e[p + 1])) for e, p in zip(edges, (a, b, c), strict=True))


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
    symbols = atoms.get_chemical_symbols()
    elements = sorted(set(symbols))
    kinds = np.searchsorted(elements, symbols)
    evaluators = [OrbitalEvaluator(basis[element], device) for element in elements]
    cell, positions = atoms.cell[:] / BOHR, atoms.positions / BOHR
    reach = max(evaluator.radius for evaluator in evaluators)
    image_atoms, images = _images_near_cell(positions, cell, reach)
    centres = positions[image_atoms] + images @ cell
    tree = cKDTree(centres)
    image_kinds = kinds[image_atoms]
    radii = np.array([evaluator.radius for evaluator in evaluators])[image_kinds]
    on_device = [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in (centres, image_atoms, images)]
    accumulator = BlockAccumulator(pattern, kinds, len(several), device)
    volume = abs(np.linalg.det(cell)) / np.prod(shape)
    axes = [np.arange(n)[:, None] / n * vector for n, vector in zip(shape, cell, strict=True)]
    for block in _grid_blocks(shape, cell, BLOCK_EDGE):
        x, y, z = (axis[part] for axis, part in zip(axes, block, strict=True))
        points = (x[:, None, None] + y[None, :, None] + z[None, None, :]).reshape(-1, 3)
        middle = points.mean(axis=0)
        half = np.linalg.norm(points - middle, axis=1).max()
        near = np.array(tree.query_ball_point(middle, reach + half), dtype=np.int64)
        near = near[np.linalg.norm(centres[near] - middle, axis=1) < radii[near] + half]
        points_t = torch.from_numpy(np.ascontiguousarray(points.T)).to(device)
        segments, values = [], []
        for kind in np.unique(image_kinds[near]):
            chosen = torch.from_numpy(np.sort(near[image_kinds[near] == kind])).to(device)
            evaluated = _evaluate(evaluators[kind], points_t, on_device[0][chosen])
            if evaluated is not None:
                kept, orbitals = evaluated
                segments.append((int(kind), on_device[1][chosen[kept]], on_device[2][chosen[kept]]))
                values.append(orbitals)
        if segments:
            orbitals = torch.cat(values)
            weights = torch.from_numpy(several[(slice(None), *block)].reshape(len(several), -1) * volume).to(device)
            accumulator.add(segments, [orbitals * weight for weight in weights], orbitals)
    entries = accumulator.entries()
    return entries if potential.ndim == 4 else entries[0]


def _evaluate(evaluator: OrbitalEvaluator, points: torch.Tensor, centres: torch.Tensor):
    """Which of the centres reach the points, and (orbitals, points) values of theirs; None if none does."""
    x, y, z = (points[axis] - centres[:, axis, None] for axis in range(3))
    squared = x * x + y * y + z * z
    kept = torch.nonzero(squared.amin(dim=1) < evaluator.radius**2).squeeze(1)
    if not len(kept):
        return None
    if len(kept) < len(centres):
        x, y, z, squared = (array[kept] for array in (x, y, z, squared))
    return kept, evaluator(x, y, z, squared).flatten(0, 1)
