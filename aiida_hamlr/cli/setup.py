"""`aiida-hamlr setup`: computers and codes."""

import click
from aiida.cmdline.utils import decorators, echo

from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_setup',)


@cmd_root.group('setup')
def cmd_setup():
    """Set up what the work chains need."""


@cmd_setup.command('codes')
@click.argument('computer', default='localhost')
@click.option('--pw', metavar='PATH', help='pw.x on the computer.')
@click.option('--pp', metavar='PATH', help='pp.x on the computer.')
@click.option('--hamlr', metavar='PATH', help='hamlr on the computer.')
@click.option('--prepend-text', default='', help='Commands before every run, as "module load".')
@decorators.with_dbenv()
def setup_codes(computer, pw, pp, hamlr, prepend_text):
    """Make the codes pw, pp (which no work chain needs) and hamlr on COMPUTER.

    Executables that are not given are looked for on this machine; a computer `localhost` is made if there is none.
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
