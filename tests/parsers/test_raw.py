"""Tests of what reads the executable's files."""

import numpy as np
import pytest

from aiida_hamlr.parsers.raw import find_reason, parse_metrics, parse_summary


def test_reason():
    """The executable's own line is found among those of the shell, MPI and libraries."""
    stderr = 'Warning: slow\nhamlr: scf.xml: not converged; run pw.x again\nmpirun noticed something\n'
    assert find_reason(stderr) == 'hamlr: scf.xml: not converged; run pw.x again'
    assert find_reason('Traceback\n  File x\nKeyError: 3\n') == 'KeyError: 3'
    assert find_reason('') == 'no message'
    assert len(find_reason('x' * 10000)) == 400


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
