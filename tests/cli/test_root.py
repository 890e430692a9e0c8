"""Tests of the commands as a whole."""

import pytest

from aiida_hamlr.cli import cmd_root

LAUNCH = ('reference', 'dataset', 'train', 'predict', 'pipeline')


@pytest.mark.parametrize('command', [(), ('launch',), ('setup', 'codes'), *(('launch', name) for name in LAUNCH)])
def test_help(invoke, command):
    """Every command explains itself."""
    result = invoke(cmd_root, *command, '--help')
    assert result.exit_code == 0
    assert 'Usage' in result.output
