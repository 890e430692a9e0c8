"""Commands of `hamlr` that diagonalise a Hamiltonian file: bands, density of states, properties."""

from __future__ import annotations

import click

from aiida_hamlr.jobs.cli_options import (
    FILE,
    MAGNETIZATION_AXIS,
    NUMBER,
    OVERLAP_THRESHOLD,
    POSITIVE,
    SPIN_ORBIT_PSEUDOS,
)


@click.command('bands')
@click.argument('hamiltonian', type=FILE)
@click.option('--path', 'path', metavar='auto|FILE', help='Along the standard path, or that of FILE (label k1 k2 k3).')
@click.option('--mesh', nargs=3, type=int, help='Mesh for the Fermi level; without --path also of the bands.')
@click.option('-o', '--output', type=FILE, required=True, help='Bands file, as in bands.h5.')
@click.option('--plot', type=FILE, help='Draw the bands into this file (PNG, SVG or PDF).')
@click.option('--spin-axis', type=click.Choice(['x', 'y', 'z']), help='Spin component that colours --plot.')
@click.option('--matrix', type=click.Choice(['hamiltonian', 'h0']), default='hamiltonian', help='What to diagonalise.')
@click.option('--n-bands', type=click.IntRange(1), help='Number of the lowest bands; default: all.')
@click.option('--spacing', type=POSITIVE, default=0.04, help='Between path points, 1/Å.')
@OVERLAP_THRESHOLD
@click.option('--around-gap', type=click.IntRange(1), metavar='N', help='Only N levels around the gap, at one k-point.')
@click.option('--energy', type=NUMBER, help='With --around-gap: around this energy instead, eV.')
@click.option('--kpoint', nargs=3, type=NUMBER, help='With --around-gap: fractional.  [default: 0 0 0]')
@click.option(
    '--solver',
    type=click.Choice(['auto', 'lapack', 'pardiso', 'superlu']),
    help='With --around-gap: what factorises the matrices.  [default: auto, the fastest that fits]',
)
@click.option(
    '--memory-limit',
    type=POSITIVE,
    help='With --around-gap: GB; what needs more is refused.  [default: 90 % of the machine]',
)
@click.option(
    '--spin-orbit/--no-spin-orbit',
    default=None,
    help='Bands of spinors with the spin-orbit part, or without it.  [default: as the file]',
)
@SPIN_ORBIT_PSEUDOS
@MAGNETIZATION_AXIS
def bands_command(hamiltonian, output, plot, spin_axis, around_gap, energy, kpoint, solver, memory_limit, **options):
    """Bands of a HAMILTONIAN file along a path or on a mesh, or levels around its gap (for large structures)."""
    from aiida_hamlr.jobs.bands import BandOptions, run_bands

    near_gap = {'energy': energy, 'kpoint': kpoint, 'solver': solver, 'memory_limit': memory_limit}
    given = {name: value for name, value in near_gap.items() if value is not None}
    if around_gap is None:
        if given:
            raise ValueError(f'--{min(given).replace("_", "-")} is for --around-gap N')
        run_bands(hamiltonian, output, BandOptions(**options), plot, spin_axis)
        return
    if plot or spin_axis or any(options[name] for name in ('path', 'mesh', 'n_bands', 'overlap_threshold')):
        raise ValueError('--around-gap excludes --path, --mesh, --plot, --spin-axis, --n-bands and --overlap-threshold')
    from aiida_hamlr.jobs.bands_near_gap import NearGapOptions, run_bands_near_gap

    given |= {name: options[name] for name in ('matrix', 'spin_orbit', 'spin_orbit_folder', 'magnetization_axis')}
    run_bands_near_gap(hamiltonian, output, NearGapOptions(around_gap, **given))


def _property_options(command):
    """Options of `hamlr dos` and `hamlr properties`."""
    for option in (
        click.option(
            '--mesh', 'kpoints', nargs=3, type=click.IntRange(1), help='Mesh; default: recorded, or 0.25 1/Å.'
        ),
        click.option(
            '--n-bands', type=click.IntRange(1), help='Number of the lowest bands; default: twice the occupied.'
        ),
        click.option(
            '--method',
            'dos_method',
            type=click.Choice(['gaussian', 'tetrahedra']),
            default='gaussian',
            help='Of the DOS.',
        ),
        click.option('--broadening', type=POSITIVE, default=0.1, help='Deviation of the Gaussians, eV.'),
        click.option(
            '--projection',
            type=click.Choice(['species', 'shell', 'm', 'atom', 'orbital']),
            default='orbital',
            help='What projections are on.',
        ),
        click.option('--plot', is_flag=True, help='Draw what was computed, as PNG files in the folder.'),
        OVERLAP_THRESHOLD,
    ):
        command = option(command)
    return command


@click.command('dos')
@click.argument('hamiltonian', type=FILE)
@click.option('--total', is_flag=True, help='Without projections.')
@click.option('-o', '--output', type=FILE, required=True, help='Folder for properties.h5 and summary.json.')
@_property_options
def dos_command(hamiltonian, output, total, plot, **options):
    """Density of states of a HAMILTONIAN file, by orbital too."""
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions
    from aiida_hamlr.jobs.properties import run_properties

    outputs = ['dos'] if total else ['dos', 'projections']
    run_properties(hamiltonian, output, outputs, PropertyOptions(**options), plot)


@click.command('properties')
@click.argument('hamiltonian', type=FILE)
@click.option(
    '--outputs',
    default='gap',
    metavar='A,B,...',
    help='Of gap, bands, dos, projections (fat bands too), masses, charges, profile, layers.',
)
@click.option('--path', default='auto', metavar='auto|FILE', help='Path of the bands.')
@click.option('--spacing', type=POSITIVE, default=0.04, help='Between path points, 1/Å.')
@click.option('--axis', type=click.IntRange(0, 2), default=2, help='Lattice vector of layers and planar averages.')
@click.option('--period', type=POSITIVE, help='Window of the macroscopic average, Å.')
@click.option(
    '-o',
    '--output',
    type=FILE,
    required=True,
    help='Folder for summary.json, and bands.h5 and properties.h5 if needed.',
)
@click.option('--vacuum-from', type=FILE, help='Reference of a slab with the same surfaces, for its vacuum level.')
@_property_options
def properties_command(hamiltonian, output, outputs, plot, vacuum_from, **options):
    """Gap, bands, density of states, masses, charges and more of a HAMILTONIAN file, with one diagonalisation."""
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions
    from aiida_hamlr.jobs.properties import run_properties

    wanted = [name.strip() for name in outputs.split(',') if name.strip()]
    run_properties(hamiltonian, output, wanted, PropertyOptions(**options), plot, vacuum_from)
