"""The examples run, and their results are those that the documentation describes."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[1] / 'examples'
PNG = b'\x89PNG'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Folder that the examples share, as `.examples` is by default."""
    return tmp_path_factory.mktemp('examples')


@pytest.fixture
def load(monkeypatch):
    """Function: the module of an example."""
    monkeypatch.syspath_prepend(EXAMPLES)
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


def is_picture(path):
    """Whether a file is a picture with something on it."""
    return path.read_bytes()[:4] == PNG and path.stat().st_size > 5000


@pytest.mark.qe
def test_reconstruct_crystal(load, folder):
    """Bands of the Hamiltonian are those of pw.x; the gap of silicon is that of the LDA, 0.5 eV."""
    hamiltonian = load('reconstruct_crystal').main(folder)
    assert hamiltonian.attributes.verification['band_mae_occupied_meV'] < 30
    assert 0.4 < hamiltonian.attributes.gap < 0.7  # with the minimum near X, which the 4 x 4 x 4 mesh misses
    assert is_picture(folder / 'silicon_bands.png')


def test_reconstruct_crystal_without_quantum_espresso(load, tmp_path, monkeypatch, capsys):
    """Without pw.x the example says what is missing."""
    module = load('reconstruct_crystal')
    monkeypatch.setenv('PATH', str(tmp_path))
    assert module.main(tmp_path) is None
    assert 'pw.x is not on the PATH' in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_train_model(load, tmp_path, capsys):
    """A short training learns; a second call does not resume from the first one's checkpoint."""
    main = load('train_model').main
    first = main(tmp_path, steps=64)
    assert is_picture(tmp_path / 'training.png')
    assert f'{first["test_mae_meV"]:8.2f} meV' in capsys.readouterr().out
    second = main(tmp_path, steps=8)
    assert first['test_mae_meV'] < 0.8 * second['test_mae_meV']


@pytest.mark.slow
def test_long_range_on_off(load, folder, capsys):
    """The potential of the wave's charges reaches beyond the cutoff of a short-range network."""
    errors = load('long_range_on_off').main(folder, steps=128)
    on, off = errors['with long range'], errors['short range only']
    for key in ('test_mae_meV', 'test_mae_onsite_meV', 'test_gap_error_meV'):
        assert on[key] < 0.5 * off[key], key
    assert is_picture(folder / 'long_range.png')
    assert f'{off["test_gap_error_meV"]:18.2f}' in capsys.readouterr().out


@pytest.mark.slow
def test_predict_and_plot(load, folder):
    """The gap of AlAs is that of the LDA, 1.4 eV within the basis; the levels follow the wave."""
    results = load('predict_and_plot').main(folder, steps=128)
    assert 1.2 < results['gap_eV'] < 1.8
    assert 0.4 < results['level_range_eV'] < 1.2
    assert is_picture(folder / 'predicted_bands.png')
    assert is_picture(folder / 'predicted_levels.png')


@pytest.mark.slow
def test_query_provenance(tmp_path):
    """A profile in memory runs the jobs; all references are found behind the prediction, and it behind each of them."""
    environment = os.environ | {'AIIDA_PATH': str(tmp_path), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, EXAMPLES / 'query_provenance.py', tmp_path / 'out'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r'rests on 8 references: train_0, .*, train_wave16b\n', done.stdout)
    assert 'train_0 is behind 1 prediction' in done.stdout
    assert re.search(r'Model lr: validation error \d+\.\d\d meV', done.stdout)
    assert is_picture(tmp_path / 'out/provenance.png')
