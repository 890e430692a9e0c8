"""Values of options for all elements or for one."""

import pytest

from aiida_hamlr.jobs.by_element import by_element


def test_values():
    assert by_element('--size', ['dzp', 'Al=tzp', 'As = sz']) == {'': 'dzp', 'Al': 'tzp', 'As': 'sz'}
    assert by_element('--size', []) == {}


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (['8', '9'], '--radius 9: given twice for all elements'),
        (['Al=8', '7', 'Al=9'], '--radius Al=9: given twice for Al'),
        (['=8'], '--radius =8: give a value'),
        (['Al='], '--radius Al=: give a value'),
        ([''], '--radius : give a value'),
        (['In=8'], '--radius In=8: In is not among the elements, Al, As'),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        by_element('--radius', values, ('Al', 'As'))
