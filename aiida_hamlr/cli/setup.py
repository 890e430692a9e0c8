"""`aiida-hamlr setup`: database, computers, codes and pseudopotentials."""

from pathlib import Path

import click

from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.root import cmd_root
from aiida_hamlr.jobs.cli_options import POSITIVE

__all__ = ('cmd_setup',)


@cmd_root.group('setup')
def cmd_setup():
    """Set up the database, computers, codes and pseudopotentials for the work chains."""


@cmd_setup.command('database')
def setup_database():
    """Let commands read the SQLite database of the profile while the daemon writes it.

    Needed once for each profile that keeps its data in SQLite, as those of `verdi presto` do. Stop the daemon first.
    The command switches on SQLite's write-ahead log, which needs a local disk, not a network file system; the newest
    changes are then in a file beside the database, so stop the daemon before you copy the profile. With PostgreSQL
    there is nothing to do. Example: aiida-hamlr setup database
    """
    from aiida.manage import get_manager

    from aiida_hamlr.cli.database import allow_concurrent_reading, database_path

    profile = get_manager().get_profile()
    if profile is None:
        echo.echo_critical('there is no profile yet: verdi presto --use-zeromq')
    path = database_path(profile)
    if path is None:
        echo.echo_success(f'nothing to do: the profile {profile.name} does not use SQLite ({profile.storage_backend})')
        return
    try:
        allow_concurrent_reading(path)
    except ValueError as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'commands can read the database of {profile.name} while the daemon writes it')


@cmd_setup.command('codes')
@click.argument('computer', default='localhost')
@click.option('--pw', metavar='PATH', help='Path of pw.x on the computer.')
@click.option('--pp', metavar='PATH', help='Path of pp.x on the computer.')
@click.option('--hamlr', metavar='PATH', help='Path of hamlr on the computer.')
@click.option('--prepend-text', default='', help='Commands before every run, for example "module load".')
@with_dbenv()
def setup_codes(computer, pw, pp, hamlr, prepend_text):
    """Create the codes pw, hamlr and pp (optional) on COMPUTER.

    For the local computer, executables that are not given are searched for; `localhost` is created if it does not
    exist. A code whose executable is elsewhere now is replaced; runs keep the former one.

    Example: aiida-hamlr setup codes cluster --pw /path/to/pw.x --hamlr /path/to/hamlr
    """
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_hamlr.cli.installation import create_codes, create_localhost, find_codes

    paths = {label: path for label, path in (('pw', pw), ('pp', pp), ('hamlr', hamlr)) if path}
    try:
        machine = create_localhost() if computer == 'localhost' else orm.load_computer(computer)
        before = find_codes(machine)
        codes = create_codes(machine, paths, prepend_text)
    except (NotExistent, ValueError) as error:
        echo.echo_critical(str(error))
    for label, code in codes.items():
        echo.echo_success(f'{code.full_label}: {code.filepath_executable}')
        former = before.get(label)
        if former is not None and former.pk != code.pk:
            echo.echo_report(f'the former one, {former.filepath_executable}, is {former.full_label} now')


@cmd_setup.command('pseudos')
@click.argument('folder', type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument('label')
@click.option(
    '--ecutwfc', type=POSITIVE, help='Cutoff of all elements, Ry; by default measured for each pseudopotential.'
)
@with_dbenv()
def setup_pseudos(folder, label, ecutwfc):
    """Make the family LABEL of the UPF files in FOLDER, with cutoffs.

    Other files are ignored. Each element may occur once. The cutoffs are those above which the orbitals of the free
    atom have less than 10 meV of kinetic energy. Example: aiida-hamlr setup pseudos pseudos GTH-LDA
    """
    from aiida_hamlr.cli.installation import create_measured_family

    try:
        cutoffs = create_measured_family(folder, label, ecutwfc)
    except ValueError as error:
        echo.echo_critical(str(error))
    for element, cutoff in cutoffs.items():
        echo.echo(f'{element}: ecutwfc {cutoff:g} Ry, ecutrho {4 * cutoff:g} Ry')
    echo.echo_success(f'family {label}: {len(cutoffs)} elements; use it with -F {label}')
