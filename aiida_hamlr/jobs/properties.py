"""What follows from a Hamiltonian, as files: `hamlr properties`, `hamlr dos`, and for other commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from aiida_hamlr.electronic.bands.band_structure import BandAttributes
from aiida_hamlr.electronic.bands.calculation import (
    OUTPUTS,
    PropertyOptions,
    PropertyResults,
    check_inputs,
    compute_properties,
)
from aiida_hamlr.electronic.bands.layers import Layers
from aiida_hamlr.electronic.bands.surfaces import align_vacuum
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reading import naming
from aiida_hamlr.jobs.bands import ELECTRONS_UNKNOWN, describe_ghosts, edges_in_words
from aiida_hamlr.jobs.outputs import BANDS, PROPERTIES, check_outputs, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.schemas import PropertyKeys
from aiida_hamlr.jobs.summary import JobSummary


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
        If there are no outputs, one is unknown, or the Hamiltonian lacks what one needs.
    """
    if not outputs:
        raise ValueError(f'--outputs names nothing to compute: choose of {", ".join(OUTPUTS)}')
    unknown = sorted(set(outputs) - set(OUTPUTS))
    if unknown:
        raise ValueError(f'output {unknown[0]!r}: choose of {", ".join(OUTPUTS)}')
    summary = JobSummary('properties')
    check_outputs([output / BANDS, output / PROPERTIES], [hamiltonian_file, vacuum_from])
    hamiltonian = Hamiltonian.read(hamiltonian_file)
    with naming(hamiltonian_file):
        check_inputs(hamiltonian, outputs)
    if vacuum_from is not None:
        _align(hamiltonian, vacuum_from, options.axis)
    remove_earlier([output / BANDS, output / PROPERTIES, summary_path(output / BANDS)])
    found = compute_properties(hamiltonian, outputs, options)
    summary.warn(describe_ghosts(found.mesh) + found.warnings, str(hamiltonian_file))
    write_properties(found, output)
    if plot:
        _plot(found, output, Layers.of(hamiltonian.atoms, options.axis))
    summary |= {'outputs': list(outputs), **found.scalars}
    summary.write(summary_path(output / BANDS))
    if found.mesh is not None and found.mesh.filling is None:
        log(ELECTRONS_UNKNOWN)
    if 'gap_eV' in found.scalars:
        log(edges_in_words(BandAttributes.from_dict(found.scalars)))
    log(f'{", ".join(outputs)} of {hamiltonian.atoms.get_chemical_formula()} written to {output}')
    return found


def property_options(config: PropertyKeys) -> PropertyOptions:
    """The keys of a configuration that say how properties are computed."""
    names = {each.name for each in fields(PropertyOptions)} & set(type(config).model_fields)
    return PropertyOptions(**{name: getattr(config, name) for name in names})


def record_edges(hamiltonian: Hamiltonian, found: PropertyResults):
    """Let a Hamiltonian have the Fermi level, gap and band edges of its properties, as far as these have them."""
    if 'fermi_level_eV' in found.scalars:
        hamiltonian.attributes.record_edges(BandAttributes.from_dict(found.scalars))


def write_properties(found: PropertyResults, folder: Path):
    """Write ``bands.h5`` and ``properties.h5`` into a folder, as far as there are any."""
    if found.bands is not None:
        found.bands.write(folder / BANDS)
    if found.properties is not None:
        found.properties.write(folder / PROPERTIES)


def _align(hamiltonian: Hamiltonian, vacuum_from: Path, axis: int):
    """Record the vacuum levels that a reference gives."""
    try:
        found = align_vacuum(hamiltonian, Hamiltonian.read(vacuum_from), axis)
    except ValueError as error:
        raise ValueError(f'{vacuum_from}: {error}') from error
    hamiltonian.attributes.vacuum_levels = list(found.levels)
    for side, level, spread in zip(('below', 'above'), found.levels, found.spreads, strict=True):
        log(f'vacuum level {side} the slab: {level:.3f} eV; levels of its layers agree within {1e3 * spread:.0f} meV')


def _plot(found: PropertyResults, output: Path, layers: Layers):
    from aiida_hamlr.plotting.bands import plot_bands
    from aiida_hamlr.plotting.properties import plot_dos, plot_fat_bands, plot_layers, plot_planes, plot_profile

    if found.bands is not None:
        plot_bands([found.bands], output / 'bands.png')
        if found.bands.groups:
            plot_fat_bands(found.bands, output / 'fat_bands.png')
    if found.properties is not None and found.properties.dos is not None:
        plot_dos(found.properties, output / 'dos.png')
    if found.properties is not None and found.properties.layer_heights is not None:
        plot_layers(found.properties, output / 'layers.png')
    if found.properties is not None and found.properties.potential is not None:
        plot_profile(found.properties, layers, output / 'profile.png')
    if found.properties is not None and found.properties.planar_potential is not None:
        plot_planes(found.properties, output / 'potential.png')
