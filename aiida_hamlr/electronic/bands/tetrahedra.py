"""The linear tetrahedron method for densities of states.

Lehmann, Taut, Phys. Status Solidi B 54, 469 (1972); Blöchl, Jepsen, Andersen, Phys. Rev. B 49, 16223 (1994). Each
parallelepiped of the mesh is cut into six tetrahedra about its shortest diagonal; in each, energies and projections are
linear.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from scipy import sparse

#: Pairs of a tetrahedron and an energy that are computed at once.
_AT_ONCE = 400_000

#: Tetrahedra whose energies differ by less than this number of steps are spread over the neighbouring energies.
_NARROW = 2.0


def mesh_tetrahedra(mesh, reciprocal_vectors: np.ndarray) -> np.ndarray:
    """Corners of the tetrahedra of a periodic mesh.

    Parameters
    ----------
    mesh : three int
        Divisions.
    reciprocal_vectors : (3, 3) array
        Rows, 1/Å; the shortest diagonal of a parallelepiped is the common edge of its tetrahedra.

    Returns
    -------
    (6 n1 n2 n3, 4) int array
        Flat indices into the full mesh (row-major).
    """
    mesh = np.asarray(mesh)
    steps = np.asarray(reciprocal_vectors) / mesh[:, None]
    corners = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    direction = corners[np.argmin(np.linalg.norm(corners @ steps, axis=1))]
    start = np.where(direction < 0, 1, 0)
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in mesh), indexing='ij'), -1).reshape(-1, 1, 3)
    result = []
    for order in permutations(range(3)):
        corner = start.copy()
        path = [corner.copy()]
        for axis in order:
            corner[axis] += direction[axis]
            path.append(corner.copy())
        points = (cells + np.array(path)) % mesh
        result.append(np.ravel_multi_index(np.moveaxis(points, -1, 0), mesh))
    return np.concatenate(result)


def tetrahedron_weights(levels: np.ndarray, tetrahedra: np.ndarray, energies: np.ndarray) -> sparse.csr_array:
    """Weights whose product with values at the k-points is their density of states.

    Parameters
    ----------
    levels : (nk, nb) array
        Bands on the full mesh, eV.
    tetrahedra : (nt, 4) int array
        As from `mesh_tetrahedra`.
    energies : (ne,) array
        Equally spaced, eV.

    Returns
    -------
    (ne, nk * nb) sparse array
        1/eV; a row's sum is the density of states of one spin, per cell. Tetrahedra narrower than two steps count as a
        whole at the two energies that are nearest to their mean.
    """
    levels, energies = np.asarray(levels, dtype=float), np.asarray(energies, dtype=float)
    n_bands, first, step = levels.shape[1], energies[0], energies[1] - energies[0]
    result = sparse.csr_array((len(energies), levels.size))
    per_band = max(1, _AT_ONCE // max(1, len(tetrahedra)))
    for start in range(0, n_bands, per_band):
        bands = np.arange(start, min(start + per_band, n_bands))
        columns = (tetrahedra[:, None, :] * n_bands + bands[None, :, None]).reshape(-1, 4)
        corners = levels.ravel()[columns]
        order = np.argsort(corners, axis=1)
        corners, columns = np.take_along_axis(corners, order, 1), np.take_along_axis(columns, order, 1)
        narrow = corners[:, 3] - corners[:, 0] < _NARROW * step
        low = np.clip(np.ceil((corners[:, 0] - first) / step), 0, len(energies)).astype(int)
        high = np.clip(np.floor((corners[:, 3] - first) / step) + 1, 0, len(energies)).astype(int)
        counts = np.where(narrow, 0, np.maximum(high - low, 0))
        ends = np.cumsum(counts)
        position = 0
        while position < len(counts):
            done = ends[position - 1] if position else 0
            stop = max(position + 1, int(np.searchsorted(ends, done + _AT_ONCE, side='right')))
            part = slice(position, stop)
            owner = np.repeat(np.arange(position, stop), counts[part])
            rows = np.arange(len(owner)) - np.repeat(ends[part] - counts[part] - done, counts[part]) + low[owner]
            values = _cut(corners[owner], energies[rows])
            result = result + _collect(rows, columns[owner], values, result.shape)
            position = stop
        rows, columns, values = _spread(corners[narrow], columns[narrow], first, step, len(energies))
        result = result + _collect(rows, columns, values, result.shape)
    return result / len(tetrahedra)


def _collect(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape) -> sparse.csr_array:
    return sparse.coo_array((values.ravel(), (np.repeat(rows, 4), columns.ravel())), shape=shape).tocsr()


def _spread(corners: np.ndarray, columns: np.ndarray, first: float, step: float, n_energies: int):
    """Whole tetrahedra at the two energies nearest to their mean."""
    place = (corners.mean(axis=1) - first) / step
    below = np.floor(place).astype(int)
    rows = np.concatenate([below, below + 1])
    share = np.concatenate([1 - (place - below), place - below]) / (4 * step)
    inside = (rows >= 0) & (rows < n_energies)
    columns = np.concatenate([columns, columns])[inside]
    return rows[inside], columns, np.repeat(share[inside, None], 4, axis=1)


def _cut(e: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """(n, 4) weights of the corners, of ascending energies e (n, 4), in the plane of one energy each, 1/eV."""

    def f(a, b):
        """Where the plane cuts the edge from b to a: 0 at b, 1 at a."""
        return (energies - e[:, b]) / (e[:, a] - e[:, b])

    weights = np.zeros(e.shape)
    with np.errstate(divide='ignore', invalid='ignore'):
        first = (energies < e[:, 1])[:, None]
        g = 3 * f(1, 0) * f(2, 0) / (e[:, 3] - e[:, 0])
        found = np.stack([f(0, 1) + f(0, 2) + f(0, 3), f(1, 0), f(2, 0), f(3, 0)], axis=1) * (g / 3)[:, None]
        weights = np.where(first, found, weights)
        last = (energies >= e[:, 2])[:, None]
        g = 3 * f(1, 3) * f(2, 3) / (e[:, 3] - e[:, 0])
        found = np.stack([f(0, 3), f(1, 3), f(2, 3), f(3, 0) + f(3, 1) + f(3, 2)], axis=1) * (g / 3)[:, None]
        weights = np.where(last & ~first, found, weights)
        a, b = 3 * f(1, 2) * f(2, 0) / (e[:, 3] - e[:, 0]), 3 * f(2, 1) * f(1, 3) / (e[:, 3] - e[:, 0])
        both = a + b
        found = [f(0, 3) * both + f(0, 2) * a, f(1, 2) * both + f(1, 3) * b]
        found += [f(2, 1) * both + f(2, 0) * a, f(3, 0) * both + f(3, 1) * b]
        weights = np.where(first | last, weights, np.stack(found, axis=1) / 3)
    return np.nan_to_num(weights, posinf=0.0, neginf=0.0)
