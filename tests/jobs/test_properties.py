"""`hamlr properties` and `hamlr dos`."""

import json

import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties


@pytest.fixture
def file(make_hamiltonian, zincblende, tmp_path):
    make_hamiltonian(zincblende()).write(tmp_path / 'h.h5')
    return tmp_path / 'h.h5'


def test_one_folder_holds_all_that_was_asked_for(hamlr, file):
    result = hamlr('properties', file, '-o', 'out', '--outputs', 'bands,projections,masses', '--mesh', 2, 2, 2)
    assert result.exit_code == 0, result.stderr
    summary = json.loads((file.parent / 'out/summary.json').read_text())
    assert summary['effective_masses']['vbm']['n_degenerate'] == 3
    assert summary['gap_eV'] > 0
    bands, properties = Bands.read(file.parent / 'out/bands.h5'), Properties.read(file.parent / 'out/properties.h5')
    assert bands.groups == properties.groups and len(bands.groups) == 8
    assert bands.projections.sum(axis=-1) == pytest.approx(1)
    assert properties.projected_dos.sum(axis=(0, 1)) == pytest.approx(properties.dos)


def test_gap_alone_leaves_a_summary(hamlr, file):
    assert hamlr('properties', file, '-o', 'out', '--mesh', 2, 2, 2).exit_code == 0
    assert sorted(path.name for path in (file.parent / 'out').iterdir()) == ['summary.json']


def test_unknown_output_is_refused(hamlr, file):
    result = hamlr('properties', file, '-o', 'out', '--outputs', 'gap,masss')
    assert result.exit_code == 2
    assert "output 'masss': choose of gap, bands" in result.stderr
    assert not (file.parent / 'out').exists()


def test_density_of_states_without_projections(hamlr, file):
    result = hamlr('dos', file, '-o', 'out', '--mesh', 2, 2, 2, '--total', '--method', 'tetrahedra')
    assert result.exit_code == 0, result.stderr
    properties = Properties.read(file.parent / 'out/properties.h5')
    assert properties.groups == () and properties.projected_dos is None
