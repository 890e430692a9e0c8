"""The command line: `aiida-hamlr`, and `verdi data hamlr`."""

from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_root',)
