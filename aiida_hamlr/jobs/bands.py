"""`hamlr bands`: bands of a Hamiltonian file along a path or on a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.electronic.bands.kpoints import PATH_SPACING, find_band_path
from aiida_hamlr.electronic.bands.mesh import MeshSolution, default_mesh, recorded_threshold, solve_mesh
from aiida_hamlr.electronic.integrals.spin_orbit import add_spin_orbit, set_magnetization_axis
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.jobs.inputs import read_sibling_folder
from aiida_hamlr.jobs.outputs import check_outputs, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary

#: What a user is told where results lack Fermi level and gap.
ELECTRONS_UNKNOWN = (
    'the number of electrons is not known: energies as stored, without Fermi level and gap; for these give '
    '--electrons N to hamlr import'
)


@dataclass(frozen=True)
class BandOptions:
    """Which bands `hamlr bands` computes.

    Parameters
    ----------
    path : str, optional
        'auto' or the name of a path file; default: 'auto' unless a mesh is given.
    mesh : three int, optional
        For the Fermi level, and for the bands if there is no path.
    matrix : str
        'hamiltonian' or 'h0'.
    n_bands : int, optional
        Number of the lowest bands; default: all.
    spacing : float
        Largest distance of neighbouring path points, 1/Å.
    overlap_threshold : float, optional
        See `eigenvalues`; default: the threshold recorded in the file.
    spin_orbit : bool, optional
        Whether the bands are those of spinors; default: if the file has a spin-orbit part.
    spin_orbit_folder : path, optional
        Folder with fully relativistic versions of the pseudopotentials of the file.
    magnetization_axis : three float, optional
        Of bands of spinors of a magnetic structure, Cartesian; default: that of the file, or z.
    """

    path: str | None = None
    mesh: tuple[int, int, int] | None = None
    matrix: str = 'hamiltonian'
    n_bands: int | None = None
    spacing: float = PATH_SPACING
    overlap_threshold: float | None = None
    spin_orbit: bool | None = None
    spin_orbit_folder: Path | None = None
    magnetization_axis: tuple[float, float, float] | None = None


def run_bands(
    hamiltonian_file: Path, output: Path, options: BandOptions, plot: Path | None = None, spin_axis: str | None = None
) -> Bands:
    """Write ``bands.h5``, ``summary.json`` beside it and, if asked for, a figure.

    Parameters
    ----------
    hamiltonian_file, output : path
        File to read, and ``bands.h5`` to write.
    options : BandOptions
        Which bands.
    plot : path, optional
        PNG, SVG or PDF file.
    spin_axis : str, optional
        Component of the spin, 'x', 'y' or 'z', that colours the bands of the figure.

    Raises
    ------
    ValueError
        If an input is missing or does not fit.
    """
    summary = JobSummary('bands')
    matrix, path = options.matrix, options.path
    if path is None and options.mesh is None:
        path = 'auto'
    if plot is not None and path is None:
        raise ValueError('--plot needs bands along a path: add --path auto')
    if spin_axis is not None and plot is None:
        raise ValueError('--spin-axis colours the bands of a figure: add --plot FILE')
    check_outputs([output], [hamiltonian_file, None if path in (None, 'auto') else Path(path)], plot)
    hamiltonian = Hamiltonian.read(hamiltonian_file, matrices=matrices_to_read(matrix, options.spin_orbit))
    if matrix not in hamiltonian.matrices:
        other = {'hamiltonian': 'h0', 'h0': 'hamiltonian'}[matrix]
        raise ValueError(f'{hamiltonian_file}: holds no {matrix}; try --matrix {other}')
    include_spin_orbit(hamiltonian, options.spin_orbit, options.spin_orbit_folder, options.magnetization_axis)
    if spin_axis is not None and not hamiltonian.has_spin_orbit:
        raise ValueError('--spin-axis needs bands of spinors: add --spin-orbit')
    line = None if path is None else find_band_path(hamiltonian.atoms, path, options.spacing)
    threshold = recorded_threshold(hamiltonian, options.overlap_threshold)
    mesh = options.mesh or default_mesh(hamiltonian)
    remove_earlier([output, summary_path(output), *([plot] if plot else [])])
    solution = solve_mesh(hamiltonian, mesh, matrix=matrix, overlap_threshold=threshold, vectors=False)
    summary.warn(describe_ghosts(solution), str(hamiltonian_file))
    if line is None:
        result = Bands.on_mesh(hamiltonian, solution, options.n_bands)
    else:
        log(f'{len(line)} points: ' + ' '.join(label for label in line.labels if label))
        result = Bands.on_path(hamiltonian, line, solution, options.n_bands)
    result.write(output)
    if plot is not None:
        _draw(result, plot, spin_axis)
    summary |= result.attributes.to_dict()
    summary |= {
        'n_spin': len(result.eigenvalues),
        'n_kpoints': len(result.kpoints),
        'n_bands': result.eigenvalues.shape[2],
        'n_ghost_states': solution.n_ghosts,
        'output': str(output),
    }
    summary.write(summary_path(output))
    log(ELECTRONS_UNKNOWN if result.attributes.n_electrons is None else edges_in_words(result.attributes))
    if result.attributes.gap == 0.0:
        log(f'the Fermi level is that of a mesh of {" x ".join(map(str, mesh))} points; denser ones: --mesh')
    log(f'bands written to {output}')
    return result


def _draw(bands: Bands, plot: Path, spin_axis: str | None):
    if spin_axis is None:
        from aiida_hamlr.plotting.bands import plot_bands

        plot_bands([bands], plot)
    else:
        from aiida_hamlr.plotting.spin_texture import plot_spin_texture

        plot_spin_texture(bands, plot, spin_axis)


def matrices_to_read(matrix: str, spin_orbit: bool | None) -> tuple[str, ...]:
    """Names of the matrices that bands need, without the spin-orbit part if it is not wanted."""
    return (matrix, 'overlap') if spin_orbit is False else (matrix, 'overlap', SPIN_ORBIT)


def include_spin_orbit(
    hamiltonian: Hamiltonian,
    wanted: bool | None,
    folder: Path | None,
    magnetization_axis: Sequence[float] | None = None,
):
    """Add the spin-orbit part if it is wanted and the file has none.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With its pseudopotentials.
    wanted : bool, optional
        None: as the file.
    folder : path, optional
        Fully relativistic versions of its pseudopotentials.
    magnetization_axis : (3,) array, optional
        Where spin up of a magnetic structure points, Cartesian; default: that of the file, or z.

    Raises
    ------
    ValueError
        If the pseudopotentials are not those that are needed, or an axis is given without collinear spin or without
        spin-orbit coupling.
    """
    pseudos = {
        label: Pseudopotential.from_text(text, f'pseudopotential of {label}')
        for label, text in (hamiltonian.pseudopotentials.items() if folder else ())
    }
    siblings = read_sibling_folder(bool(wanted), folder, pseudos)
    if wanted and not hamiltonian.has_spin_orbit:
        add_spin_orbit(hamiltonian, siblings)
    if magnetization_axis is not None:
        set_magnetization_axis(hamiltonian, magnetization_axis)
    if hamiltonian.has_spin_orbit:
        log('with spin-orbit coupling: bands of spinors, one electron each')
    if (axis := hamiltonian.magnetization_axis) is not None:
        log('magnetization along ' + ' '.join(f'{x:.4f}' for x in axis))


def describe_ghosts(solution: MeshSolution | None) -> list[str]:
    """A warning if there are occupied states that are no levels of the crystal."""
    if solution is None or not solution.n_ghosts:
        return []
    return [
        f'{solution.n_ghosts} occupied states are combinations of nearly dependent orbitals, for which small errors of '
        'the matrices are large errors of levels; set overlap_threshold, say 0.003'
    ]


def edges_in_words(attributes: BandAttributes) -> str:
    """Gap and Fermi level of a `Bands` object, and with collinear spin the gap of each spin."""
    gap, direct_gap = attributes.gap, attributes.direct_gap
    of_spins = ''.join(
        f'; spin {name} {f"{own:.4f} eV" if own else "no gap"}'
        for name, own in zip(('up', 'down'), attributes.spin_gaps or (), strict=False)
        if own is not None
    )
    if not gap:
        return f'no gap{of_spins}; Fermi level {attributes.fermi_level:.4f} eV'
    kind, vertical = '', ''
    if direct_gap is not None:
        kind = 'direct ' if direct_gap - gap < 1e-6 else 'indirect '
        vertical = f' (smallest vertical {direct_gap:.4f} eV)'
    return f'{kind}gap {gap:.4f} eV{vertical}, valence band maximum {attributes.vbm:.4f} eV{of_spins}'
