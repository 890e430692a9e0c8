"""What commands need of AiiDA's command line, imported when it is used: `--help` and completion do without."""

from __future__ import annotations

from functools import partial, wraps
from importlib import import_module

import click

__all__ = ('echo', 'reusable', 'with_dbenv')


class _LazyModule:
    """A module that is imported when one of its names is used."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str):
        return getattr(import_module(self._name), name)


#: Messages in AiiDA's style.
echo = _LazyModule('aiida.cmdline.utils.echo')


def reusable(*names, **settings) -> partial:
    """Return an option that several commands have: call it to decorate a command, with changed settings if need be."""
    return partial(click.option, *names, **settings)


def with_dbenv():
    """Return a decorator that loads the storage of the profile before the command runs."""

    def decorate(command):
        @wraps(command)
        def run(*args, **kwargs):
            from aiida.cmdline.utils.decorators import load_backend_if_not_loaded
            from aiida.common.exceptions import ConfigurationError, IntegrityError, LockedProfileError

            try:
                load_backend_if_not_loaded()
            except (ConfigurationError, IntegrityError, LockedProfileError) as error:
                echo.echo_critical(str(error))
            return command(*args, **kwargs)

        return run

    return decorate
