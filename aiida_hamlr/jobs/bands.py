"""`hamlr bands`: bands of a Hamiltonian file along a path or on a mesh."""

from __future__ import annotations

from pathlib import Path

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.electronic.bands.kpoints import (
    MESH_SPACING,
    PATH_SPACING,
    band_path,
    mesh_from_spacing,
    read_band_path,
)
from aiida_hamlr.electronic.bands.occupations import MeshSolution, solve_mesh
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.outputs import check_outputs, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary


def default_mesh(hamiltonian: Hamiltonian) -> tuple[int, int, int]:
    """The mesh recorded with a Hamiltonian, or one of `MESH_SPACING`."""
    recorded = hamiltonian.attributes.kpoints
    if recorded is not None and len(recorded) == 3:
        return tuple(int(n) for n in recorded)
    return mesh_from_spacing(hamiltonian.atoms.cell, MESH_SPACING)


def run_bands(
    hamiltonian_file: Path,
    path: str | None,
    mesh: tuple[int, int, int] | None,
    output: Path,
    plot: Path | None = None,
    matrix: str = 'hamiltonian',
    n_bands: int | None = None,
    spacing: float = PATH_SPACING,
    overlap_threshold: float | None = None,
) -> Bands:
    """Write ``bands.h5``, ``summary.json`` beside it and, if asked for, a figure.

    Parameters
    ----------
    hamiltonian_file : path
    path : str, optional
        'auto' or the name of a path file; default: 'auto' unless a mesh is given.
    mesh : three int, optional
        For the Fermi level, and for the bands if there is no path.
    output, plot : path
    matrix : str
        'hamiltonian' or 'h0'.
    n_bands : int, optional
    spacing : float
        Distance of neighbouring path points, 1/Å.
    overlap_threshold : float, optional
        See `eigenvalues`; default: the threshold recorded in the file.

    Raises
    ------
    ValueError
        If an input is missing or does not fit.
    """
    summary = JobSummary('bands')
    if path is None and mesh is None:
        path = 'auto'
    if plot is not None and path is None:
        raise ValueError('--plot needs bands along a path: add --path auto')
    check_outputs([output, plot], [hamiltonian_file, None if path in (None, 'auto') else Path(path)])
    hamiltonian = Hamiltonian.read(hamiltonian_file, matrices=(matrix, 'overlap'))
    if matrix not in hamiltonian.matrices:
        raise ValueError(f'{hamiltonian_file}: holds no {matrix}; choose with --matrix')
    threshold = overlap_threshold
    if threshold is None:
        threshold = hamiltonian.attributes.overlap_threshold or 0.0
    atoms = hamiltonian.atoms
    line = None
    if path == 'auto':
        line = band_path(atoms, spacing)
    elif path is not None:
        line = read_band_path(path, atoms.cell, spacing)
    remove_earlier([output, summary_path(output)])
    solution = solve_mesh(hamiltonian, mesh or default_mesh(hamiltonian), matrix=matrix, overlap_threshold=threshold)
    warn_of_ghosts(solution, str(hamiltonian_file))
    if line is None:
        result = Bands.on_mesh(hamiltonian, solution, matrix, n_bands, threshold)
    else:
        log(f'{len(line)} points: ' + ' '.join(label for label in line.labels if label))
        result = Bands.on_path(hamiltonian, line, solution, matrix, n_bands, threshold)
    result.write(output)
    if plot is not None:
        from aiida_hamlr.plotting.bands import plot_bands

        plot_bands([result], plot)
    summary |= result.attributes.to_dict()
    summary |= {
        'n_spin': len(result.eigenvalues),
        'n_kpoints': len(result.kpoints),
        'n_bands': result.eigenvalues.shape[2],
        'n_ghost_states': solution.n_ghosts,
        'output': str(output),
    }
    summary.write(summary_path(output))
    log(edges_in_words(result.attributes))
    log(f'bands written to {output}')
    return result


def warn_of_ghosts(solution: MeshSolution, name: str):
    """Say so if occupied states are no levels of the crystal."""
    if solution.n_ghosts:
        log(
            f'warning: {name}: {solution.n_ghosts} occupied states are combinations of nearly dependent orbitals, for '
            'which small errors of the matrices are large errors of levels; set overlap_threshold, say 0.003'
        )


def edges_in_words(attributes: BandAttributes) -> str:
    """Gap and Fermi level of a `Bands` object."""
    gap, direct_gap = attributes.gap, attributes.direct_gap
    if not gap:
        return f'no gap; Fermi level {attributes.fermi_level:.4f} eV'
    kind, vertical = '', ''
    if direct_gap is not None:
        kind = 'direct ' if direct_gap - gap < 1e-6 else 'indirect '
        vertical = f' (smallest vertical {direct_gap:.4f} eV)'
    return f'{kind}gap {gap:.4f} eV{vertical}, valence band maximum {attributes.vbm:.4f} eV'
