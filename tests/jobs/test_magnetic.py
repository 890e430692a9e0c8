"""The commands on a spin-polarised run."""

import json
import shutil

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.magnetism import set_starting_moments, starting_moments
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.io.extxyz import format_extxyz

pytestmark = pytest.mark.qe

CONFIG = """
structure: scf.xml
density: charge-density.dat
pseudos: {H: H.upf}
basis: {size: sz, cutoff_radius: 5}
kpoints: [2, 1, 1]
output: hamiltonian.h5
"""


@pytest.fixture
def workspace(antiferromagnet_run, tmp_path):
    """A folder with the files of the run and a configuration."""
    shutil.copy(antiferromagnet_run.xml, tmp_path / 'scf.xml')
    shutil.copy(antiferromagnet_run.charge_density, tmp_path)
    shutil.copy(antiferromagnet_run.folder / 'H.upf', tmp_path)
    shutil.copy(antiferromagnet_run.potential, tmp_path / 'aiida.filplot')
    (tmp_path / 'reconstruct.yaml').write_text(CONFIG)
    return tmp_path


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def refused(result, *words):
    assert result.exit_code == 2, result.stdout
    assert result.stderr.startswith('hamlr: ')
    assert result.stderr.count('\n') == 1
    for word in words:
        assert word in result.stderr


def test_from_the_run_to_the_bands(workspace, hamlr):
    result = hamlr('reconstruct', 'reconstruct.yaml')
    assert result.exit_code == 0, result.stderr
    assert 'magnetization: ' in result.stderr + result.stdout
    hamiltonian = Hamiltonian.read(workspace / 'hamiltonian.h5')
    assert hamiltonian.hamiltonian.shape == (2, hamiltonian.pattern.n_entries)
    summary = json.loads((workspace / 'summary.json').read_text())
    assert summary['n_spin'] == 2
    assert summary['magnetization'] == pytest.approx(summary['run_magnetization'], abs=1e-6)
    first, second = summary['magnetic_moments']
    assert first == pytest.approx(-second, abs=1e-6)
    assert 'two spins' in hamlr('info', 'hamiltonian.h5').stdout
    result = hamlr('bands', 'hamiltonian.h5', '--mesh', 2, 2, 2, '-o', 'bands/mesh.h5')
    assert result.exit_code == 0, result.stderr
    energies = Bands.read(workspace / 'bands/mesh.h5').eigenvalues
    assert energies.shape[0] == 2
    assert np.abs(energies[0] - energies[1]).max() < 1e-4
    assert json.loads((workspace / 'bands/summary.json').read_text())['n_spin'] == 2
    result = hamlr('bands', 'hamiltonian.h5', '-o', 'bands/path.h5', '--plot', 'bands/path.png')
    assert result.exit_code == 0, result.stderr
    assert (workspace / 'bands/path.png').stat().st_size > 10_000
    assert hamlr('bands', 'hamiltonian.h5', '--matrix', 'h0', '-o', 'bands/h0.h5').exit_code == 0
    assert Bands.read(workspace / 'bands/h0.h5').eigenvalues.shape[0] == 1
    assert 'two spins' in hamlr('info', 'bands/path.h5').stdout


def test_potential_of_pp_is_that_of_one_spin(workspace, hamlr):
    edit(workspace / 'reconstruct.yaml', 'density: charge-density.dat', 'potential: aiida.filplot')
    refused(hamlr('reconstruct', 'reconstruct.yaml'), 'aiida.filplot', 'charge-density.dat or .hdf5 as density')


def test_density_and_run_must_agree_in_spin(workspace, hamlr):
    file = workspace / 'charge-density.dat'
    data = file.read_bytes()
    # The first record holds, behind its length, gamma_only, the number of vectors and that of the spin components.
    assert np.frombuffer(data[:16], dtype=np.int32)[3] == 2
    file.write_bytes(data[:12] + np.int32(1).tobytes() + data[16:])
    refused(hamlr('reconstruct', 'reconstruct.yaml'), 'charge-density.dat', '1 spin channels', 'scf.xml has 2')


def test_learning_and_prediction(workspace, hamlr):
    """From the run to predicted moments; the structure reversed has the spins exchanged."""
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    reference = Hamiltonian.read(workspace / 'hamiltonian.h5')
    moments = starting_moments(reference.atoms)
    assert moments[0] == -moments[1] != 0.0
    (workspace / 'train.yaml').write_text(
        'data: {train: [hamiltonian.h5]}\nmodel: {variant: sr}\ntraining: {max_steps: 60, device: cpu}\n'
    )
    assert hamlr('train', 'train.yaml').exit_code == 0
    result = hamlr('evaluate', 'run', 'hamiltonian.h5', '--json', 'errors.json')
    assert result.exit_code == 0, result.stderr
    assert json.loads((workspace / 'errors.json').read_text())['moment_largest_error_muB'] < 0.05
    (workspace / 'one.extxyz').write_text(format_extxyz(reference.atoms))
    reversed_atoms = reference.atoms.copy()
    set_starting_moments(reversed_atoms, -moments)
    (workspace / 'reversed.extxyz').write_text(format_extxyz(reversed_atoms))
    (workspace / 'predict.yaml').write_text(
        'model: run/model\nstructures: [one.extxyz, reversed.extxyz]\n'
        'outputs: [hamiltonian, bands, dos, charges]\nkpoints: [2, 1, 1]\nspacing: 0.3\n'
    )
    result = hamlr('predict', 'predict.yaml')
    assert result.exit_code == 0, result.stderr
    one, other = (Hamiltonian.read(workspace / f'predictions/{name}/hamiltonian.h5') for name in ('one', 'reversed'))
    np.testing.assert_array_equal(one.hamiltonian, other.hamiltonian[::-1])
    found = Properties.read(workspace / 'predictions/one/properties.h5')
    np.testing.assert_allclose(found.magnetic_moments, reference.attributes.magnetic_moments, atol=0.05)
    assert found.dos_by_spin.shape[0] == 2
    assert Bands.read(workspace / 'predictions/one/bands.h5').eigenvalues.shape[0] == 2
    assert 'magnetization_muB' in (workspace / 'predictions/results.csv').read_text()
