"""`hamlr bands`: which overlap threshold it takes, and what it records."""

import json

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kpoints import monkhorst_pack
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.jobs.bands import BandOptions, run_bands

MESH, KPOINT = (2, 2, 2), (0.1, 0.2, 0.3)


#: Above the lowest eigenvalues of the overlap at some k of the mesh.
THRESHOLD = 0.94


@pytest.mark.parametrize(
    ('recorded', 'asked', 'used'), [(None, None, 0.0), (THRESHOLD, None, THRESHOLD), (THRESHOLD, 0.0, 0.0)]
)
def test_threshold_is_that_asked_for_or_that_of_the_file(tmp_path, make_hamiltonian, zincblende, recorded, asked, used):
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    hamiltonian.attributes.overlap_threshold = recorded
    hamiltonian.write(tmp_path / 'h.h5')
    run_bands(tmp_path / 'h.h5', tmp_path / 'bands.h5', BandOptions(mesh=MESH, overlap_threshold=asked))
    found = Bands.read(tmp_path / 'bands.h5')
    expected = eigenvalues(hamiltonian, monkhorst_pack(MESH)[0], overlap_threshold=used)
    assert np.allclose(found.eigenvalues[0], expected, atol=1e-10)
    assert (expected.shape[1] == hamiltonian.n_orbitals) == (used == 0.0)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert (found.attributes.overlap_threshold or 0.0) == summary.get('overlap_threshold', 0.0) == used


def test_axis_of_a_magnet(tmp_path, make_hamiltonian, zincblende, hamlr):
    """The axis of the option replaces that of the file, and needs spin-orbit coupling and collinear spin."""
    hamiltonian = make_hamiltonian(zincblende())
    coupling = np.random.default_rng(0).normal(scale=0.02, size=(3, hamiltonian.pattern.n_entries))
    coupling[:, np.abs(hamiltonian.overlap) < 1e-3] = 0.0
    coupling = 0.5 * (coupling - coupling[:, hamiltonian.pattern.transpose_indices])
    shift = 0.7 * hamiltonian.overlap
    spins = np.stack([hamiltonian.hamiltonian - shift, hamiltonian.hamiltonian + shift])
    hamiltonian.matrices |= {'hamiltonian': spins, 'spin_orbit': coupling}
    hamiltonian.attributes.n_spin, hamiltonian.attributes.magnetization_axis = 2, [1.0, 0.0, 0.0]
    hamiltonian.write(tmp_path / 'h.h5')
    assert 'two spins, magnetization along 1 0 0' in hamlr('info', tmp_path / 'h.h5').stdout
    kpoints = monkhorst_pack(MESH, time_reversal=False)[0]
    for given, axis in (((), [1, 0, 0]), (('--magnetization-axis', 0, 3, 4), [0, 0.6, 0.8])):
        result = hamlr('bands', tmp_path / 'h.h5', '--mesh', *MESH, '-o', tmp_path / 'b.h5', *given)
        assert result.exit_code == 0, result.stderr
        found = Bands.read(tmp_path / 'b.h5')
        hamiltonian.attributes.magnetization_axis = axis
        np.testing.assert_allclose(found.kpoints, kpoints)
        np.testing.assert_allclose(found.eigenvalues[0], eigenvalues(hamiltonian, kpoints), atol=1e-9)
        assert found.attributes.magnetization_axis == axis and found.electrons_per_band == 1
        around = ('--around-gap', 4, '--kpoint', *KPOINT)
        assert hamlr('bands', tmp_path / 'h.h5', *around, '-o', tmp_path / 'near.h5', *given).exit_code == 0
        near = Bands.read(tmp_path / 'near.h5')
        expected = eigenvalues(hamiltonian, [KPOINT])[0, near.attributes.first_band :][:4]
        np.testing.assert_allclose(near.eigenvalues[0, 0], expected, atol=1e-9)
    options = ('--no-spin-orbit', '--magnetization-axis', 0, 0, 1)
    result = hamlr('bands', tmp_path / 'h.h5', '--mesh', *MESH, '-o', tmp_path / 'b.h5', *options)
    assert result.exit_code == 2 and 'a magnetization axis needs spin-orbit coupling' in result.stderr
    make_hamiltonian(zincblende()).write(tmp_path / 'scalar.h5')
    result = hamlr('bands', tmp_path / 'scalar.h5', '-o', tmp_path / 'b.h5', '--magnetization-axis', 0, 0, 1)
    assert result.exit_code == 2 and 'a magnetization axis needs collinear spin' in result.stderr


def test_spin_axis_colours_the_figure(tmp_path, make_hamiltonian, zincblende):
    """Bands of spinors are drawn with their spins; without spinors, or without a figure, the option is refused."""
    hamiltonian = make_hamiltonian(zincblende())
    coupling = np.random.default_rng(0).normal(scale=0.02, size=(3, hamiltonian.pattern.n_entries))
    coupling[:, np.abs(hamiltonian.overlap) < 1e-3] = 0.0
    hamiltonian.matrices['spin_orbit'] = 0.5 * (coupling - coupling[:, hamiltonian.pattern.transpose_indices])
    hamiltonian.write(tmp_path / 'h.h5')
    arguments = [tmp_path / 'h.h5', tmp_path / 'b.h5', BandOptions(mesh=(2, 2, 2), path='auto', spacing=0.5)]
    run_bands(*arguments, tmp_path / 'spins.png', 'z')
    assert (tmp_path / 'spins.png').read_bytes().startswith(b'\x89PNG')
    with pytest.raises(ValueError, match='add --plot FILE'):
        run_bands(*arguments, None, 'z')
    without = BandOptions(mesh=(2, 2, 2), path='auto', spin_orbit=False)
    with pytest.raises(ValueError, match='add --spin-orbit'):
        run_bands(*arguments[:2], without, tmp_path / 'spins.png', 'z')
