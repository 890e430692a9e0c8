"""Band edges over a mesh and the standard path together, in the same way for references and predictions."""

from __future__ import annotations

import numpy as np

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, band_edges
from aiida_hamlr.electronic.bands.kpoints import BandPath, band_path, full_mesh_index
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.mesh import MeshSolution
from aiida_hamlr.electronic.bands.occupations import filled_bands, frontier_levels
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: Every how many points of the path are computed first; between them, only those around extrema.
STRIDE = 6

#: Extrema this far from the edge are refined, eV: the curvature between two points of the first pass is less.
WINDOW = 0.3

#: Orbitals above which only the special points of the path are computed, where each point takes seconds.
LARGEST_REFINED = 1000


def find_edges(hamiltonian: Hamiltonian, mesh: MeshSolution) -> BandAttributes:
    """Fermi level, gap and band edges over a mesh and the standard band path of the structure.

    A mesh alone misses edges between its points, and at special points that it does not contain, as X on odd meshes.
    Of the path, special points and every sixth point are computed, then the points around the extrema near the
    edges, so that the edges are those of the whole path at a fraction of its cost.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the overlap and the matrix of ``mesh``.
    mesh : MeshSolution
        Its filling says which bands are occupied.

    Returns
    -------
    BandAttributes
        Energies in eV. Of the mesh alone if neither all states nor those of a spin have a gap on it, or no symmetry and
        thus no path is found.
    """
    on_mesh = band_edges(hamiltonian, mesh)
    is_insulator = on_mesh.gap and mesh.filling.n_occupied is not None
    if not (is_insulator or any(on_mesh.spin_gaps or ())):
        return on_mesh
    try:
        path = band_path(hamiltonian.atoms)
    except ValueError:
        return on_mesh
    kpoints, energies = _sample_path(hamiltonian, mesh, path)
    return band_edges(hamiltonian, mesh, kpoints, energies)


def _sample_path(hamiltonian: Hamiltonian, mesh: MeshSolution, path: BandPath) -> tuple[np.ndarray, np.ndarray]:
    """Points of a path that matter for the edges, and the bands there."""
    filled = filled_bands(mesh.eigenvalues, mesh.filling)
    # Of a half-metal the other spin may need more bands than that with the gap.
    n_bands = mesh.eigenvalues.shape[-1] if None in filled else max(filled) + 1
    special = np.array([bool(label) for label in path.labels])
    refines = hamiltonian.n_orbitals <= LARGEST_REFINED
    wanted = np.flatnonzero(special | (np.arange(len(path)) % STRIDE == 0) if refines else special)
    found = _levels_on_mesh(mesh, path.kpoints, n_bands)
    wanted = np.setdiff1d(wanted, list(found))
    while True:
        if len(wanted):
            energies = eigenvalues(hamiltonian, path.kpoints[wanted], mesh.matrix, n_bands, mesh.overlap_threshold)
            found.update(zip(wanted.tolist(), np.moveaxis(energies, -2, 0), strict=True))
        known = np.array(sorted(found))
        fewest = min(levels.shape[-1] for levels in found.values())
        together = np.stack([found[index][..., :fewest] for index in known], axis=-2)
        wanted = _around_extrema(known, _frontiers(together, filled)) if refines else ()
        if not len(wanted):
            return path.kpoints[known], together


def _frontiers(energies: np.ndarray, filled: tuple[int | None, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Highest filled and lowest empty levels along the path: of each spin that has a gap, and of both together."""
    pairs = [] if None in filled else [frontier_levels(energies, filled)]
    if energies.ndim == 3:
        own = zip(energies, filled, strict=True)
        pairs += [frontier_levels(spin, (n,)) for spin, n in own if n is not None and n < energies.shape[2]]
    return pairs


def _levels_on_mesh(mesh: MeshSolution, kpoints: np.ndarray, n_bands: int) -> dict[int, np.ndarray]:
    """Levels of those of some k-points that are points of the mesh, up to reciprocal vectors and inversion."""
    divisions = np.array(mesh.divisions)
    scaled = kpoints * divisions
    on_mesh = np.flatnonzero(np.abs(scaled - np.round(scaled)).max(axis=1) < 1e-9)
    index = full_mesh_index(mesh.divisions)
    points = np.ravel_multi_index((np.round(scaled[on_mesh]).astype(int) % divisions).T, mesh.divisions)
    return {
        int(place): mesh.eigenvalues[..., point, :n_bands] for place, point in zip(on_mesh, index[points], strict=True)
    }


def _around_extrema(known: np.ndarray, frontiers: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Indices half-way from the extrema near the edges to the neighbours that are known."""
    wanted = set()
    for values in (
        curve for valence, conduction in frontiers for curve in (-valence, conduction, conduction - valence)
    ):
        padded = np.concatenate([[np.inf], values, [np.inf]])
        is_minimum = (values <= padded[:-2]) & (values <= padded[2:]) & (values < values.min() + WINDOW)
        for place in np.flatnonzero(is_minimum):
            for neighbour in (place - 1, place + 1):
                if 0 <= neighbour < len(known) and abs(known[neighbour] - known[place]) > 1:
                    wanted.add(int(known[neighbour] + known[place]) // 2)
    return np.array(sorted(wanted), dtype=int)
