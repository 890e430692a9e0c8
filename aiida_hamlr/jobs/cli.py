"""The `hamlr` executable.

What a command needs is imported inside it: torch and its companions take seconds, ``hamlr --help`` must not.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import click

from aiida_hamlr import __version__
from aiida_hamlr.jobs.cli_exchange import export_command, import_command
from aiida_hamlr.jobs.status import Status, one_line, status_of

_FILE = click.Path(path_type=Path)

_OVERLAP_THRESHOLD = click.option(
    '--overlap-threshold',
    type=click.FloatRange(0, 0.1, max_open=True),
    help='Discard overlap eigenvectors with eigenvalues at or below this, for nearly dependent orbitals.',
)

_SPIN_ORBIT_PSEUDOS = click.option(
    '--spin-orbit-pseudos',
    'spin_orbit_folder',
    type=_FILE,
    help='Folder with fully relativistic versions (UPF) of scalar-relativistic pseudopotentials, for --spin-orbit.',
)
_MAGNETIZATION_AXIS = click.option(
    '--magnetization-axis',
    nargs=3,
    type=float,
    metavar='X Y Z',
    help='With spin-orbit coupling of a magnetic structure: where spin up points, Cartesian (SAXIS of VASP).  '
    '[default: as the file, or 0 0 1]',
)


class _Executable(click.Group):
    """Turns every expected error into one line on standard error and the documented exit status."""

    def main(self, args=None, prog_name='hamlr', standalone_mode=True, **extra):
        args = list(sys.argv[1:] if args is None else args)
        debug = '--debug' in args
        if not debug:
            # Standard error holds the error message and nothing else.
            warnings.simplefilter('ignore')
        try:
            super().main(args=args, prog_name=prog_name, standalone_mode=False, **extra)
        except click.exceptions.Exit as error:
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt) as error:
            if isinstance(error.__cause__, EOFError):
                # Click takes the end of any file for that of the terminal.
                raise error.__cause__ from None
            click.echo('hamlr: interrupted', err=True)
            sys.exit(130)
        except click.ClickException as error:
            command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else 'hamlr'
            message = ' '.join(error.format_message().split())
            click.echo(f'hamlr: {message} (see: {command} --help)', err=True)
            sys.exit(Status.BAD_INPUT)
        except Exception as error:
            status = status_of(error)
            if status is None or debug:
                raise
            click.echo(f'hamlr: {one_line(error)}', err=True)
            sys.exit(status)
        sys.exit(Status.DONE)


@click.group(
    cls=_Executable,
    context_settings={'help_option_names': ['-h', '--help'], 'show_default': True, 'max_content_width': 110},
    epilog='Exit statuses: 0 done, 2 bad input, 3 wall-time reached and checkpoint written, 4 numerical failure, '
    '5 out of memory, 6 no GPU, 7 no space left on the disk.',
)
@click.option('--debug', is_flag=True, help='Show the full traceback of an error, and warnings.')
@click.version_option(__version__)
def main(debug):
    """DFT Hamiltonians in an atomic-orbital basis: make them, learn them, predict them.

    Energies are in eV, lengths in Å; radii of orbitals are in bohr.
    """


@main.command()
@click.argument('elements', nargs=-1, required=True)
@click.option('-o', '--output', type=_FILE, required=True, help='Folder for the UPF files.')
@click.option(
    '--charge',
    'charges',
    multiple=True,
    metavar='[EL=]Q',
    help='Number of valence electrons: Ga=3, Zn=2, Cd=2 without d electrons, H=1.5 for a cap of a surface.',
)
def pseudo(elements, output, charges):
    """Write norm-conserving UPF files for ELEMENTS from the published GTH parameters (LDA); no download."""
    from aiida_hamlr.jobs.pseudo import make_pseudopotentials, parse_charges

    make_pseudopotentials(elements, output, parse_charges(charges, elements))


def _recipes(**options) -> dict:
    """The key ``basis`` of a configuration from repeatable options, ``V`` for all elements or ``El=V`` for one."""
    content: dict = {}
    for key, values in options.items():
        for value in values:
            element, separator, rest = value.partition('=')
            target = content.setdefault(element, {}) if separator else content
            if key in target:
                raise ValueError(f'{key} {value}: given twice; give one for all elements, or El=VALUE for each')
            target[key] = rest if separator else value
    return content


@main.command()
@click.option(
    '--upf',
    'upfs',
    type=_FILE,
    multiple=True,
    help='Norm-conserving pseudopotential to generate orbitals from; H1=FILE for a species H1 of hydrogen.',
)
@click.option('--from', 'imported', type=_FILE, help='Orbitals of another code: .ion.xml, .orb or .pao.')
@click.option(
    '--size',
    'sizes',
    multiple=True,
    metavar='SIZE',
    help='Number of shells: sz, szp, dzp, dzdp, tzp, tzdp, for all elements or as Al=tzdp for one; of a .pao file as '
    's2p2d1.  [default: dzp]',
)
@click.option(
    '--cutoff-radius',
    'radii',
    multiple=True,
    metavar='BOHR',
    help='Where the orbitals end, for all elements or as Al=8.0 for one.  [default: 8, first row 7]',
)
@click.option(
    '--recipe',
    type=click.Choice(['contracted', 'plain']),
    help='contracted: all elements together, on the bands of small crystals, no DFT run; plain: the lowest solutions '
    'of the confined atom.  [default: contracted]',
)
@click.option(
    '--structure',
    'structures',
    type=_FILE,
    multiple=True,
    help='Crystal of a few atoms to contract on.  [default: simple crystals of the elements]',
)
@click.option(
    '--spin-orbit',
    is_flag=True,
    help='For spin-orbit coupling: one more function for shells whose two j differ, and contraction on bands of '
    'spinors; needs fully relativistic pseudopotentials.',
)
@click.option(
    '--plot',
    type=_FILE,
    help='Draw bands of the first crystal, plain and contracted, into this file (PNG, SVG or PDF).',
)
@click.option(
    '-o', '--output', type=_FILE, required=True, help='Basis file, as in Al.basis.h5; for several elements a folder.'
)
def basis(upfs, imported, sizes, radii, recipe, structures, spin_orbit, plot, output):
    """Generate the orbitals of elements from their pseudopotentials, or import those of another code."""
    from aiida_hamlr.jobs.basis import import_basis, make_bases
    from aiida_hamlr.jobs.config import validate
    from aiida_hamlr.jobs.schemas import BasisConfig

    if bool(upfs) == (imported is not None):
        raise ValueError('give either --upf, to generate orbitals, or --from, to import them')
    if imported is not None:
        if radii or recipe or structures or plot or spin_orbit:
            raise ValueError(
                '--cutoff-radius, --recipe, --structure, --spin-orbit and --plot are for generated orbitals, not for '
                'imported ones'
            )
        import_basis(imported, sizes[0] if sizes else None, output)
        return
    content = {'size': 'dzp', 'recipe': recipe or 'contracted', 'spin_orbit': spin_orbit}
    content |= _recipes(size=sizes, cutoff_radius=radii)
    make_bases(upfs, output, validate(BasisConfig, content, 'options'), structures, plot)


@main.command()
@click.argument('config', type=_FILE)
def reconstruct(config):
    """Turn the density or the potential of a pw.x run into a Hamiltonian in an orbital basis, as CONFIG says."""
    from aiida_hamlr.jobs.reconstruct import run_reconstruct

    run_reconstruct(config)


@main.command()
@click.argument('structure', type=_FILE)
@click.option('--basis', 'basis_folder', type=_FILE, required=True, help='Folder with El.basis.h5 of every species.')
@click.option('--pseudos', type=_FILE, required=True, help='Folder with a UPF file of every species.')
@click.option('--ecutrho', type=float, default=160.0, help='Cutoff of the grid for the potential, Ry.')
@click.option('--spin-orbit', is_flag=True, help='Add the spin-orbit part of fully relativistic pseudopotentials.')
@_SPIN_ORBIT_PSEUDOS
@click.option('-o', '--output', type=_FILE, required=True, help='Hamiltonian file, as in h0.h5.')
def h0(structure, basis_folder, pseudos, ecutrho, spin_orbit, spin_orbit_folder, output):
    """Overlap and H0 (neutral atoms) of STRUCTURE, without any DFT run."""
    from aiida_hamlr.jobs.h0 import run_h0

    run_h0(structure, basis_folder, pseudos, ecutrho, output, spin_orbit, spin_orbit_folder)


@main.command()
@click.argument('config', type=_FILE)
@click.option(
    '--processes', type=click.IntRange(1), default=1, help='Processes on each machine that train together, one a GPU.'
)
@click.option(
    '--machines',
    type=click.IntRange(1),
    default=1,
    help='Machines of a SLURM job; MASTER_ADDR names the first.',
)
@click.pass_context
def train(context, config, processes, machines):
    """Train the network as CONFIG says. If the output folder holds a checkpoint, training resumes from it."""
    from aiida_hamlr.jobs.processes import die_with_parent, run_processes

    if processes * machines == 1:
        die_with_parent()
        from aiida_hamlr.jobs.train import run_train

        run_train(config)
        return
    from aiida_hamlr.jobs.config import load_config
    from aiida_hamlr.jobs.schemas import TrainConfig

    load_config(config, TrainConfig)  # One line, and not one of each process.
    debug = ['--debug'] if context.parent.params['debug'] else []
    sys.exit(run_processes([*debug, 'train', str(config)], processes, machines))


@main.command()
@click.argument('config', type=_FILE)
def predict(config):
    """Predict Hamiltonians, bands and more of the structures that CONFIG names."""
    from aiida_hamlr.jobs.predict import run_predict

    run_predict(config)


@main.command()
@click.argument('hamiltonian', type=_FILE)
@click.option('--path', 'path', metavar='auto|FILE', help='Along the standard path, or that of FILE (label k1 k2 k3).')
@click.option('--mesh', nargs=3, type=int, help='Mesh for the Fermi level; without --path also of the bands.')
@click.option('-o', '--output', type=_FILE, required=True, help='Bands file, as in bands.h5.')
@click.option('--plot', type=_FILE, help='Draw the bands into this file (PNG, SVG or PDF).')
@click.option('--spin-axis', type=click.Choice(['x', 'y', 'z']), help='Spin component that colours --plot.')
@click.option('--matrix', type=click.Choice(['hamiltonian', 'h0']), default='hamiltonian', help='What to diagonalise.')
@click.option('--n-bands', type=click.IntRange(1), help='Number of the lowest bands; default: all.')
@click.option('--spacing', type=click.FloatRange(0, min_open=True), default=0.04, help='Between path points, 1/Å.')
@_OVERLAP_THRESHOLD
@click.option('--around-gap', type=click.IntRange(1), metavar='N', help='Only N levels around the gap, at one k-point.')
@click.option('--energy', type=float, help='With --around-gap: around this energy instead, eV.')
@click.option('--kpoint', nargs=3, type=float, help='With --around-gap: fractional.  [default: 0 0 0]')
@click.option(
    '--solver',
    type=click.Choice(['auto', 'lapack', 'pardiso', 'superlu']),
    help='With --around-gap: what factorises the matrices.  [default: auto, the fastest that fits]',
)
@click.option(
    '--memory-limit',
    type=click.FloatRange(0, min_open=True),
    help='With --around-gap: GB; what needs more is refused.  [default: 90 % of the machine]',
)
@click.option(
    '--spin-orbit/--no-spin-orbit',
    default=None,
    help='Bands of spinors with the spin-orbit part, or without it.  [default: as the file]',
)
@_SPIN_ORBIT_PSEUDOS
@_MAGNETIZATION_AXIS
def bands(hamiltonian, output, plot, spin_axis, around_gap, energy, kpoint, solver, memory_limit, **options):
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
        click.option(
            '--broadening', type=click.FloatRange(0, min_open=True), default=0.1, help='Deviation of the Gaussians, eV.'
        ),
        click.option(
            '--projection',
            type=click.Choice(['species', 'shell', 'm', 'atom', 'orbital']),
            default='orbital',
            help='What projections are on.',
        ),
        click.option('--plot', is_flag=True, help='Draw what was computed, as PNG files in the folder.'),
        _OVERLAP_THRESHOLD,
        click.option(
            '-o', '--output', type=_FILE, required=True, help='Folder for properties.h5, bands.h5, summary.json.'
        ),
    ):
        command = option(command)
    return command


@main.command()
@click.argument('hamiltonian', type=_FILE)
@click.option('--total', is_flag=True, help='Without projections.')
@_property_options
def dos(hamiltonian, output, total, plot, **options):
    """Density of states of a HAMILTONIAN file, by orbital too."""
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions
    from aiida_hamlr.jobs.properties import run_properties

    outputs = ['dos'] if total else ['dos', 'projections']
    run_properties(hamiltonian, output, outputs, PropertyOptions(**options), plot)


@main.command()
@click.argument('hamiltonian', type=_FILE)
@click.option(
    '--outputs',
    default='gap',
    metavar='A,B,...',
    help='Of gap, bands, dos, projections (fat bands too), masses, charges, profile, layers.',
)
@click.option('--path', default='auto', metavar='auto|FILE', help='Path of the bands.')
@click.option('--spacing', type=click.FloatRange(0, min_open=True), default=0.04, help='Between path points, 1/Å.')
@click.option('--axis', type=click.IntRange(0, 2), default=2, help='Lattice vector of layers and planar averages.')
@click.option('--period', type=click.FloatRange(0, min_open=True), help='Window of the macroscopic average, Å.')
@click.option('--vacuum-from', type=_FILE, help='Reference of a slab with the same surfaces, for its vacuum level.')
@_property_options
def properties(hamiltonian, output, outputs, plot, vacuum_from, **options):
    """Gap, bands, density of states, masses, charges and more of a HAMILTONIAN file, with one diagonalisation."""
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions
    from aiida_hamlr.jobs.properties import run_properties

    wanted = [name.strip() for name in outputs.split(',') if name.strip()]
    run_properties(hamiltonian, output, wanted, PropertyOptions(**options), plot, vacuum_from)


@main.command()
@click.argument('model', type=_FILE)
@click.argument('data', type=_FILE, nargs=-1, required=True)
@click.option('--json', 'json_file', type=_FILE, help='Write the numbers to this file too.')
@click.option('--plot', type=_FILE, help='PNG, SVG or PDF file with the errors by species, shells and distance.')
@_OVERLAP_THRESHOLD
@click.option('--spin-orbit', is_flag=True, help='Compare bands of spinors; both sides get the same spin-orbit part.')
@_SPIN_ORBIT_PSEUDOS
@_MAGNETIZATION_AXIS
def evaluate(model, data, json_file, plot, overlap_threshold, **options):
    """Errors of a MODEL on reference Hamiltonians DATA, in meV: all, on-site, by distance; bands near the gap."""
    from aiida_hamlr.jobs.evaluate import run_evaluate

    run_evaluate(model, data, json_file, overlap_threshold or 0.0, plot=plot, **options)


@main.command()
@click.argument('data', type=_FILE, nargs=-1, required=True)
def statistics(data):
    """Describe training data: elements, distances, gaps and the size of H - H0 in the Hamiltonian files DATA."""
    from aiida_hamlr.jobs.statistics import describe_data

    for line in describe_data(data):
        click.echo(line)


@main.command()
@click.argument('file', type=_FILE)
@click.option('-o', '--output', type=_FILE, required=True, help='The new file, or a new folder for a model.')
def upgrade(file, output):
    """Write FILE, of an earlier version, in the newest: a Hamiltonian, basis, bands or properties file or a model."""
    from aiida_hamlr.jobs.upgrade import upgrade as run_upgrade

    run_upgrade(file, output)


@main.command()
@click.argument('file', type=_FILE)
def info(file):
    """Say in words what FILE holds: Hamiltonian, basis, bands, properties, model folder or UPF."""
    from aiida_hamlr.jobs.info import describe_file

    for line in describe_file(file):
        click.echo(line)


main.add_command(export_command)
main.add_command(import_command)


if __name__ == '__main__':
    main()
