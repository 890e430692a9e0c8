"""Tests of the parser of potentials."""

import pytest
from aiida.plugins import CalculationFactory

STATUS = {'hamlr.status': '0'}
CODES = CalculationFactory('hamlr.potential').exit_codes


@pytest.mark.parametrize(
    ('stdout', 'label'),
    [
        ('     Program POST-PROC v.6.7MaX\n     Writing data to file  aiida.filplot\n   JOB DONE.\n', None),
        ('     Program POST-PROC v.6.7MaX\n   JOB DONE.\n', 'ERROR_POTENTIAL_NOT_WRITTEN'),
        ('     Program POST-PROC v.6.7MaX\n     Writing data to', 'ERROR_OUTPUT_STDOUT_INCOMPLETE'),
    ],
)
def test_potential(parse, stdout, label):
    """pp.x must have written the potential and come to its end."""
    _, node = parse('hamlr.potential', {'hamlr.out': stdout})
    assert node.exit_status == (0 if label is None else CODES[label].status)
