"""The executable: exit statuses, one line of error, summaries."""

import json
import subprocess
import sys

import click
import numpy as np
import pytest

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kspace import bloch_matrices
from aiida_hamlr.errors import NoGPU, NumericalError, WalltimeReached
from aiida_hamlr.jobs.cli import main


@pytest.fixture
def hamiltonian_file(make_hamiltonian, zincblende, tmp_path):
    make_hamiltonian(zincblende()).write(tmp_path / 'hamiltonian.h5')
    return tmp_path / 'hamiltonian.h5'


def refused(result, *words):
    """The result is one line on standard error and status 2."""
    assert result.exit_code == 2
    assert result.stderr.startswith('hamlr: ')
    assert result.stderr.count('\n') == 1
    for word in words:
        assert word in result.stderr
    return True


def test_help_is_quick_and_imports_nothing_heavy():
    code = 'import sys; import aiida_hamlr.jobs.cli; print([m for m in ("torch", "numpy", "ase") if m in sys.modules])'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == '[]', result.stderr


def test_real_executable(hamiltonian_file, tmp_path):
    program = [sys.executable, '-c', 'from aiida_hamlr.jobs.cli import main; main()']
    result = subprocess.run([*program, '--help'], capture_output=True, text=True)
    assert result.returncode == 0
    assert 'reconstruct' in result.stdout
    command = [*program, 'bands', str(hamiltonian_file), '--mesh', '2', '2', '2', '-o', 'out/bands.h5']
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, '')
    assert len(Bands.read(tmp_path / 'out/bands.h5').kpoints) == 8 // 2 + 4
    result = subprocess.run([*program, 'bands', 'nothing.h5', '-o', 'x.h5'], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (2, 'hamlr: nothing.h5: no such file\n')


def test_bands_on_the_standard_path(hamlr, hamiltonian_file, tmp_path):
    result = hamlr('bands', hamiltonian_file, '--path', 'auto', '--mesh', 4, 4, 4, '-o', 'b.h5', '--plot', 'b.png')
    assert result.exit_code == 0, result.stderr
    bands = Bands.read(tmp_path / 'b.h5')
    assert bands.eigenvalues.shape == (1, len(bands.kpoints), 8)
    assert bands.labels[0] == 'GAMMA'
    assert (tmp_path / 'b.png').read_bytes().startswith(b'\x89PNG')
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['gap_eV'] == pytest.approx(bands.attributes.gap)
    assert summary['command'] == 'bands'
    for key in ('wall_s', 'cpu_s', 'peak_memory_MB', 'versions'):
        assert summary[key]


def test_bands_on_the_path_of_a_file(hamlr, hamiltonian_file, tmp_path):
    (tmp_path / 'k.txt').write_text('GAMMA 0 0 0\nX 0.5 0 0.5\n')
    assert hamlr('bands', hamiltonian_file, '--path', 'k.txt', '-o', 'b.h5', '--n-bands', 5).exit_code == 0
    bands = Bands.read(tmp_path / 'b.h5')
    assert [label for label in bands.labels if label] == ['GAMMA', 'X']
    assert bands.eigenvalues.shape[2] == 5


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((), ['Missing option']),
        (('-o', 'b.h5', '--path', 'none.txt'), ['none.txt', 'No such file']),
        (('-o', 'b.h5', '--mesh', '2', '2'), ['--mesh', 'hamlr bands --help']),
        (('-o', 'b.h5', '--mesh', '0', '2', '2'), ['three positive integers']),
        (('-o', 'b.h5', '--mesh', '2', '2', '2', '--plot', 'b.png'), ['--path auto']),
        (('-o', 'b.h5', '--spacings', '2'), ['--spacings']),
        (('-o', 'b.h5', '--spacing', 'nan'), ['--spacing', 'not a finite number']),
        (('-o', 'b.h5', '--spacing', 'inf'), ['--spacing', 'not a finite number']),
        (('-o', 'b.h5', '--around-gap', '4', '--kpoint', 'nan', '0', '0'), ['--kpoint', 'not a finite number']),
        (('-o', 'b.h5', '--path', 'auto', '--plot', 'b.jpg'), ['b.jpg', '.png, .svg, .pdf']),
        (('-o', '/proc/b.h5'), ['/proc: no file can be written in this folder']),
    ],
)
def test_bad_options_of_bands_leave_nothing_behind(hamlr, hamiltonian_file, tmp_path, arguments, words):
    assert refused(hamlr('bands', hamiltonian_file, *arguments), *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['hamiltonian.h5']


def test_truncated_and_foreign_files_are_named(hamlr, hamiltonian_file, tmp_path):
    data = hamiltonian_file.read_bytes()
    hamiltonian_file.write_bytes(data[: len(data) // 2])
    assert refused(hamlr('bands', hamiltonian_file, '-o', 'b.h5'), 'hamiltonian.h5', 'truncated')
    (tmp_path / 'notes.txt').write_text('nothing of ours')
    assert refused(hamlr('info', 'notes.txt'), 'notes.txt')
    assert refused(hamlr('info', 'absent'), 'no such file')
    (tmp_path / 'empty').mkdir()
    assert refused(hamlr('info', 'empty'), 'not a model folder')
    assert not (tmp_path / 'b.h5').exists()


def test_dependent_orbitals_are_a_numerical_failure(hamlr, make_hamiltonian, zincblende, tmp_path):
    hamiltonian = make_hamiltonian(zincblende())
    hamiltonian.matrices['overlap'] = hamiltonian.overlap - 2 * (hamiltonian.overlap == 1)
    hamiltonian.write(tmp_path / 'h.h5')
    result = hamlr('bands', 'h.h5', '-o', 'b.h5')
    assert result.exit_code == 4
    assert 'not positive definite' in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ['h.h5']


def test_bands_warn_of_ghosts(hamlr, make_hamiltonian, zincblende, tmp_path):
    """An error along the vector with the smallest overlap at the zone's centre."""
    hamiltonian = make_hamiltonian(zincblende())
    pattern = hamiltonian.pattern
    weights, vectors = np.linalg.eigh(bloch_matrices(pattern, hamiltonian.overlap, np.zeros((1, 3)))[0])
    rows, columns = pattern.orbital_indices
    home = (pattern.images == 0).all(axis=1).repeat(np.diff(pattern.chunk_boundaries))
    for values, level in ((hamiltonian.overlap, 1e-3 - weights[0]), (hamiltonian.hamiltonian, -1.0)):
        values += home * level * vectors[rows, 0] * vectors[columns, 0]
    hamiltonian.write(tmp_path / 'h.h5')
    command = ('bands', 'h.h5', '--mesh', 1, 1, 1, '-o', 'b.h5')
    problem = '1 occupied states are combinations of nearly dependent orbitals'
    assert f'warning: h.h5: {problem}' in hamlr(*command).stdout
    (warning,) = json.loads((tmp_path / 'summary.json').read_text())['warnings']
    assert warning.startswith(problem)
    result = hamlr(*command, '--overlap-threshold', 0.002)
    assert result.exit_code == 0 and 'warning' not in result.stdout
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert (summary['n_ghost_states'], summary['warnings']) == (0, [])
    assert Bands.read(tmp_path / 'b.h5').eigenvalues.shape == (1, 1, 7)


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (ValueError('two\nlines'), 2),
        (FileNotFoundError(2, 'No such file or directory', 'x.h5'), 2),
        (PermissionError(13, 'Permission denied', '/out'), 2),
        (WalltimeReached('60 s are over; checkpoint written'), 3),
        (NumericalError('loss is not finite'), 4),
        (MemoryError(), 5),
        (NoGPU('device is cuda, but torch finds no GPU'), 6),
        (OSError(28, 'No space left on device', 'run/last.ckpt'), 7),
        (OSError('Unable to write (errno = 28, error message = No space left on device)'), 7),
        (type('OutOfMemoryError', (RuntimeError,), {})('CUDA out of memory'), 5),
    ],
)
def test_exit_status_of_every_kind_of_error(hamlr, monkeypatch, error, status):
    def fail():
        raise error

    monkeypatch.setitem(main.commands, 'fail', click.Command('fail', callback=fail))
    result = hamlr('fail')
    assert result.exit_code == status
    assert result.stderr.startswith('hamlr: ')
    assert result.stderr.count('\n') == 1


@pytest.mark.parametrize('kind', [KeyError, EOFError])
def test_defects_keep_their_traceback(hamlr, monkeypatch, kind):
    """Also a file that ends early, which click takes for an interruption: a module that was not installed whole."""

    def fail():
        raise kind('a defect')

    monkeypatch.setitem(main.commands, 'fail', click.Command('fail', callback=fail))
    with pytest.raises(kind):
        hamlr('fail')


def test_info_describes_what_bands_wrote(hamlr, hamiltonian_file):
    result = hamlr('info', hamiltonian_file)
    assert 'Hamiltonian of AlAs: 2 atoms, 8 orbitals' in result.stdout
    assert hamlr('bands', hamiltonian_file, '-o', 'b.h5').exit_code == 0
    result = hamlr('info', 'b.h5')
    assert 'bands of AlAs: 8 bands' in result.stdout
    assert 'GAMMA X' in result.stdout
