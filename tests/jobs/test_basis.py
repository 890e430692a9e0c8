"""`hamlr basis`: plain and contracted orbitals of one element or of several."""

import json

import pytest
from ase.build import bulk

from aiida_hamlr.electronic import contraction
from aiida_hamlr.electronic.basis import SpeciesBasis


@pytest.fixture
def pseudos(study):
    return study / 'pseudos'


def test_several_elements_go_to_a_folder(hamlr, pseudos, tmp_path):
    result = hamlr(
        *('basis', '--upf', pseudos / 'Al.upf', '--upf', pseudos / 'As.upf', '--size', 'sz', '--size', 'As=dzp'),
        *('--cutoff-radius', 'Al=6.5', '-o', 'orbitals'),
    )
    assert result.exit_code == 0, result.stderr
    aluminium, arsenic = (SpeciesBasis.read(tmp_path / f'orbitals/{element}.basis.h5') for element in ('Al', 'As'))
    assert (aluminium.n_orbitals, aluminium.cutoff_radius) == (4, 6.5)
    assert (arsenic.n_orbitals, arsenic.cutoff_radius) == (13, 8.0)
    summary = json.loads((tmp_path / 'orbitals/summary.json').read_text())
    assert summary['sizes'] == {'Al': 'sz', 'As': 'dzp'} and summary['n_orbitals'] == {'Al': 4, 'As': 13}


def test_contraction_on_a_crystal(hamlr, pseudos, tmp_path, monkeypatch):
    monkeypatch.setattr(contraction, 'KPOINTS', contraction.KPOINTS[:2])
    bulk('AlAs', 'zincblende', a=5.66).write(tmp_path / 'AlAs.cif')
    command = ['basis', '--upf', pseudos / 'Al.upf', '--upf', pseudos / 'As.upf', '--size', 'sz', '-o', 'contracted']
    result = hamlr(*command, '--contract', '--structure', 'AlAs.cif')
    assert result.exit_code == 0, result.stderr
    summary = json.loads((tmp_path / 'contracted/summary.json').read_text())
    plain, contracted = (
        summary[key][0] + contraction.CONDUCTION_WEIGHT * summary[key][1]
        for key in ('band_error_plain_eV', 'band_error_eV')
    )
    assert 0 < contracted < plain
    assert SpeciesBasis.read(tmp_path / 'contracted/Al.basis.h5').metadata['recipe'] == 'contracted'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--size', 'Ga=dzp'], 'no pseudopotential of Ga'),
        (['--size', 'huge'], "found 'huge'"),
        (['--cutoff-radius', 'wide'], "found 'wide'"),
        (['--cutoff-radius', '7', '--cutoff-radius', '8'], 'given twice'),
        (['--structure', 'AlAs.cif'], '--contract'),
        (['--contract', '--structure', 'none.cif'], 'none.cif: no such file'),
    ],
)
def test_bad_options_are_refused_in_one_line(hamlr, pseudos, tmp_path, options, message):
    result = hamlr('basis', '--upf', pseudos / 'Al.upf', '-o', 'Al.basis.h5', *options)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count('\n') == 1
    assert not (tmp_path / 'Al.basis.h5').exists()
