"""Tests of what a pw.x run is given; its steps are tested with the reference."""

import pytest

from aiida_hamlr.workflows.scf import count_bands


@pytest.mark.parametrize(
    ('system', 'expected'),
    [
        ({}, 4 + 8),
        ({'nspin': 2}, 4 + 8),
        ({'nspin': 2, 'tot_magnetization': -3}, 6 + 8),
        ({'nspin': 2, 'starting_magnetization': {'Al': 0.5, 'As': -0.5}}, 6 + 8),
        ({'noncolin': True, 'lspinorb': True}, 8 + 16),
        ({'NSPIN': 2, 'tot_magnetization': 0, 'starting_magnetization': {'Al': 0.5}}, 4 + 8),
    ],
)
def test_number_of_bands(structure, system, expected):
    """Three electrons of Al and five of As: each spin has its bands, the majority spin needs more, spinors twice."""
    assert count_bands(structure, {'Al': 3.0, 'As': 5.0}, system, 8) == expected
