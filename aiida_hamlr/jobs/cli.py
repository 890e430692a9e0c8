"""The `hamlr` executable.

What a command needs is imported inside it: torch and its companions take seconds, ``hamlr --help`` must not.
"""

from __future__ import annotations

import sys
import warnings

import click

from aiida_hamlr import __version__
from aiida_hamlr.jobs.cli_bands import bands_command, dos_command, properties_command
from aiida_hamlr.jobs.cli_exchange import export_command, import_command
from aiida_hamlr.jobs.cli_options import FILE, MAGNETIZATION_AXIS, OVERLAP_THRESHOLD, POSITIVE, SPIN_ORBIT_PSEUDOS
from aiida_hamlr.jobs.status import Status, one_line, status_of


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
            # Click does not always say in which command an error is.
            command = next((f'hamlr {argument}' for argument in args if argument in self.commands), 'hamlr')
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
@click.option('-o', '--output', type=FILE, required=True, help='Folder for the UPF files.')
@click.option(
    '--charge',
    'charges',
    multiple=True,
    metavar='[EL=]Q',
    help='Number of valence electrons: Ga=3, In=3, Zn=2, Cd=2 without d electrons, H=1.5 for a cap of a surface.',
)
def pseudo(elements, output, charges):
    """Write norm-conserving UPF files for ELEMENTS from the published GTH parameters (LDA); no download."""
    from aiida_hamlr.jobs.pseudo import make_pseudopotentials, parse_charges

    make_pseudopotentials(elements, output, parse_charges(charges, elements))


@main.command()
@click.option(
    '--upf',
    'upfs',
    type=FILE,
    multiple=True,
    help='Norm-conserving pseudopotential to generate orbitals from; H1=FILE for a species H1 of hydrogen.',
)
@click.option('--from', 'imported', type=FILE, help='Orbitals of another code: .ion.xml, .orb or .pao.')
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
    type=FILE,
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
    type=FILE,
    help='Draw bands of the first crystal, plain and contracted, into this file (PNG, SVG or PDF).',
)
@click.option(
    '-o', '--output', type=FILE, required=True, help='Basis file, as in Al.basis.h5; for several elements a folder.'
)
def basis(upfs, imported, sizes, radii, recipe, structures, spin_orbit, plot, output):
    """Generate the orbitals of elements from their pseudopotentials, or import those of another code."""
    from aiida_hamlr.jobs.basis import import_basis, make_bases
    from aiida_hamlr.jobs.by_element import by_element
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
    for key, option, values in (('size', '--size', sizes), ('cutoff_radius', '--cutoff-radius', radii)):
        for element, value in by_element(option, values).items():
            (content.setdefault(element, {}) if element else content)[key] = value
    make_bases(upfs, output, validate(BasisConfig, content, 'options'), structures, plot)


@main.command()
@click.argument('config', type=FILE)
def reconstruct(config):
    """Turn the density or the potential of a pw.x run into a Hamiltonian in an orbital basis, as CONFIG says."""
    from aiida_hamlr.jobs.reconstruct import run_reconstruct

    run_reconstruct(config)


@main.command()
@click.argument('structure', type=FILE)
@click.option('--basis', 'basis_folder', type=FILE, required=True, help='Folder with El.basis.h5 of every species.')
@click.option('--pseudos', type=FILE, required=True, help='Folder with a UPF file of every species.')
@click.option(
    '--ecutrho',
    type=POSITIVE,
    help='Cutoff of the grid for the potential, Ry.  [default: 160, or more where the pseudopotentials need it]',
)
@click.option('--spin-orbit', is_flag=True, help='Add the spin-orbit part of fully relativistic pseudopotentials.')
@SPIN_ORBIT_PSEUDOS
@click.option('-o', '--output', type=FILE, required=True, help='Hamiltonian file, as in h0.h5.')
def h0(structure, basis_folder, pseudos, ecutrho, spin_orbit, spin_orbit_folder, output):
    """Overlap and H0 (neutral atoms) of STRUCTURE, without any DFT run."""
    from aiida_hamlr.jobs.h0 import run_h0

    run_h0(structure, basis_folder, pseudos, ecutrho, output, spin_orbit, spin_orbit_folder)


@main.command()
@click.argument('config', type=FILE)
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
@click.argument('config', type=FILE)
def predict(config):
    """Predict Hamiltonians, bands and more of the structures that CONFIG names."""
    from aiida_hamlr.jobs.predict import run_predict

    run_predict(config)


@main.command()
@click.argument('model', type=FILE)
@click.argument('data', type=FILE, nargs=-1, required=True)
@click.option('--json', 'json_file', type=FILE, help='Write the numbers to this file too.')
@click.option('--plot', type=FILE, help='PNG, SVG or PDF file with the errors by species, shells and distance.')
@OVERLAP_THRESHOLD
@click.option('--spin-orbit', is_flag=True, help='Compare bands of spinors; both sides get the same spin-orbit part.')
@SPIN_ORBIT_PSEUDOS
@MAGNETIZATION_AXIS
def evaluate(model, data, json_file, plot, overlap_threshold, **options):
    """Errors of a MODEL on reference Hamiltonians DATA, in meV: all, on-site, by distance; bands near the gap."""
    from aiida_hamlr.jobs.evaluate import run_evaluate

    run_evaluate(model, data, json_file, overlap_threshold or 0.0, plot=plot, **options)


@main.command()
@click.argument('data', type=FILE, nargs=-1, required=True)
def statistics(data):
    """Describe training data: elements, distances, gaps and the size of H - H0 in the Hamiltonian files DATA."""
    from aiida_hamlr.jobs.statistics import describe_data

    for line in describe_data(data):
        click.echo(line)


@main.command()
@click.argument('file', type=FILE)
@click.option('-o', '--output', type=FILE, required=True, help='The new file, or a new folder for a model.')
def upgrade(file, output):
    """Write FILE, of an earlier version, in the newest: a Hamiltonian, basis, bands or properties file or a model."""
    from aiida_hamlr.jobs.upgrade import upgrade as run_upgrade

    run_upgrade(file, output)


@main.command()
@click.argument('file', type=FILE)
def info(file):
    """Say in words what FILE holds: Hamiltonian, basis, bands, properties, model folder or UPF."""
    from aiida_hamlr.jobs.info import describe_file

    for line in describe_file(file):
        click.echo(line)


for _command in (bands_command, dos_command, properties_command, export_command, import_command):
    main.add_command(_command)


if __name__ == '__main__':
    main()
