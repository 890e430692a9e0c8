"""The entry points that AiiDA finds."""

from importlib.metadata import entry_points

import pytest
from aiida.plugins.entry_point import ENTRY_POINT_GROUP_FACTORY_MAPPING, get_entry_points

GROUPS = (
    'aiida.data',
    'aiida.calculations',
    'aiida.calculations.importers',
    'aiida.parsers',
    'aiida.workflows',
    'aiida.cmdline.data',
)


@pytest.mark.usefixtures('aiida_profile')
def test_aiida_finds_that_all_plugins_are_valid():
    """The check of `verdi devel validate-plugins` on ours; it would end at the first fault of any installed package."""
    checked = [
        factory(entry.name)
        for group, factory in ENTRY_POINT_GROUP_FACTORY_MAPPING.items()
        for entry in get_entry_points(group)
        if entry.name.startswith('hamlr')
    ]
    assert len(checked) >= 22


def test_every_entry_point_can_be_loaded_and_has_the_prefix_of_the_package():
    ours = [entry for group in GROUPS for entry in entry_points(group=group) if entry.dist.name == 'aiida-hamlr']
    assert len(ours) >= 22
    for entry in ours:
        assert entry.name.split('.')[0] == 'hamlr'
        assert entry.module.startswith('aiida_hamlr.')
        assert entry.load() is not None
