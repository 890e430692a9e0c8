"""Orbitals of other codes on the command line and in configurations."""

import json

import pytest

from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.jobs.inputs import read_basis_files


@pytest.fixture
def orb(tmp_path, write_orb):
    """An .orb file of ABACUS with one s function."""
    return write_orb(tmp_path / 'H_gga_6au.orb')


def test_import_on_the_command_line(hamlr, orb, tmp_path):
    result = hamlr('basis', '--from', orb, '-o', 'H.basis.h5')
    assert result.exit_code == 0, result.stderr
    basis = SpeciesBasis.read(tmp_path / 'H.basis.h5')
    assert (basis.element, basis.n_orbitals, basis.cutoff_radius) == ('H', 1, 6.0)
    assert basis.metadata['format'] == 'ABACUS .orb'
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['content_hash'] == basis.content_hash and summary['imported_from'] == str(orb)


def test_files_of_other_codes_in_a_configuration(orb):
    assert read_basis_files({'H': orb})['H'].angular_momenta == (0,)
    with pytest.raises(ValueError, match='basis given for He is one of H'):
        read_basis_files({'He': orb})


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'give either --upf, to generate orbitals, or --from, to import them'),
        (('--upf', 'H.upf', '--from', 'H.orb'), 'give either --upf'),
        (('--from', 'H.orb', '--cutoff-radius', 5), 'are for generated orbitals'),
        (('--from', 'H.orb', '--recipe', 'plain'), 'are for generated orbitals'),
        (('--from', 'H.orb', '--size', 's1'), 'H.orb: only of .pao files can orbitals be selected'),
        (('--from', 'H.orb'), 'H.orb: cannot be read'),
        (('--from', 'H.gto'), 'H.gto: not a known format of orbitals'),
    ],
)
def test_wrong_combinations_are_refused_in_one_line(hamlr, arguments, message):
    result = hamlr('basis', *arguments, '-o', 'H.basis.h5')
    assert result.exit_code == 2
    assert result.stderr.startswith('hamlr: ') and result.stderr.count('\n') == 1
    assert message in result.stderr
