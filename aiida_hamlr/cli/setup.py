"""`aiida-hamlr setup`: computers and codes."""

import click
from aiida.cmdline.utils import decorators, echo

from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_setup',)


@cmd_root.group('setup')
def cmd_setup():
    """Set up computers and codes for the work chains."""


@cmd_setup.command('codes')
@click.argument('computer', default='localhost')
@click.option('--pw', metavar='PATH', help='Path of pw.x on the computer.')
@click.option('--pp', metavar='PATH', help='Path of pp.x on the computer.')
@click.option('--hamlr', metavar='PATH', help='Path of hamlr on the computer.')
@click.option('--prepend-text', default='', help='Commands before every run, for example "module load".')
@decorators.with_dbenv()
def setup_codes(computer, pw, pp, hamlr, prepend_text):
    """Create the codes pw, hamlr and pp (optional) on COMPUTER.

    For the local computer, executables that are not given are searched for; `localhost` is created if it does not
    exist.
    """
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_hamlr.cli.installation import create_codes, create_localhost

    paths = {label: path for label, path in (('pw', pw), ('pp', pp), ('hamlr', hamlr)) if path}
    try:
        machine = create_localhost() if computer == 'localhost' else orm.load_computer(computer)
        codes = create_codes(machine, paths, prepend_text)
    except (NotExistent, ValueError) as error:
        echo.echo_critical(str(error))
    for code in codes.values():
        echo.echo_success(f'{code.full_label}: {code.filepath_executable}')
