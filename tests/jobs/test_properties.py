"""`hamlr properties` and `hamlr dos`."""

import json

import numpy as np
import pytest
from ase import Atoms

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian


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
    masses = [line for line in hamlr('info', 'out/properties.h5').stdout.splitlines() if 'effective masses' in line]
    assert masses[0].startswith('effective masses at vbm: [100] [010] [001] ') and '{' not in ''.join(masses)


def test_flat_bands_have_infinite_masses(hamlr, tmp_path):
    properties = Properties(('Al',), np.zeros((1, 3)))
    along = {'masses_along': {'[100]': [None, 0.5], '[010]': [0.5, None], '[001]': [0.25, 0.5]}}
    properties.attributes['effective_masses'] = {'vbm': along, 'cbm': {'masses_along': {}}}
    properties.write(tmp_path / 'properties.h5')
    lines = hamlr('info', 'properties.h5').stdout.splitlines()
    assert 'effective masses at vbm: [100] [010] 0.500 infinite; [001] 0.250 0.500' in lines
    assert 'effective masses at cbm: none, there are no bands' in lines


def test_gap_alone_leaves_a_summary(hamlr, file):
    result = hamlr('properties', file, '-o', 'out', '--mesh', 2, 2, 2)
    assert result.exit_code == 0 and 'direct gap' in result.output
    assert sorted(path.name for path in (file.parent / 'out').iterdir()) == ['summary.json']


def test_pictures_of_what_was_computed(hamlr, make_hamiltonian, zincblende, tmp_path):
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    hamiltonian.matrices['h0'] = 0.9 * hamiltonian.hamiltonian
    hamiltonian.attributes.planar_potentials = [np.sin(np.arange(12)).tolist()] * 3
    hamiltonian.write(tmp_path / 'h.h5')
    options = ('--outputs', 'profile,layers', '--axis', 1, '--period', 2.83, '--mesh', 2, 2, 2, '--plot')
    result = hamlr('properties', 'h.h5', '-o', 'out', *options)
    assert result.exit_code == 0, result.stderr
    pictures = {path.name: path.stat().st_size for path in (tmp_path / 'out').glob('*.png')}
    assert pictures.keys() == {'layers.png', 'potential.png', 'profile.png'} and min(pictures.values()) > 5000


def test_outputs_that_name_nothing_are_refused(hamlr, file):
    result = hamlr('properties', file, '-o', 'out', '--outputs', ' , ')
    assert result.exit_code == 2
    assert '--outputs names nothing to compute: choose of gap, bands' in result.stderr
    assert not (file.parent / 'out').exists()


def test_unknown_output_is_refused(hamlr, file):
    result = hamlr('properties', file, '-o', 'out', '--outputs', 'gap,masss')
    assert result.exit_code == 2
    assert "output 'masss': choose of gap, bands" in result.stderr
    assert not (file.parent / 'out').exists()


@pytest.mark.parametrize(
    ('output', 'lacking', 'message'),
    [
        ('profile', 'h0', 'it has no H0, so no profile can be computed'),
        ('charges', 'pseudopotentials', 'charges need the pseudopotentials; the Hamiltonian holds none of'),
    ],
)
def test_what_a_file_lacks_is_said_and_earlier_results_stay(hamlr, file, output, lacking, message):
    assert hamlr('properties', file, '-o', 'out', '--outputs', 'dos', '--mesh', 2, 2, 2).exit_code == 0
    before = {path: path.read_bytes() for path in (file.parent / 'out').iterdir()}
    hamiltonian = Hamiltonian.read(file)
    if lacking == 'h0':
        del hamiltonian.matrices['h0']
    else:
        hamiltonian.pseudopotentials = {}
    hamiltonian.write(file.parent / 'less.h5')
    result = hamlr('properties', 'less.h5', '-o', 'out', '--outputs', f'gap,{output}')
    assert result.exit_code == 2 and f'less.h5: {message}' in result.stderr and result.stderr.count('\n') == 1
    assert {path: path.read_bytes() for path in (file.parent / 'out').iterdir()} == before


def test_density_of_states_without_projections(hamlr, file):
    result = hamlr('dos', file, '-o', 'out', '--mesh', 2, 2, 2, '--total', '--method', 'tetrahedra')
    assert result.exit_code == 0, result.stderr
    properties = Properties.read(file.parent / 'out/properties.h5')
    assert properties.groups == () and properties.projected_dos is None


def test_vacuum_level_comes_from_a_reference_slab(hamlr, make_hamiltonian, tmp_path):
    """The slab's zero lies 0.5 eV higher than that of the reference."""
    positions = [[0, 0, 0], [1.4, 1.4, 1.4], [0, 0, 2.8], [1.4, 1.4, 4.2]]
    hamiltonian = make_hamiltonian(Atoms('AlAsAlAs', positions=positions, cell=[4, 4, 14], pbc=True))
    hamiltonian.attributes.vacuum_level = 1.0
    hamiltonian.write(tmp_path / 'reference.h5')
    hamiltonian.attributes.vacuum_level = None
    hamiltonian.matrices['hamiltonian'] = hamiltonian.hamiltonian + 0.5 * hamiltonian.overlap
    hamiltonian.write(tmp_path / 'slab.h5')
    result = hamlr('properties', 'slab.h5', '-o', 'out', '--mesh', 2, 2, 1, '--vacuum-from', 'reference.h5')
    assert result.exit_code == 0, result.stderr
    assert 'vacuum level above the slab: 1.500 eV; levels of its layers agree within 0 meV' in result.output
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert summary['vacuum_levels_eV'] == pytest.approx([1.5, 1.5])
    assert summary['ionization_energies_eV'] == pytest.approx([1.5 - summary['vbm_eV']] * 2)
    result = hamlr('properties', 'slab.h5', '-o', 'out', '--vacuum-from', 'slab.h5')
    assert result.exit_code == 2 and 'slab.h5: the reference records no vacuum level' in result.stderr
