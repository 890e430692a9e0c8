"""`hamlr properties` and `hamlr dos`: what follows from a Hamiltonian file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiida_hamlr.electronic.bands.calculation import OUTPUTS, PropertyOptions, PropertyResults, compute_properties
from aiida_hamlr.electronic.bands.surfaces import align_vacuum
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.bands import describe_ghosts
from aiida_hamlr.jobs.outputs import check_outputs, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary

#: The files that an output folder may hold.
BANDS, PROPERTIES = 'bands.h5', 'properties.h5'


def run_properties(
    hamiltonian_file: Path,
    output: Path,
    outputs: Sequence[str],
    options: PropertyOptions,
    plot: bool = False,
    vacuum_from: Path | None = None,
) -> PropertyResults:
    """Write ``bands.h5``, ``properties.h5`` and ``summary.json`` of a Hamiltonian into a folder.

    Parameters
    ----------
    hamiltonian_file : path
        File to read.
    output : path
        Folder to write.
    outputs : sequence of str
        See `compute_properties`.
    options : PropertyOptions
        Mesh, path, broadening and so on.
    plot : bool
        Whether to draw what was computed, as PNG files in the folder.
    vacuum_from : path, optional
        Reference of a slab with the same surfaces, which gives the vacuum level, see `align_vacuum`.

    Returns
    -------
    PropertyResults

    Raises
    ------
    ValueError
        If an output is unknown, or the Hamiltonian lacks what one needs.
    """
    unknown = sorted(set(outputs) - set(OUTPUTS))
    if unknown:
        raise ValueError(f'output {unknown[0]!r}: choose of {", ".join(OUTPUTS)}')
    summary = JobSummary('properties')
    check_outputs([output / BANDS, output / PROPERTIES], [hamiltonian_file, vacuum_from])
    hamiltonian = Hamiltonian.read(hamiltonian_file)
    if vacuum_from is not None:
        _align(hamiltonian, vacuum_from, options.axis)
    remove_earlier([output / BANDS, output / PROPERTIES, summary_path(output / BANDS)])
    found = compute_properties(hamiltonian, outputs, options)
    summary.warn(describe_ghosts(found.mesh), str(hamiltonian_file))
    if found.bands is not None:
        found.bands.write(output / BANDS)
    if found.properties is not None:
        found.properties.write(output / PROPERTIES)
    if plot:
        _plot(found, output)
    summary |= {'outputs': list(outputs), **found.scalars}
    summary.write(summary_path(output / BANDS))
    log(f'{", ".join(outputs)} of {hamiltonian.atoms.get_chemical_formula()} written to {output}')
    return found


def _align(hamiltonian: Hamiltonian, vacuum_from: Path, axis: int):
    """Record the vacuum levels that a reference gives."""
    try:
        found = align_vacuum(hamiltonian, Hamiltonian.read(vacuum_from), axis)
    except ValueError as error:
        raise ValueError(f'{vacuum_from}: {error}') from error
    hamiltonian.attributes.vacuum_levels = list(found.levels)
    for side, level, spread in zip(('below', 'above'), found.levels, found.spreads, strict=True):
        log(f'vacuum level {side} the slab: {level:.3f} eV; levels of its layers agree within {1e3 * spread:.0f} meV')


def _plot(found: PropertyResults, output: Path):
    from aiida_hamlr.plotting.bands import plot_bands
    from aiida_hamlr.plotting.properties import plot_dos, plot_fat_bands, plot_layers, plot_planes

    if found.bands is not None:
        plot_bands([found.bands], output / 'bands.png')
        if found.bands.groups:
            plot_fat_bands(found.bands, output / 'fat_bands.png')
    if found.properties is not None and found.properties.dos is not None:
        plot_dos(found.properties, output / 'dos.png')
    if found.properties is not None and found.properties.layer_heights is not None:
        plot_layers(found.properties, output / 'layers.png')
    if found.properties is not None and found.properties.planar_potential is not None:
        plot_planes(found.properties, output / 'potential.png')
