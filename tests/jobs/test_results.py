"""The table of a prediction: rows as they come, after an interruption, and what is no table."""

import pytest

from aiida_hamlr.jobs.results import COLUMNS, ResultsWriter, read_results, write_results

ROW = {'label': 'a', 'status': 'done', 'n_atoms': 2, 'gap_eV': 1.0 / 3.0, 'vbm_kpoint': [0.0, 0.5, 0.5]}


def test_values_come_back_to_the_last_digit(tmp_path):
    rows = [ROW, {'label': 'b', 'status': 'failed', 'reason': 'commas, "quotes" and\nlines'}]
    write_results(tmp_path / 'results.csv', rows)
    assert (tmp_path / 'results.csv').read_text().splitlines()[0] == ','.join(COLUMNS)
    first, second = read_results(tmp_path / 'results.csv')
    assert first == ROW
    assert second['reason'] == 'commas, "quotes" and lines'
    assert 'gap_eV' not in second


def test_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / 'results.csv'
    with ResultsWriter(path, [ROW]) as table:
        table.add({**ROW, 'label': 'b'})
        # What is in the file does not wait for the end of the run.
        assert [row['label'] for row in read_results(path)] == ['a', 'b']
        table.add({**ROW, 'label': 'c'})
    path.write_text(path.read_text()[:-20])
    assert [row['label'] for row in read_results(path)] == ['a', 'b']


@pytest.mark.parametrize(
    'text', ['', 'x,y\n1,2\n', 'label,label\na,b\n', 'label,gap_eV\na,wide\n', 'label,gap_eV\na\n']
)
def test_no_table(tmp_path, text):
    path = tmp_path / 'results.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'results\.csv'):
        read_results(path)
