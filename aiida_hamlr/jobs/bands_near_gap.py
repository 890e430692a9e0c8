"""`hamlr bands --around-gap`: the levels around the gap or an energy of a large structure, at one k-point."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiida_hamlr.electronic.bands.mesh import recorded_threshold
from aiida_hamlr.electronic.bands.near_gap import states_around
from aiida_hamlr.electronic.bands.states_near import StatesNear
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.bands import ELECTRONS_UNKNOWN, include_spin_orbit, matrices_to_read
from aiida_hamlr.jobs.outputs import check_outputs, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary


@dataclass(frozen=True)
class NearGapOptions:
    """Which levels.

    Parameters
    ----------
    n_states : int
        How many.
    energy : float, optional
        eV; default: the gap.
    kpoint : three float
        Fractional.
    matrix : str
        'hamiltonian' or 'h0'.
    solver : str
        'auto', 'lapack', 'pardiso' or 'superlu'.
    memory_limit : float, optional
        GB.
    spin_orbit, spin_orbit_folder, magnetization_axis
        See `BandOptions`.
    """

    n_states: int
    energy: float | None = None
    kpoint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    matrix: str = 'hamiltonian'
    solver: str = 'auto'
    memory_limit: float | None = None
    spin_orbit: bool | None = None
    spin_orbit_folder: Path | None = None
    magnetization_axis: tuple[float, float, float] | None = None


def run_bands_near_gap(hamiltonian_file: Path, output: Path, options: NearGapOptions) -> StatesNear:
    """Write ``bands.h5`` with the levels of one k-point, and ``summary.json`` beside it.

    Parameters
    ----------
    hamiltonian_file, output : path
        File to read, and ``bands.h5`` to write.
    options : NearGapOptions
        Which levels.

    Raises
    ------
    ValueError
        If an input is missing or does not fit, or the memory does not suffice.
    """
    summary = JobSummary('bands')
    check_outputs([output], [hamiltonian_file])
    names = matrices_to_read(options.matrix, options.spin_orbit)
    hamiltonian = Hamiltonian.read(hamiltonian_file, matrices=names)
    include_spin_orbit(hamiltonian, options.spin_orbit, options.spin_orbit_folder, options.magnetization_axis)
    if recorded_threshold(hamiltonian):
        raise ValueError(
            f'{hamiltonian_file}: records overlap_threshold {recorded_threshold(hamiltonian):g}, which needs all '
            'eigenvectors of the overlap; leave out --around-gap'
        )
    if options.energy is None and hamiltonian.attributes.n_electrons is None:
        raise ValueError(
            f'{hamiltonian_file}: its number of electrons is not known, so the gap cannot be searched; give --energy '
            'here, or --electrons N to hamlr import'
        )
    remove_earlier([output, summary_path(output)])
    found = states_around(
        hamiltonian,
        options.n_states,
        options.energy,
        options.kpoint,
        options.matrix,
        options.solver,
        options.memory_limit,
    )
    bands = found.bands(hamiltonian, options.matrix)
    bands.write(output)
    summary |= bands.attributes.to_dict()
    summary |= {
        'kpoint': [float(each) for each in options.kpoint],
        'n_bands': len(found.energies),
        'solver': found.plan.solver,
        'factor_memory_GB': round(found.plan.memory / 1e9, 4),
        'factor_TFLOP': round(found.plan.flops / 1e12, 6),
        'output': str(output),
    }
    summary.write(summary_path(output))
    log(f'{found.plan}')
    low, high = found.first + 1, found.first + len(found.energies)
    log(f'levels {low} to {high}, {found.energies[0]:.4f} to {found.energies[-1]:.4f} eV, none missed')
    if bands.attributes.n_electrons is None:
        log(ELECTRONS_UNKNOWN)
    elif bands.attributes.gap == 0:
        log(f'no gap at this k, Fermi level {bands.attributes.fermi_level:.4f} eV')
    elif bands.attributes.gap is not None:
        log(f'gap {bands.attributes.gap:.4f} eV at this k, valence band maximum {bands.attributes.vbm:.4f} eV')
    log(f'levels written to {output}')
    return found
