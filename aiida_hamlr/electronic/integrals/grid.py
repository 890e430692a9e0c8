"""Matrix elements of local potentials given on the FFT grid.

The grid is cut into small blocks. In each block the orbitals that reach it are evaluated once, for all points, and
one dense product per species pair gives their matrix elements: time is linear in the number of atoms, memory does not
grow with it beyond the result.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from aiida_hamlr.electronic.arrays import arrays_on
from aiida_hamlr.electronic.integrals.orbital_values import OrbitalEvaluator
from aiida_hamlr.electronic.integrals.point_blocks import images_near_cell, point_blocks
from aiida_hamlr.electronic.matrices.accumulate import BlockAccumulator
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.resources import GIGABYTE, check_memory, choose_device, items_at_once
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR

#: Edge of a block, bohr. Smaller blocks waste fewer points outside the orbitals' spheres, larger ones have less
#: overhead for each product.
BLOCK_EDGE = 1.7

#: Grid points of all atoms of a batch of blocks, about: few enough for the cache.
BATCH_SIZE = {'cpu': 40_000, 'cuda': 4_000_000}

#: Bytes of temporary arrays for one point of one atom of a batch.
BYTES_PER_POINT = 500

#: Arrays as long as a result that adding it up takes: the sums and the result.
ARRAYS_PER_RESULT = 2

#: Where the atom of an empty place is, bohr.
FAR_AWAY = 1e6


def _layouts(basis: Basis, labels) -> dict[str, tuple[int, int]]:
    """Evaluator of every species, and its index within it; species with equal shells share one."""
    kinds, members, result = {}, Counter(), {}
    for element in sorted(set(labels)):
        kind = kinds.setdefault((basis[element].angular_momenta, basis[element].step), len(kinds))
        result[element] = kind, members[kind]
        members[kind] += 1
    return result


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
        Taken as periodic in all three directions.
    basis : Basis
        Orbitals of every element.
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


def _n_values(basis: Basis, labels: list[str]) -> float:
    """Volume of the spheres of all orbitals, bohr^3: with the density of grid points, the values to be computed."""
    return sum(4 / 3 * np.pi * basis[label].cutoff_radius ** 3 * basis[label].n_orbitals for label in labels)


def _sum_over_grid(
    atoms: Atoms, basis: Basis, pattern: BlockPattern, several: np.ndarray, device: str, memory_limit: float | None
) -> np.ndarray:
    """`local_matrix` of potentials (n, n1, n2, n3), all at once."""
    shape = several.shape[1:]
    labels = species_labels(atoms)
    layouts = _layouts(basis, labels)
    kinds = np.array([layouts[label][0] for label in labels])
    members = np.array([layouts[label][1] for label in labels], dtype=np.int32)
    cell, positions = atoms.cell[:] / BOHR, atoms.positions / BOHR
    volume = abs(np.linalg.det(cell)) / np.prod(shape)
    arrays = arrays_on(device, _n_values(basis, labels) / volume)
    evaluators = [
        OrbitalEvaluator([basis[element] for element in layouts if layouts[element][0] == kind], arrays)
        for kind in range(kinds.max() + 1)
    ]
    radii = np.array([basis[label].cutoff_radius for label in labels])
    image_atoms, images = images_near_cell(positions, cell, radii.max())
    order = np.argsort(kinds[image_atoms], kind='stable')
    image_atoms, images = image_atoms[order], images[order]
    centres = positions[image_atoms] + images @ cell
    tree = cKDTree(centres)
    accumulator = BlockAccumulator(pattern, kinds, arrays, len(several))
    batch_size = items_at_once(BYTES_PER_POINT, memory_limit, BATCH_SIZE[device])
    for blocks in point_blocks(shape, cell, BLOCK_EDGE):
        points = arrays.array(np.ascontiguousarray(blocks.points.T))
        for batch in blocks.batches(tree, radii[image_atoms], kinds[image_atoms], batch_size):
            chosen = image_atoms[batch.atoms]
            places = accumulator.places(chosen, images[batch.atoms], batch.blocks, batch.slots, batch.shape)
            # an empty place has an atom far away
            offsets = np.full((*batch.shape, 3), FAR_AWAY)
            offsets[batch.blocks, batch.slots] = blocks.corners[batch.chosen][batch.blocks] - centres[batch.atoms]
            offsets = arrays.array(np.ascontiguousarray(offsets.transpose(2, 0, 1)))
            batch_members = np.zeros(batch.shape, dtype=np.int32)
            batch_members[batch.blocks, batch.slots] = members[chosen]
            batch_members = arrays.array(batch_members)
            n_blocks, n_points = batch.shape[0], points.shape[1]
            sizes = [n * evaluator.n_orbitals for n, evaluator in zip(batch.counts, evaluators, strict=True)]
            orbitals = arrays.empty(n_blocks, sum(sizes), n_points)
            first = row = 0
            for evaluator, n, size in zip(evaluators, batch.counts, sizes, strict=True):
                if not n:
                    continue
                kind, rows = slice(first, first + n), slice(row, row + size)
                displacements = offsets[:, :, kind, None] + points[:, None, None, :]
                part = orbitals[:, rows].reshape(n_blocks, n, evaluator.n_orbitals, n_points)
                evaluator(displacements, batch_members[:, kind], part)
                first, row = kind.stop, rows.stop
            regions = blocks.regions(batch.chosen)
            weights = np.stack([several[(slice(None), *region)].reshape(-1, n_points) for region in regions])
            weights = arrays.array(weights * volume)[:, :, None]
            accumulator.add(places, batch.counts, lambda rows, o=orbitals, w=weights: o[:, None, rows] * w, orbitals)
    return accumulator.entries()
