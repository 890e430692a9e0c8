"""Tests of what reads the executable's files."""

import numpy as np
import pytest

from aiida_hamlr.electronic.species import labelled_atoms
from aiida_hamlr.parsers.raw import find_difference, find_reason, parse_metrics, parse_summary


def test_reason():
    """The executable's own line is found among those of the shell, MPI and libraries."""
    stderr = 'Warning: slow\nhamlr: scf.xml: not converged; run pw.x again\nmpirun noticed something\n'
    assert find_reason(stderr) == 'hamlr: scf.xml: not converged; run pw.x again'
    assert find_reason('Traceback\n  File x\nKeyError: 3\n') == 'KeyError: 3'
    assert find_reason('') == 'no message'
    assert len(find_reason('x' * 10000)) == 400


def test_difference_of_structures():
    """Species count, not only elements; positions may differ by lattice vectors."""

    def make(labels, shift=0.0):
        return labelled_atoms(labels, positions=[[0, 0, 0], [0, 0, 1 + shift]], cell=np.eye(3) * 3, pbc=True)

    assert find_difference(make(['H1', 'H2'], 3.0), make(['H1', 'H2'])) is None
    assert find_difference(make(['H2', 'H1']), make(['H1', 'H2'])) == 'atom 0 (counted from 0) is H2 instead of H1'
    assert find_difference(make(['H', 'H']), make(['H', 'H2'])) == 'atom 1 (counted from 0) is H instead of H2'
    assert find_difference(make(['H', 'He']), make(['H', 'H'])) == 'atom 1 (counted from 0) is He instead of H'
    assert find_difference(make(['H', 'H'])[:1], make(['H', 'H'])) == '1 atoms instead of 2'
    assert '0.1 Å away' in find_difference(make(['H', 'H'], 0.1), make(['H', 'H']))
    other = make(['H', 'H'])
    other.cell[0, 0] += 0.1
    assert find_difference(other, make(['H', 'H'])) == 'its cell is another'


def test_summary():
    """Numbers that a database cannot hold become nothing."""
    assert parse_summary('{"a": 1, "b": {"c": [NaN, 2.0]}, "d": Infinity}') == {
        'a': 1,
        'b': {'c': [None, 2.0]},
        'd': None,
    }
    with pytest.raises(ValueError, match='not JSON'):
        parse_summary('{"a": ')
    with pytest.raises(ValueError, match='not a JSON object'):
        parse_summary('[1]')


def test_metrics():
    """Columns become arrays, gaps NaN."""
    columns = parse_metrics('epoch,loss,validation_mae_meV\n0,1.5,\n1,0.5,7.0\n')
    assert list(columns) == ['epoch', 'loss', 'validation_mae_meV']
    np.testing.assert_array_equal(columns['loss'], [1.5, 0.5])
    np.testing.assert_array_equal(columns['validation_mae_meV'], [np.nan, 7.0])
    with pytest.raises(ValueError, match='no rows'):
        parse_metrics('epoch,loss\n')


def test_columns_without_values_are_left_out():
    """Errors of bands that were not computed are no column; a validation now and then is one, with gaps."""
    found = parse_metrics('epoch,train_band_mae_meV,validation_mae_meV,odd\n1,,,nan\n2,,3.5,nan\n')
    assert set(found) == {'epoch', 'validation_mae_meV'}
    assert np.isnan(found['validation_mae_meV'][0]) and found['validation_mae_meV'][1] == 3.5
