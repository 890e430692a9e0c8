"""Configuration files: what is refused, and how the message reads."""

from pathlib import Path

import pytest

from aiida_hamlr.jobs.config import load_config
from aiida_hamlr.jobs.schemas import PredictConfig, ReconstructConfig, TrainConfig


@pytest.fixture
def write(tmp_path):
    for name in ('scf.xml', 'v.filplot', 'Al.upf', 'Al.basis.h5', 'big.xyz'):
        (tmp_path / name).touch()
    (tmp_path / 'model').mkdir()

    def write(text, name='config.yaml'):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


RECONSTRUCT = """
structure: scf.xml
potential: v.filplot
pseudos: {Al: Al.upf}
kpoints: [6, 6, 6]
"""


def message(file, model):
    with pytest.raises(ValueError, match='.') as caught:
        load_config(file, model)
    text = str(caught.value)
    assert '\n' not in text
    assert str(file) in text
    return text


def test_paths_are_relative_to_the_file(write, tmp_path, monkeypatch):
    monkeypatch.chdir('/')
    config = load_config(write(RECONSTRUCT + 'basis: {Al: Al.basis.h5}\n'), ReconstructConfig)
    assert config.structure == tmp_path / 'scf.xml'
    assert config.basis.files == {'Al': tmp_path / 'Al.basis.h5'}
    assert config.output == tmp_path / 'hamiltonian.h5'
    assert config.kpoints == (6, 6, 6)


def test_basis_as_recipe_with_exceptions(write, tmp_path):
    text = 'basis: {size: dzp, cutoff_radius: 8.0, N: {cutoff_radius: 7}, Al: Al.basis.h5}\n'
    basis = load_config(write(RECONSTRUCT + text), ReconstructConfig).basis
    assert (basis.size, basis.cutoff_radius) == ('dzp', 8.0)
    assert basis.recipes['N'].cutoff_radius == 7.0
    assert basis.files['Al'] == tmp_path / 'Al.basis.h5'


@pytest.mark.parametrize(
    ('model', 'text', 'expected'),
    [
        (TrainConfig, 'data: {train: [a.h5]}\ntrainig: {}\n', ["unknown key 'trainig'", "did you mean 'training'"]),
        (
            TrainConfig,
            'data: {train: [a.h5]}\ntraining: {max_epoch: 5}\n',
            ["unknown key 'max_epoch' in training", "did you mean 'max_epochs'"],
        ),
        (
            TrainConfig,
            'data: {train: [a.h5]}\ntraining: {bands_weight: 5}\n',
            ["unknown key 'bands_weight' in training", "did you mean 'loss.band_weight'"],
        ),
        (
            TrainConfig,
            'data: {train: [a.h5]}\nmodel: {long_range: {respons: true}}\n',
            ["unknown key 'respons' in model.long_range", "did you mean 'response'"],
        ),
        (
            TrainConfig,
            'data: {train: [a.h5]}\nmodel: {response: true, long_range: {response: true}}\n',
            ['model: response is also given as long_range.response; keep the latter'],
        ),
        (TrainConfig, 'model: {}\n', ["key 'data' is missing"]),
        (TrainConfig, 'data: {train: []}\n', ['data.train', 'at least 1']),
        (ReconstructConfig, RECONSTRUCT + 'basis: {sise: dzp}\n', ["unknown key 'sise' in basis", "mean 'size'"]),
        (ReconstructConfig, RECONSTRUCT + 'basis: {size: huge}\n', ['basis.size', "'dzp'", "'huge'"]),
        (ReconstructConfig, RECONSTRUCT + 'basis: {As: none.h5}\n', ['none.h5: no such file']),
        (ReconstructConfig, RECONSTRUCT + 'basis: {N: {cutof: 7}}\n', ["unknown key 'cutof'", "'cutoff_radius'"]),
        (ReconstructConfig, RECONSTRUCT.replace('6, 6, 6', '6, 6') + 'basis: {size: dzp}\n', ['kpoints']),
        (ReconstructConfig, RECONSTRUCT.replace('Al:', 'Aluminium:'), ["'Aluminium' is not a chemical element"]),
        (
            ReconstructConfig,
            RECONSTRUCT.replace('potential: v.filplot', '') + 'basis: {size: dzp}\n',
            ['give potential', 'or both'],
        ),
        (ReconstructConfig, RECONSTRUCT + 'basis: {size: dzp}\ndensity: rho\n', ['rho: no such file']),
        (PredictConfig, 'model: model\nstructures: [big.xyz]\noutputs: [band]\n', ['outputs', "'band'"]),
        (PredictConfig, 'model: nowhere\nstructures: [big.xyz]\n', ['nowhere: no such file']),
        (PredictConfig, 'model: model\nstructures: [big.xyz]\npath: k.txt\n', ['k.txt: no such file']),
        (PredictConfig, 'model: model\nplot: true\n', ["unknown key 'plot'; known keys: axis"]),
        (PredictConfig, 'model: [unclosed\n', ['line 2', 'not valid YAML']),
        (PredictConfig, 'model: !!python/object/apply:os.system [true]\n', ['line 1', 'not valid YAML']),
        (PredictConfig, 'just words\n', ['key: value']),
        (PredictConfig, '', ['key: value']),
    ],
)
def test_bad_configurations_are_refused_in_one_line(write, model, text, expected):
    told = message(write(text), model)
    for words in expected:
        assert words in told


def test_unreadable_files(tmp_path):
    assert 'no such file' in message(tmp_path / 'none.yaml', TrainConfig)
    binary = tmp_path / 'binary.yaml'
    binary.write_bytes(b'\xff\xfe\x00')
    assert 'not a text file' in message(binary, TrainConfig)


def test_path_key_is_auto_or_a_file(write, tmp_path):
    text = 'model: model\nstructures: [big.xyz]\n'
    assert load_config(write(text), PredictConfig).path == Path('auto')
    (tmp_path / 'k.txt').touch()
    assert load_config(write(text + 'path: k.txt\n'), PredictConfig).path == tmp_path / 'k.txt'
