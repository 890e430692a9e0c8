"""Tests of the checks before anything runs."""

import pytest
from aiida import orm

from aiida_hamlr.calculations.validation import find_pw_problem


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'SYSTEM': {'nspin': 1, 'tot_charge': 0, 'noncolin': False}}, None),
        ({'SYSTEM': {'nspin': 2, 'tot_magnetization': 1}}, None),
        ({'system': {'NSPIN': 4}}, '`SYSTEM.nspin` is neither 1 nor 2'),
        ({'SYSTEM': {'tot_magnetization': 1}}, 'need `nspin` 2'),
        ({'SYSTEM': {'nspin': 2, 'occupations': 'fixed', 'tot_magnetization': 0}}, None),
        ({'SYSTEM': {'nspin': 2, 'occupations': 'fixed', 'starting_magnetization': {'Fe': 0.5}}}, 'needs `tot_mag'),
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


def test_spin_needs_the_density():
    """The potential of pp.x is that of one spin."""
    for name in ('nspin', 'NSPIN'):
        pw = {'parameters': orm.Dict({'SYSTEM': {name: 2}})}
        assert find_pw_problem(pw) is None
        assert 'leave `potential` out' in find_pw_problem(pw, with_pp=True)
        assert 'does not support spin-polarised' in find_pw_problem(pw, to_learn=True)


def test_no_parameters():
    """Inputs without parameters are the business of another check."""
    assert find_pw_problem({}) is None
