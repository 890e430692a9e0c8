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
