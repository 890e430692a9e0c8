"""The smallest sufficient cutoff out of several summaries."""

import pytest
from aiida import orm

from aiida_hamlr.calculations.functions.cutoff import choose_cutoff


@pytest.fixture
def summaries(aiida_profile):
    rows = [(50.0, 2.0), (32.0, 9.0), (25.6, 31.0)]
    return {
        f'at_{int(cutoff)}': orm.Dict({'ecutwfc_Ry': cutoff, 'ecutrho_Ry': 4 * cutoff, 'cutoff_error_meV': error})
        for cutoff, error in rows
    }


def test_the_smallest_cutoff_within_the_tolerance_is_taken(summaries):
    found = choose_cutoff(orm.Float(10.0), **summaries)
    assert (found['ecutwfc_Ry'], found['ecutrho_Ry'], found['cutoff_error_meV']) == (32.0, 128.0, 9.0)
    assert [row['ecutwfc_Ry'] for row in found['tried']] == [25.6, 32.0, 50.0]
    # It is linked to all that were tried.
    assert len(found.creator.base.links.get_incoming().all()) == 4


def test_no_cutoff_is_invented(summaries):
    with pytest.raises(ValueError, match='within 1 meV'):
        choose_cutoff(orm.Float(1.0), **summaries)
