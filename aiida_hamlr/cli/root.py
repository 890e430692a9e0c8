"""The root of `aiida-hamlr`."""

import click
from aiida.cmdline.groups import VerdiCommandGroup
from aiida.cmdline.params import options, types

from aiida_hamlr import __version__

__all__ = ('cmd_root',)


class _Group(VerdiCommandGroup):
    """Ends with one line and status 130 when the user interrupts, as `hamlr` does."""

    def invoke(self, context):
        """Run the command."""
        try:
            return super().invoke(context)
        except (KeyboardInterrupt, click.Abort):
            click.echo('aiida-hamlr: interrupted', err=True)
            context.exit(130)


@click.group('aiida-hamlr', cls=_Group, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(__version__, '--version', prog_name='aiida-hamlr')
@options.PROFILE(type=types.ProfileParamType(load_profile=True), expose_value=False)
def cmd_root():
    """Machine-learned DFT Hamiltonians with AiiDA."""
