"""Types of arguments: AiiDA's own convert them, and the shell completes them without loading AiiDA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from aiida_hamlr.cli import completion
from aiida_hamlr.plotting.formats import check_suffix

__all__ = ('ANY', 'CODE', 'FAMILY', 'FIGURE_FILE', 'PROFILE', 'STRUCTURE', 'NodeType', 'ProcessType')


class _Lazy(click.ParamType):
    """A type whose values are not converted while the shell completes."""

    def convert(self, value, param, ctx):
        """Return what the value stands for."""
        if ctx is not None and ctx.resilient_parsing:
            return value
        return self._convert(value, param, ctx)

    def _convert(self, value, param, ctx):
        return value

    def _find(self, profile: str | None) -> Sequence[tuple[str, str]]:
        """Return the values to offer, each with a word about it."""
        raise NotImplementedError

    def shell_complete(self, ctx, param, incomplete):
        """Return what begins with the incomplete value."""
        found = self._find(ctx.find_root().params.get('profile'))
        return [CompletionItem(value, help=about or None) for value, about in found if value.startswith(incomplete)]


class _Code(_Lazy):
    name = 'code'

    def _convert(self, value, param, ctx):
        from aiida.cmdline.params.types import CodeParamType

        return CodeParamType().convert(value, param, ctx)

    def _find(self, profile):
        return completion.find_codes(profile)


class _Family(_Lazy):
    name = 'family'

    def _find(self, profile):
        return completion.find_families(profile)


class _Profile(_Lazy):
    name = 'profile'

    def _find(self, profile):
        return [(name, '') for name in completion.find_profiles()]


class NodeType(_Lazy):
    """A data node of some kinds, by PK, UUID or label.

    Parameters
    ----------
    kinds : str
        Names of entry points, as in ``hamlr.model``; any of their nodes is accepted.
    """

    name = 'node'

    def __init__(self, *kinds: str):
        self.kinds = kinds

    def _convert(self, value, param, ctx):
        from aiida.cmdline.params.types import DataParamType

        return DataParamType(sub_classes=tuple(f'aiida.data:{kind}' for kind in self.kinds)).convert(value, param, ctx)

    def _find(self, profile):
        return completion.find_nodes([f'data.{kind}.' for kind in self.kinds], profile)


class ProcessType(_Lazy):
    """A process, by PK, UUID or label.

    Parameters
    ----------
    kinds : str
        Beginnings of the process types to offer; others are accepted too.
    """

    name = 'process'

    def __init__(self, *kinds: str):
        self.kinds = kinds or ('aiida.workflows:hamlr.', 'aiida.calculations:hamlr.')

    def _convert(self, value, param, ctx):
        from aiida.cmdline.params.types import ProcessParamType

        return ProcessParamType().convert(value, param, ctx)

    def _find(self, profile):
        return completion.find_nodes(self.kinds, profile)


class _Any(_Lazy):
    """Any node, by PK, UUID or label; those of this package are offered."""

    name = 'node'

    def _convert(self, value, param, ctx):
        from aiida.cmdline.params.types import NodeParamType

        return NodeParamType().convert(value, param, ctx)

    def _find(self, profile):
        kinds = ('data.hamlr.', 'aiida.workflows:hamlr.', 'aiida.calculations:hamlr.')
        return completion.find_nodes(kinds, profile)


class _Structure(_Lazy):
    name = 'structure'

    def shell_complete(self, ctx, param, incomplete):
        """Files, which the shell knows best."""
        return [CompletionItem(incomplete, type='file')]


class _Figure(click.Path):
    """File of a figure; its suffix is checked before any work."""

    def convert(self, value, param, ctx):
        """The path; a usage error if the suffix is of no format of figures."""
        try:
            check_suffix(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


FIGURE_FILE = _Figure(dir_okay=False, path_type=Path)
CODE, FAMILY, PROFILE, STRUCTURE, ANY = _Code(), _Family(), _Profile(), _Structure(), _Any()
