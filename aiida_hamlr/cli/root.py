"""The root of `aiida-hamlr`."""

from __future__ import annotations

import difflib
import logging
import os
import sys
from importlib import import_module

import click

from aiida_hamlr import __version__
from aiida_hamlr.cli import types

__all__ = ('COMMANDS', 'cmd_root')

#: Modules that add a command to the root, by the name of the command.
COMMANDS = ('dataset', 'hamiltonian', 'launch', 'model', 'report', 'rounds', 'screen', 'setup', 'status')

_LEVELS = ('notset', 'debug', 'info', 'report', 'warning', 'error', 'critical')


def _set_verbosity(context, parameter, value):
    """Let AiiDA log to the terminal, at a level if one is given."""
    if context.resilient_parsing:
        return
    from aiida.cmdline.params.options.main import set_log_level
    from aiida.cmdline.utils.log import CliHandler

    CliHandler.handleError = _handle_error
    set_log_level(context, parameter, value)


def _handle_error(handler: logging.Handler, record: logging.LogRecord):
    """Print nothing more once the reader of the output has ended, as ``head`` does; a run in the foreground goes on."""
    if isinstance(sys.exc_info()[1], BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        logging.Handler.handleError(handler, record)


def _load_profile(context, parameter, value):
    """Load a profile by its name, or the default one; the storage is opened by the commands that need it."""
    if context.resilient_parsing:
        return value
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage import get_manager
    from aiida.manage.configuration import load_profile

    if value is None and get_manager().get_profile() is not None:
        return None
    try:
        load_profile(value)
    except ConfigurationError as error:
        if value is not None:
            raise click.BadParameter(str(error)) from error
        # The command says so if it needs one.
    return value


_VERBOSITY = click.option(
    '-v',
    '--verbosity',
    type=click.Choice(_LEVELS, case_sensitive=False),
    callback=_set_verbosity,
    # Before arguments that open the storage: from then on AiiDA's handlers write reports to the database.
    is_eager=True,
    expose_value=False,
    help='Set the verbosity of the output.',
)


class _Group(click.Group):
    """Suggests commands for misspelt ones, and gives each the option `--verbosity`."""

    def get_command(self, context, name):
        """Return a command; an unknown one is an error with the most similar names."""
        command = super().get_command(context, name)
        if command is None:
            if context.resilient_parsing:
                return None
            similar = difflib.get_close_matches(name, self.list_commands(context), cutoff=0.5)
            similar = similar or [other for other in self.list_commands(context) if other.startswith(name)][:3]
            hint = f'did you mean {" or ".join(similar)}?' if similar else f'see {context.command_path} --help'
            context.fail(f'{name!r} is not a command of {context.command_path}: {hint}')
        return self._with_verbosity(command)

    @staticmethod
    def _with_verbosity(command):
        if not isinstance(command, click.Group) and 'verbosity' not in [option.name for option in command.params]:
            _VERBOSITY(command)
        return command

    def group(self, *args, **kwargs):
        """Return a decorator for a group of this class."""
        kwargs.setdefault('cls', _Group)
        return super().group(*args, **kwargs)


class _Root(_Group):
    """Imports commands when they are used; ends with one line if interrupted (130) or if the database is locked."""

    def list_commands(self, context):
        """Return the names of all commands."""
        return sorted({*COMMANDS, *self.commands})

    def get_command(self, context, name):
        """Return a command, whose module adds it to this group."""
        if name in COMMANDS and name not in self.commands:
            import_module(f'aiida_hamlr.cli.{name}')
        return super().get_command(context, name)

    def invoke(self, context):
        """Run the command."""
        from aiida_hamlr.cli.database import locked_as_one_line

        try:
            with locked_as_one_line():
                return super().invoke(context)
        except (KeyboardInterrupt, click.Abort):
            click.echo('aiida-hamlr: interrupted', err=True)
            context.exit(130)


@click.group('aiida-hamlr', cls=_Root, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(__version__, '--version', prog_name='aiida-hamlr')
@click.option(
    '-p',
    '--profile',
    type=types.PROFILE,
    callback=_load_profile,
    help='Profile of AiiDA to use instead of the default one.',
)
def cmd_root(profile):
    """Machine-learned DFT Hamiltonians with AiiDA."""
