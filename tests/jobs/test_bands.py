"""`hamlr bands`: which overlap threshold it takes, and what it records."""

import json

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kpoints import monkhorst_pack
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.jobs.bands import BandOptions, run_bands

MESH = (2, 2, 2)


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
