"""The entry points that AiiDA finds."""

from importlib.metadata import entry_points

import pytest
from aiida.cmdline.commands.cmd_devel import devel_validate_plugins
from click.testing import CliRunner

GROUPS = (
    'aiida.data',
    'aiida.calculations',
    'aiida.calculations.importers',
    'aiida.parsers',
    'aiida.workflows',
    'aiida.cmdline.data',
)


@pytest.mark.usefixtures('aiida_profile')
def test_verdi_finds_that_all_plugins_are_valid():
    result = CliRunner().invoke(devel_validate_plugins, obj=None)
    assert result.exit_code == 0, result.output
    assert 'all registered plugins' in result.output


def test_every_entry_point_can_be_loaded_and_has_the_prefix_of_the_package():
    ours = [entry for group in GROUPS for entry in entry_points(group=group) if entry.dist.name == 'aiida-hamlr']
    assert len(ours) >= 22
    for entry in ours:
        assert entry.name.split('.')[0] == 'hamlr'
        assert entry.module.startswith('aiida_hamlr.')
        assert entry.load() is not None
