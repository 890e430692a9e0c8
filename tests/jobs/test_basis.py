"""`hamlr basis`: plain and contracted orbitals of one element or of several."""

import json

import pytest
from ase.build import bulk
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.contraction import basis_bands, reference_bands
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis


@pytest.fixture
def pseudos(study):
    return study / 'pseudos'


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Orbitals contracted here on fewer k-points do not reach other tests."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def test_several_elements_go_to_a_folder(hamlr, pseudos, tmp_path):
    result = hamlr(
        *('basis', '--upf', pseudos / 'Al.upf', '--upf', pseudos / 'As.upf', '--size', 'sz', '--size', 'As=dzp'),
        *('--cutoff-radius', 'Al=6.5', '--recipe', 'plain', '-o', 'orbitals'),
    )
    assert result.exit_code == 0, result.stderr
    aluminium, arsenic = (SpeciesBasis.read(tmp_path / f'orbitals/{element}.basis.h5') for element in ('Al', 'As'))
    assert (aluminium.n_orbitals, aluminium.cutoff_radius) == (4, 6.5)
    assert (arsenic.n_orbitals, arsenic.cutoff_radius) == (13, 8.0)
    summary = json.loads((tmp_path / 'orbitals/summary.json').read_text())
    assert summary['sizes'] == {'Al': 'sz', 'As': 'dzp'} and summary['n_orbitals'] == {'Al': 4, 'As': 13}
    assert summary['recipe'] == 'plain' and 'band_error_occupied_meV' not in summary


def test_contraction_on_a_crystal(hamlr, pseudos, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[:2])
    bulk('AlAs', 'zincblende', a=5.66).write(tmp_path / 'AlAs.cif')
    command = ['basis', '--upf', pseudos / 'Al.upf', '--upf', pseudos / 'As.upf', '--size', 'sz', '-o', 'contracted']
    result = hamlr(*command, '--structure', 'AlAs.cif')
    assert result.exit_code == 0, result.stderr
    assert 'AlAs: bands at 2 k-points' in result.stdout
    summary = json.loads((tmp_path / 'contracted/summary.json').read_text())
    plain, contracted = (
        summary[f'band_error_occupied{recipe}_meV']
        + reference_bands.CONDUCTION_WEIGHT * summary[f'band_error_conduction{recipe}_meV']
        for recipe in ('_plain', '')
    )
    assert 0 < contracted < plain
    assert (summary['recipe'], summary['crystals']) == ('contracted', ['AlAs'])
    metadata = SpeciesBasis.read(tmp_path / 'contracted/Al.basis.h5').metadata
    assert metadata['recipe'] == 'contracted'
    assert metadata['band_error_occupied_meV'] == summary['band_error_occupied_meV']
    assert 'band_error_occupied_meV: ' in hamlr('info', 'contracted/Al.basis.h5').stdout
    again = hamlr(*command[:-1], 'again', '--structure', 'AlAs.cif')
    assert again.exit_code == 0 and 'orbitals of Al, As from the cache' in again.stdout
    assert 'bands at 2 k-points' not in again.stdout
    repeated = json.loads((tmp_path / 'again/summary.json').read_text())
    assert repeated['content_hash'] == summary['content_hash']
    assert repeated['band_error_occupied_meV'] == summary['band_error_occupied_meV']


def test_one_element_is_contracted_on_its_own_crystal(hamlr, pseudos, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[:2])
    monkeypatch.setattr(basis_bands, 'SPACING', 1.0)
    command = ['basis', '--upf', pseudos / 'Al.upf', '--size', 'sz', '--cutoff-radius', 8.0, '-o', 'Al.basis.h5']
    result = hamlr(*command, '--plot', 'bands.png')
    assert result.exit_code == 0, result.stderr
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert (summary['recipe'], summary['crystals'], summary['n_orbitals']) == ('contracted', ['Al'], 4)
    assert 0 < summary['band_error_occupied_meV'] < summary['band_error_occupied_plain_meV']
    assert (tmp_path / 'bands.png').read_bytes().startswith(b'\x89PNG')


def test_contraction_with_spin_orbit_coupling(hamlr, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[1:2])
    (tmp_path / 'Pb.upf').write_text(debian_pseudo('pb_s.UPF').text)
    bulk('Pb', a=4.0).write(tmp_path / 'Pb.cif')
    command = ['basis', '--upf', 'Pb.upf', '--size', 'sz', '--cutoff-radius', 7.0, '-o', 'Pb.basis.h5']
    result = hamlr(*command, '--structure', 'Pb.cif', '--spin-orbit')
    assert result.exit_code == 0, result.stderr
    assert SpeciesBasis.read(tmp_path / 'Pb.basis.h5').metadata['spin_orbit'] is True


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--size', 'Ga=dzp'], 'no pseudopotential of Ga'),
        (['--size', 'huge'], "found 'huge'"),
        (['--cutoff-radius', 'wide'], "found 'wide'"),
        (['--cutoff-radius', '7', '--cutoff-radius', '8'], 'given twice'),
        (['--recipe', 'plain', '--structure', 'AlAs.cif'], 'leave out --structure, or --recipe plain'),
        (['--recipe', 'plain', '--spin-orbit'], 'no pseudopotential of Al is fully relativistic'),
        (['--spin-orbit'], 'no pseudopotential of Al is fully relativistic'),
        (['--recipe', 'lean'], "'lean' is not one of 'contracted', 'plain'"),
        (['--structure', 'none.cif'], 'none.cif: no such file'),
    ],
)
def test_bad_options_are_refused_in_one_line(hamlr, pseudos, tmp_path, options, message):
    result = hamlr('basis', '--upf', pseudos / 'Al.upf', '-o', 'Al.basis.h5', *options)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count('\n') == 1
    assert not (tmp_path / 'Al.basis.h5').exists()
