"""Train, evaluate and predict from the command line, on a study that takes seconds."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from click.testing import CliRunner

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.cli import main
from aiida_hamlr.jobs.train import train
from aiida_hamlr.model.inference import load_model

TRAIN = """
data: {{train: ['{study}/train/*.h5'], validation: ['{study}/valid/*.h5'], test: ['{study}/test/*.h5']}}
model:
  variant: lr
  layers: 1
  scalar_channels: 4
  natural_channels: 4
  unnatural_channels: 2
  hidden_channels: 8
  pair_channels: 8
  radial_hidden: 8
training: {{max_epochs: 2, seed: 1, device: cpu}}
output: run/
"""


@pytest.fixture(scope='module')
def model(study, tmp_path_factory):
    """Output folder of a training of two epochs."""
    folder = tmp_path_factory.mktemp('training')
    (folder / 'train.yaml').write_text(TRAIN.format(study=study))
    result = CliRunner().invoke(main, ['train', str(folder / 'train.yaml')], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    # Flat keys, as in earlier versions, are told in one line.
    assert result.stdout.count('warning:') == 1 and 'layers is now short_range.layers' in result.stdout
    return folder / 'run'


@pytest.fixture
def twice(study, tmp_path, monkeypatch):
    """Keys of a training of one epoch in an empty working directory; it has one of the files twice."""
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / 'copy.h5'
    copy.write_bytes(next((study / 'train').glob('*.h5')).read_bytes())
    small = {'layers': 1, 'scalar_channels': 4, 'natural_channels': 4, 'unnatural_channels': 2, 'hidden_channels': 8}
    return {
        'data': {'train': [f'{study}/train/*.h5', str(copy)], 'validation': [f'{study}/valid/*.h5']},
        'model': {'variant': 'sr', 'short_range': small | {'pair_channels': 8, 'radial_hidden': 8}},
        'training': {'max_epochs': 1, 'device': 'cpu'},
        'output': str(tmp_path / 'run'),
    }


def test_a_warning_about_the_data_is_in_the_log_once(twice, tmp_path):
    (tmp_path / 'train.yaml').write_text(json.dumps(twice))
    result = CliRunner().invoke(main, ['train', 'train.yaml'], catch_exceptions=False)
    assert result.exit_code == 0 and result.stdout.count('copy.h5') == 1 and 'copy.h5' not in result.stderr
    assert any(line.startswith('warning: ') and 'copy.h5' in line for line in result.stdout.splitlines())


def test_in_python_it_is_a_warning_and_not_printed(twice, capsys):
    with pytest.warns(UserWarning, match=r'copy\.h5') as record:
        train(**twice)
    assert len([one for one in record if 'copy.h5' in str(one.message)]) == 1
    assert 'copy.h5' not in capsys.readouterr().out


@pytest.fixture
def structures(tmp_path):
    """Three frames in one file and one in another."""
    frames = [bulk('AlAs', 'zincblende', a=a) for a in (5.6, 5.7, 5.8)]
    ase.io.write(tmp_path / 'many.extxyz', frames)
    ase.io.write(tmp_path / 'one.extxyz', bulk('AlAs', 'zincblende', a=5.66, cubic=True))
    return tmp_path


def test_training_leaves_model_metrics_and_summary(model, hamlr):
    summary = json.loads((model / 'summary.json').read_text())
    assert summary['command'] == 'train'
    assert summary['epochs'] == 2
    assert summary['validation_mae_meV'] > 0
    assert summary['test_mae_meV'] > 0
    assert {'wall_s', 'cpu_s', 'peak_memory_MB', 'versions'} <= set(summary)
    assert (model / 'metrics.csv').read_text().startswith('epoch,')
    assert (model / 'checkpoints/last.ckpt').is_file()
    told = hamlr('info', model / 'model').stdout
    assert 'model of Al, As' in told


def test_evaluate_prints_and_writes_the_errors(model, study, hamlr, tmp_path):
    result = hamlr('evaluate', model / 'model', study / 'test/4.h5', '--json', 'errors.json')
    assert result.exit_code == 0, result.stderr
    assert 'on-site elements' in result.stdout
    errors = json.loads((tmp_path / 'errors.json').read_text())
    assert errors['mae_meV'] > 0
    assert errors['mae_onsite_meV'] > 0
    assert errors['n_structures'] == 1


def test_predict_many_structures_with_all_outputs(model, structures, hamlr):
    (structures / 'predict.yaml').write_text(
        f'model: {model}/model\nstructures: [many.extxyz, one.extxyz]\nkpoints: [2, 2, 2]\nspacing: 0.3\n'
        'outputs: [hamiltonian, bands, dos, charges, profile]\noverlap_threshold: 1.0e-6\n'
    )
    result = hamlr('predict', structures / 'predict.yaml')
    assert result.exit_code == 0, result.stderr
    output = structures / 'predictions'
    summary = json.loads((output / 'summary.json').read_text())
    assert list(summary['structures']) == ['many_0', 'many_1', 'many_2', 'one']
    assert (summary['n_done'], summary['n_failed'], summary['failed']) == (4, 0, [])
    predicted = Hamiltonian.read(output / 'one/hamiltonian.h5')
    assert predicted.attributes.origin == 'predicted'
    assert predicted.attributes.overlap_threshold == 1e-6
    assert predicted.pattern.asymmetry(predicted.hamiltonian) < 1e-9
    bands = Bands.read(output / 'one/bands.h5')
    assert bands.labels[0] == 'GAMMA'
    assert predicted.attributes.fermi_level == bands.attributes.fermi_level
    properties = Properties.read(output / 'one/properties.h5')
    assert properties.charges.sum() == pytest.approx(0, abs=1e-8)
    expected = predicted.hamiltonian - predicted.h0
    diagonal = [np.trace(predicted.pattern.block(expected, p)) / 4 for p in predicted.pattern.onsite]
    assert np.allclose(properties.potential, diagonal)
    assert 'Mulliken' in hamlr('info', output / 'one/properties.h5').stdout


def test_structures_that_fail_are_named_and_the_others_go_on(model, structures, hamlr):
    ase.io.write(structures / 'nitride.extxyz', bulk('AlN', 'zincblende', a=4.4))
    text = f'model: {model}/model\nstructures: [nitride.extxyz, one.extxyz]\noutputs: [hamiltonian]\n'
    (structures / 'predict.yaml').write_text(text)
    result = hamlr('predict', structures / 'predict.yaml')
    assert result.exit_code == 0
    summary = json.loads((structures / 'predictions/summary.json').read_text())
    assert [entry['name'] for entry in summary['failed']] == ['nitride']
    assert 'N' in summary['failed'][0]['reason']
    written = sorted(path.name for path in (structures / 'predictions').iterdir())
    assert written == ['one', 'results.csv', 'summary.json']


def test_element_that_the_model_never_saw(model, structures, hamlr):
    ase.io.write(structures / 'nitride.extxyz', bulk('AlN', 'zincblende', a=4.4))
    (structures / 'predict.yaml').write_text(f'model: {model}/model\nstructures: [nitride.extxyz]\n')
    result = hamlr('predict', structures / 'predict.yaml')
    assert result.exit_code == 2
    assert result.stderr.count('\n') == 1
    assert 'never saw N' in result.stderr
    assert not (structures / 'predictions').exists()


def test_model_and_basis_that_do_not_match(model, study, hamlr, tmp_path):
    hamlr('basis', '--upf', study / 'pseudos/Al.upf', '--recipe', 'plain', '--size', 'sz', '-o', 'basis/Al.basis.h5')
    hamlr('basis', '--upf', study / 'pseudos/As.upf', '--recipe', 'plain', '--size', 'sz', '-o', 'basis/As.basis.h5')
    ase.io.write('alas.extxyz', bulk('AlAs', 'zincblende', a=5.66))
    hamlr('h0', 'alas.extxyz', '--basis', 'basis', '--pseudos', study / 'pseudos', '--ecutrho', 60, '-o', 'h0.h5')
    other = Hamiltonian.read('h0.h5')
    other.matrices['hamiltonian'] = 1.1 * other.h0
    other.write('other.h5')
    result = hamlr('evaluate', model / 'model', 'other.h5', '--json', 'errors.json')
    assert result.exit_code == 2
    assert 'basis of Al' in result.stderr
    assert result.stderr.count('\n') == 1
    assert not (tmp_path / 'errors.json').exists()


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (('train/*.h5', 'nothing/*.h5'), ['data.train', 'no file matches']),
        (('train/*.h5', 'pseudos/Al.upf'), ['Al.upf', 'not an HDF5 file']),
        (('variant: lr', 'variant: xy'), ['model.variant', "'xy'"]),
        (('max_epochs', 'max_epoch'), ["unknown key 'max_epoch' in training", "'max_epochs'"]),
        (('{study}/valid/*.h5', '{study}/train/*.h5'), ['data.train', 'share']),
    ],
)
def test_trainings_that_cannot_work_are_refused_at_once(study, hamlr, tmp_path, change, words):
    (tmp_path / 'train.yaml').write_text(TRAIN.replace(*change).format(study=study))
    result = hamlr('train', 'train.yaml')
    assert result.exit_code == 2
    assert result.stderr.count('\n') == 1
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / 'run').exists()


def test_response_is_an_output_of_models_that_have_it(model, study, hamlr, tmp_path):
    from aiida_hamlr.jobs.inputs import read_basis_folder
    from aiida_hamlr.model.config import ModelConfig
    from aiida_hamlr.model.files import read_model, write_model
    from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

    atoms = bulk('AlAs', 'zincblende', a=5.66)
    ase.io.write(tmp_path / 'one.extxyz', atoms)
    text = 'model: {}\nstructures: [one.extxyz]\noutputs: [response]\n'
    (tmp_path / 'predict.yaml').write_text(text.format(model / 'model'))
    refused = hamlr('predict', tmp_path / 'predict.yaml')
    assert refused.exit_code == 2 and 'a model without response has no dielectric tensor' in refused.stderr
    _, description, _, pseudos = read_model(model / 'model')
    basis = read_basis_folder(study / 'basis', ('Al', 'As'))
    shells = {element: list(species.angular_momenta) for element, species in basis.items()}
    sizes = dict.fromkeys(('scalar_channels', 'natural_channels', 'unnatural_channels', 'radial_hidden'), 4)
    config = ModelConfig(variant='lr', response=True, layers=1, hidden_channels=8, pair_channels=8, **sizes)
    polar = HamiltonianModel(shells, config, 4.0, 10.0)
    polar.long_range.start_from(8.0)
    polar.long_range.identified.fill_(1)
    metadata = {'functional': 'lda_pz', 'ecutrho_Ry': description['ecutrho_Ry']}
    write_model(tmp_path / 'polar', polar, polar.state_dict(), basis, pseudos, metadata)
    (tmp_path / 'predict.yaml').write_text(text.format('polar'))
    result = hamlr('predict', tmp_path / 'predict.yaml')
    assert result.exit_code == 0, result.stderr
    properties = Properties.read(tmp_path / 'predictions/one/properties.h5')
    assert properties.born_charges.sum(axis=0) == pytest.approx(np.zeros((3, 3)), abs=1e-6)
    expected, _ = load_model(tmp_path / 'polar').field_response(load_model(tmp_path / 'polar').predict(atoms))
    assert properties.dielectric_tensor == pytest.approx(expected, abs=1e-6)
    assert properties.dielectric_tensor == pytest.approx(expected[0, 0] * np.eye(3), abs=1e-3) and expected[0, 0] > 1
