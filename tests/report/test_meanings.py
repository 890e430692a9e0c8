"""Names, units and meanings of numbers."""

import math

import pytest

from aiida_hamlr.report.meanings import describe, format_value, pick_rows


@pytest.mark.parametrize(
    ('key', 'value', 'name', 'text'),
    [
        ('test_mae_onsite_meV', 1.23456, 'Test: on-site error', '1.235 meV'),
        ('gap_eV', 1.5, 'Gap', '1.5 eV'),
        ('n_train', 12, 'Training structures', '12'),
        ('size', 1_699_631, 'Size of the file', '1.7 MB'),
        ('species', ['Al', 'As'], 'Species', 'Al, As'),
    ],
)
def test_names(key, value, name, text):
    """The unit leaves the key, and the part of the data comes first."""
    assert describe(key, value)[:2] == (name, text)


def test_which_error_to_quote():
    """The report says so of the on-site error, and warns of the mean over all elements."""
    assert 'Quote this' in describe('validation_mae_onsite_meV', 1.0)[2]
    assert 'do not quote' in describe('test_mae_meV', 1.0)[2]


def test_values():
    """Numbers that are not known are no numbers."""
    assert format_value(math.nan) == 'not known'
    assert format_value({'Al': 0.25}) == 'Al 0.25'
    assert format_value([-9.19, -9.153], 3) == '-9.190, -9.153' and format_value(4, 3) == '4'
    assert [row[1] for row in pick_rows({'gap_eV': None, 'vbm_eV': -1.0}, ('gap_eV', 'vbm_eV'))] == ['-1 eV']
