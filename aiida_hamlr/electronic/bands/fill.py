"""Order of elimination of sparse matrices between atoms, and what their factorisation costs.

Both follow from the graph of the atoms alone: two atoms are neighbours if a block of the matrix couples them. Atoms are
eliminated in the order of nested dissection (A. George, SIAM J. Numer. Anal. 10, 345 (1973)), guided by their
positions: the structure is cut in halves, the atoms of one half that couple to the other come last, and so on within
both halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from aiida_hamlr.electronic.matrices.blocks import BlockPattern

#: Parts of fewer atoms are not cut.
SMALLEST_PART = 48

#: Places of a cut that are tried along every axis, as fractions of the atoms of a part.
_CUTS = (0.4, 0.5, 0.6)


@dataclass(frozen=True)
class FactorCost:
    """Cost of a factorisation ``L D L^T`` of a real symmetric matrix.

    Parameters
    ----------
    entries : float
        Nonzero elements of L, its diagonal blocks included.
    flops : float
        Additions and multiplications.
    """

    entries: float
    flops: float


def atom_graph(pattern: BlockPattern) -> sparse.csr_array:
    """(N, N) matrix with ones where a block couples two atoms, in whatever image, and on the diagonal."""
    n_atoms = len(pattern.n_orbitals)
    pairs = np.unique(pattern.first * n_atoms + pattern.second)
    graph = sparse.csr_array((np.ones(len(pairs), dtype=np.int8), divmod(pairs, n_atoms)), shape=(n_atoms, n_atoms))
    graph.sort_indices()
    return graph


def elimination_order(graph: sparse.csr_array, coordinates: np.ndarray) -> np.ndarray:
    """Atoms in the order of nested dissection.

    Parameters
    ----------
    graph : (N, N) sparse array
        As `atom_graph` makes it.
    coordinates : (N, 3) array
        Along the cell vectors, in units of length: fractional coordinates within the cell times the lengths of the
        vectors.

    Returns
    -------
    (N,) int array
    """
    result: list[np.ndarray] = []
    # parts still to be cut (True) or ready (False); the last one comes last in the order
    stack = [(np.arange(graph.shape[0]), True)]
    while stack:
        part, divisible = stack.pop()
        cut = _best_cut(graph, coordinates, part) if divisible and len(part) > SMALLEST_PART else None
        if cut is None:
            result.append(part)
            continue
        one, other, separator = cut
        # popped in the reverse order of elimination
        stack += [(one, True), (other, True), (separator, False)]
    return np.concatenate(result[::-1])


def _best_cut(graph, coordinates, part):
    """Two parts without coupling and the atoms between them; None if no cut leaves two parts."""
    best, smallest = None, np.inf
    within = graph[part][:, part]
    for axis in np.argsort(-np.ptp(coordinates[part], axis=0)):
        order = np.argsort(coordinates[part, axis], kind='stable')
        for fraction in _CUTS:
            low = np.zeros(len(part), dtype=bool)
            low[order[: int(fraction * len(part))]] = True
            touched = within @ np.stack([low, ~low], axis=1).astype(np.int32) > 0
            for side, reached in ((low, touched[:, 1]), (~low, touched[:, 0])):
                separator = side & reached
                rest = side & ~reached
                size = separator.sum()
                # a cut pays if both parts together are not much smaller than the separator
                if rest.any() and size < smallest and min(rest.sum(), (~side).sum()) > 0.05 * len(part):
                    best, smallest = (part[rest], part[~side], part[separator]), size
    return best


def factor_cost(graph: sparse.csr_array, order: np.ndarray, n_orbitals: np.ndarray) -> FactorCost:
    """Elements of L and operations, from the atoms that every atom is coupled to when its turn comes.

    Parameters
    ----------
    graph : (N, N) sparse array
        As `atom_graph` makes it.
    order : (N,) int array
        As `elimination_order` makes it.
    n_orbitals : (N,) int array
        Of every atom.
    """
    n_atoms = len(order)
    position = np.empty(n_atoms, dtype=np.int64)
    position[order] = np.arange(n_atoms)
    sizes = np.asarray(n_orbitals, dtype=float)[order]
    waiting: list[list[np.ndarray]] = [[] for _ in range(n_atoms)]
    entries = flops = 0.0
    marked = np.zeros(n_atoms, dtype=bool)
    for step, atom in enumerate(order):
        neighbours = position[graph.indices[graph.indptr[atom] : graph.indptr[atom + 1]]]
        for each in (neighbours, *waiting[step]):
            marked[each] = True
        waiting[step] = []
        marked[: step + 1] = False
        below = step + 1 + np.flatnonzero(marked[step + 1 :])
        marked[below] = False
        own, rest = sizes[step], sizes[below].sum()
        entries += own * (own + 1) / 2 + own * rest
        flops += own**3 / 3 + own**2 * rest + own * rest**2
        if len(below):
            waiting[below[0]].append(below)
    return FactorCost(entries, flops)


def dense_cost(dimension: int) -> FactorCost:
    """Cost for a matrix without zeros; LAPACK stores both triangles, which is counted."""
    return FactorCost(float(dimension) ** 2, dimension**3 / 3)
