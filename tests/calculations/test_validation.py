"""Tests of the checks before anything runs."""

import pytest
from aiida import orm

from aiida_hamlr.calculations.validation import find_pw_problem


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'SYSTEM': {'nspin': 1, 'tot_charge': 0, 'noncolin': False}}, None),
        ({'SYSTEM': {'nspin': 2}}, 'magnetic runs'),
        ({'system': {'NSPIN': 2}}, 'magnetic runs'),
        ({'SYSTEM': {'tot_magnetization': 1}}, 'magnetic runs'),
        ({'SYSTEM': {'LSPINORB': True}}, 'spin-orbit'),
        ({'system': {'tot_charge': -1}}, 'charged cells (`SYSTEM.tot_charge` -1)'),
        ({'SYSTEM': {'lda_plus_u': True}}, 'Hubbard'),
        ({'CONTROL': {'tefield': True}}, 'electric fields'),
        ({'control': {'Calculation': 'nscf'}}, "'nscf'"),
    ],
)
def test_unsupported_runs_of_pw(parameters, words):
    """What is not supported is found however the names are written."""
    found = find_pw_problem({'parameters': orm.Dict(parameters)})
    assert found is None if words is None else words in found


def test_no_parameters():
    """Inputs without parameters are the business of another check."""
    assert find_pw_problem({}) is None
