"""`hamlr bands --around-gap`."""

import json

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.jobs.cli import main


def call(*arguments):
    with pytest.raises(SystemExit) as end:
        main(['bands', *map(str, arguments)])
    return end.value.code


def test_levels_gap_and_plan(tmp_path, make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende(cubic=True) * (1, 1, 2))
    hamiltonian.write(tmp_path / 'h.h5')
    assert call(tmp_path / 'h.h5', '-o', tmp_path / 'b.h5', '--around-gap', 10, '--kpoint', 0.1, 0.2, 0.3) == 0
    found = Bands.read(tmp_path / 'b.h5')
    expected = eigenvalues(hamiltonian, np.array([[0.1, 0.2, 0.3]]))[0]
    first = found.attributes.first_band
    assert np.abs(found.eigenvalues[0, 0] - expected[first : first + 10]).max() < 1e-9
    summary = json.loads((tmp_path / 'summary.json').read_text())
    n_occupied = int(hamiltonian.n_electrons / 2)
    assert summary['gap_eV'] == pytest.approx(expected[n_occupied] - expected[n_occupied - 1], abs=1e-9)
    assert summary['solver'] == 'lapack' and summary['factor_memory_GB'] >= 0


def test_metal(tmp_path, make_hamiltonian, zincblende, capsys):
    """A level that is half filled is no gap; which one it is, is said."""
    hamiltonian = make_hamiltonian(zincblende(), n_electrons=7)
    hamiltonian.write(tmp_path / 'h.h5')
    assert call(tmp_path / 'h.h5', '-o', tmp_path / 'b.h5', '--around-gap', 4) == 0
    half_filled = eigenvalues(hamiltonian, np.zeros((1, 3)))[0, 3]
    assert f'no gap at this k, Fermi level {half_filled:.4f} eV' in capsys.readouterr().out
    assert json.loads((tmp_path / 'summary.json').read_text())['gap_eV'] == 0


def test_spin_orbit_part_of_the_file_counts_unless_it_is_left_out(tmp_path, make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    coupling = np.random.default_rng(0).normal(scale=0.02, size=(3, hamiltonian.pattern.n_entries))
    coupling[:, np.abs(hamiltonian.overlap) < 1e-3] = 0.0
    hamiltonian.matrices['spin_orbit'] = 0.5 * (coupling - coupling[:, hamiltonian.pattern.transpose_indices])
    hamiltonian.write(tmp_path / 'h.h5')
    kpoint = [[0.1, 0.2, 0.3]]
    for option, per_band in (([], 1), (['--no-spin-orbit'], 2)):
        arguments = ['--around-gap', 4, '--kpoint', *kpoint[0], *option]
        assert call(tmp_path / 'h.h5', '-o', tmp_path / 'b.h5', *arguments) == 0
        if option:
            del hamiltonian.matrices['spin_orbit']
        found, expected = Bands.read(tmp_path / 'b.h5'), eigenvalues(hamiltonian, np.array(kpoint))[0]
        first = found.attributes.first_band
        assert found.electrons_per_band == per_band and (found.spins is None) == (per_band == 2)
        assert np.abs(found.eigenvalues[0, 0] - expected[first : first + 4]).max() < 1e-9


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--energy', 1.0], '--energy is for --around-gap'),
        (['--around-gap', 8, '--mesh', 1, 1, 1], 'excludes'),
        (['--around-gap', 2, '--memory-limit', 1e-6], 'memory_limit'),
        (['--around-gap', 9999], '9999 levels around the gap: there are '),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(tmp_path, make_hamiltonian, zincblende, capsys, arguments, message):
    make_hamiltonian(zincblende()).write(tmp_path / 'h.h5')
    assert call(tmp_path / 'h.h5', '-o', tmp_path / 'b.h5', *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not (tmp_path / 'b.h5').exists()
