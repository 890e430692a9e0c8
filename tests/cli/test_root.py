"""Tests of the commands as a whole."""

import pytest

from aiida_hamlr.cli import cmd_root

LAUNCH = ('reference', 'dataset', 'train', 'predict', 'screen', 'pipeline')
SCREEN = (('show',), ('export', 'csv'), ('plot',))


@pytest.mark.parametrize(
    'command',
    [
        (),
        ('launch',),
        ('setup', 'codes'),
        *(('launch', name) for name in LAUNCH),
        *(('screen', *name) for name in SCREEN),
    ],
)
def test_help(invoke, command):
    """Every command explains itself."""
    result = invoke(cmd_root, *command, '--help')
    assert result.exit_code == 0
    assert 'Usage' in result.output


def test_interruption(invoke, monkeypatch):
    """Ctrl-C ends a command with one line and status 130."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cmd_root.commands['screen'], 'invoke', interrupt)
    result = invoke(cmd_root, 'screen', 'show', '1')
    assert result.exit_code == 130
    assert result.output == 'aiida-hamlr: interrupted\n'
