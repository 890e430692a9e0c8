"""Tables of many structures and several models."""

import csv
import io

import pytest

from aiida_hamlr.jobs.tables import format_table, make_row

ONE = {'formula': 'AlAs', 'n_atoms': 2, 'gap_eV': 1.0, 'vbm_eV': -6.0, 'vbm_kpoint': [0.0, 0.0, 0.0]}


def test_one_model_is_taken_as_it_is():
    row = make_row({'label': 'a'}, 1, {'model': ONE})
    assert row == {**ONE, 'label': 'a', 'status': 'done'}
    assert make_row({'label': 'a'}, 1, {}, {'model': 'too close'}) == {
        'label': 'a',
        'status': 'failed',
        'reason': 'too close',
    }
    assert make_row({'label': 'a'}, 1, {})['status'] == 'waiting'


def test_several_models_have_mean_and_spread():
    other = {**ONE, 'gap_eV': 1.2, 'vbm_kpoint': [0.5, 0.0, 0.0]}
    row = make_row({'label': 'a'}, 2, {'x': ONE, 'y': other})
    assert row['gap_eV'] == pytest.approx(1.1)
    # The standard deviation of a sample of two is their difference over the root of two.
    assert row['gap_spread_eV'] == pytest.approx(0.2 / 2**0.5)
    assert row['vbm_spread_eV'] == 0.0
    assert (row['x.gap_eV'], row['y.gap_eV']) == (1.0, 1.2)
    assert 'vbm_kpoint' not in row
    part = make_row({'label': 'a'}, 2, {'x': ONE}, {'y': 'never saw As'})
    assert (part['status'], part['n_models'], part['gap_eV']) == ('failed', 1, 1.0)
    assert 'gap_spread_eV' not in part


def test_rows_of_unequal_columns_make_one_table():
    table = [make_row({'label': 'a'}, 1, {'m': ONE}), make_row({'label': 'b'}, 1, {}, {'m': 'broken, at once'})]
    rows = list(csv.DictReader(io.StringIO(format_table(table))))
    assert [row['label'] for row in rows] == ['a', 'b']
    assert float(rows[0]['gap_eV']) == 1.0
    assert rows[1]['gap_eV'] == ''
    assert rows[1]['reason'] == 'broken, at once'
