"""Real trainings: one that wall-time interrupts, one in two processes, and one that ran without AiiDA."""

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_hamlr.calculations.importers.train import TrainCalculationImporter
from aiida_hamlr.calculations.train import TrainCalculation
from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.training.module import TrainingModule
from aiida_hamlr.parsers.raw import parse_metrics
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain

SMALL = {'variant': 'sr', 'layers': 1, 'scalar_channels': 4, 'natural_channels': 4, 'unnatural_channels': 2}
SMALL |= {'hidden_channels': 8, 'pair_channels': 8, 'radial_hidden': 8}


@pytest.fixture
def make_dataset(make_hamiltonian_node):
    """Return a factory of datasets with one Hamiltonian for validation."""

    def make(n_train):
        nodes = [make_hamiltonian_node(seed=seed) for seed in range(n_train + 1)]
        return DatasetData.from_nodes({'train': nodes[1:], 'validation': nodes[:1]}).store()

    return make


def train_at_once(dataset, parameters, n_epochs, folder, monkeypatch):
    """Return the columns of the learning curve of a training that nothing interrupts, up to an epoch."""
    data = {}
    for part in ('train', 'validation'):
        data[part] = [folder / f'{part}{index}.h5' for index in range(len(dataset.get_uuids(part)))]
        for node, path in zip(dataset.get_hamiltonians(part), data[part], strict=True):
            node.export(path)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, 'is_finished', property(lambda self: self.finished_epochs >= n_epochs))
        train({'data': data, **parameters}, folder / 'run')
    return parse_metrics((folder / 'run/metrics.csv').read_text())


@pytest.mark.slow
def test_resume(hamlr_code, make_dataset, tmp_path, monkeypatch):
    """The second job resumes where the first reached its wall-time; together they equal an uninterrupted training."""
    dataset = make_dataset(2)
    training = {'max_epochs': 1000000, 'device': 'cpu', 'threads': 1, 'precision': 'float64', 'validate_every': 1}
    builder = TrainBaseWorkChain.get_builder_from_protocol(
        hamlr_code,
        dataset,
        protocol='fast',
        overrides={'max_iterations': 2, 'train': {'parameters': {'model': SMALL, 'training': training}}},
        options={'max_wallclock_seconds': 16},
    )
    parameters = builder.train.parameters.get_dict()
    _, node = run_get_node(builder)
    assert node.exit_status == TrainBaseWorkChain.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED.status
    first, second = sorted(node.called, key=lambda job: job.pk)
    for job in (first, second):
        assert job.exit_status == 400, job.exit_message
        # What ended early has a model, too.
        assert job.outputs.model.species == ['Al', 'As']
    assert second.inputs.parent_folder.uuid == first.outputs.remote_folder.uuid
    curves = [
        {name: job.outputs.learning_curve.get_array(name) for name in job.outputs.learning_curve.get_arraynames()}
        for job in (first, second)
    ]
    n_epochs = len(curves[1]['epoch'])
    assert n_epochs > len(curves[0]['epoch'])
    np.testing.assert_array_equal(curves[1]['epoch'], np.arange(1, n_epochs + 1))
    whole = train_at_once(dataset, parameters, n_epochs, tmp_path, monkeypatch)
    for name in ('epoch', 'step', 'learning_rate', 'train_mae_meV', 'validation_mae_meV'):
        np.testing.assert_allclose(curves[1][name], whole[name], rtol=1e-10, err_msg=name)


@pytest.mark.slow
def test_flat_training_is_ended_with_its_model(hamlr_code, make_dataset):
    """A learning rate that changes nothing: the monitor ends the job, and the work chain takes its model."""
    training = {'max_epochs': 1000000, 'device': 'cpu', 'threads': 1, 'learning_rate': 1e-30, 'validate_every': 1}
    monitor = {'minimum_poll_interval': 1, 'kwargs': {'flat_epochs': 5}}
    builder = TrainBaseWorkChain.get_builder_from_protocol(
        hamlr_code,
        make_dataset(1),
        protocol='fast',
        overrides={
            'train': {'parameters': {'model': SMALL, 'training': training}, 'monitors': {'training': monitor}},
        },
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    (job,) = node.called
    assert job.exit_status == TrainCalculation.exit_codes.STOPPED_BY_MONITOR.status
    assert job.exit_message.startswith('flat: since epoch 1 ')
    assert node.outputs.model.species == ['Al', 'As']
    assert len(node.outputs.learning_curve.get_array('epoch')) > 5


@pytest.mark.slow
def test_two_processes_and_import(hamlr_code, localhost, make_dataset, make_hamiltonian_node):
    """Two processes on the CPU make one model; the importer reads their folder as one of a training without AiiDA."""
    dataset = make_dataset(3)
    training = {'max_epochs': 2, 'device': 'cpu', 'learning_rate': 0.002}
    inputs = {
        'dataset': dataset,
        'parameters': orm.Dict({'model': SMALL, 'training': training}),
        'seed': orm.Int(7),
    }
    options = {'resources': {'num_machines': 1}, 'max_wallclock_seconds': 1000}
    job = {'code': hamlr_code, 'processes': orm.Int(2), 'metadata': {'options': options}}
    results, node = run_get_node(TrainCalculation, **inputs, **job)
    assert node.is_finished_ok, node.exit_message
    summary = results['output_parameters'].get_dict()
    # Three structures, two processes: two steps in every epoch.
    assert (summary['epochs'], summary['steps']) == (2, 4)

    # Without AiiDA nobody writes down the exit status.
    (Path(results['remote_folder'].get_remote_path()) / TrainCalculation._STATUS_FILENAME).unlink()
    folder = orm.RemoteData(computer=localhost, remote_path=results['remote_folder'].get_remote_path())
    with pytest.raises(ValueError, match='give the `dataset`'):
        TrainCalculationImporter.parse_remote_data(folder)
    nodes = [make_hamiltonian_node(seed=seed) for seed in range(5, 9)]
    other = DatasetData.from_nodes({'train': nodes[:3], 'validation': nodes[3:]}).store()
    with pytest.raises(ValueError, match='not those that the model was trained on'):
        TrainCalculationImporter.parse_remote_data(folder, dataset=other)
    imported = TrainCalculationImporter.parse_remote_data(folder, dataset=dataset)
    assert imported['parameters'].get_dict() == inputs['parameters'].get_dict()
    assert imported['seed'].value == 7
    metadata = {'computer': localhost, 'options': {'resources': {'num_machines': 1}}}
    again, node = run_get_node(TrainCalculation, remote_folder=folder, metadata=metadata, **imported)
    assert node.is_finished_ok, node.exit_message
    assert node.is_imported
    identities = [model.get_description()['identity'] for model in (results['model'], again['model'])]
    assert identities[0] == identities[1]
