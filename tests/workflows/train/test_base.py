"""Tests of the handlers of the training work chain."""

import numpy as np
import pytest
from aiida import orm

from aiida_hamlr.calculations.train import TrainCalculation
from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain

CODES = TrainCalculation.exit_codes


@pytest.fixture
def process(hamlr_code, make_hamiltonian_node, instantiate):
    """Return a work chain after its set-up."""
    dataset = DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()
    builder = TrainBaseWorkChain.get_builder_from_protocol(
        hamlr_code,
        dataset,
        protocol='fast',
        overrides={'train': {'parameters': {'training': {'batch_size': 4, 'schedule': {'learning_rate': 0.01}}}}},
        options={'max_wallclock_seconds': 100, 'custom_scheduler_commands': '#SBATCH --gres=gpu:1'},
        seed=3,
    )
    process = instantiate(builder)
    process.setup()
    process.ctx.iteration = 1
    return process


@pytest.fixture
def fail(process, make_finished, localhost, tmp_path):
    """Return a function that ends a training with an exit code and lets the work chain look at it."""

    def run(label, *checkpoints, epoch=None, message='', model=None):
        for name in checkpoints:
            (tmp_path / 'run/checkpoints').mkdir(parents=True, exist_ok=True)
            (tmp_path / f'run/checkpoints/{name}.ckpt').touch()
        outputs = {'remote_folder': orm.RemoteData(computer=localhost, remote_path=str(tmp_path))}
        if epoch is not None:
            outputs['learning_curve'] = orm.ArrayData({'epoch': np.arange(1.0, epoch + 1)})
        if model is not None:
            outputs['model'] = model
        node = make_finished('calculations', 'hamlr.train', CODES[label].status, outputs, message)
        process.ctx.children = [node]
        return process.inspect_process()

    return run


def resumes(process, checkpoint):
    """Return whether the next job resumes from a checkpoint of the last one."""
    inputs = process.ctx.inputs
    name = inputs.checkpoint.value if 'checkpoint' in inputs else 'last'
    return inputs.parent_folder.uuid == process.ctx.children[0].outputs.remote_folder.uuid and name == checkpoint


def training(process):
    """Return the section `training` of the next job."""
    return process.ctx.inputs.parameters['training']


def test_builder(process):
    """The protocol's network, the user's values on top, and a monitor."""
    parameters = process.inputs.train.parameters.get_dict()
    assert parameters['model']['short_range']['layers'] == 1
    assert parameters['training'] == {'max_epochs': 100, 'batch_size': 4, 'schedule': {'learning_rate': 0.01}}
    assert process.inputs.train.seed.value == 3
    assert 'gpu' in process.inputs.train.metadata.options.custom_scheduler_commands
    assert process.inputs.train.monitors.training['entry_point'] == 'hamlr.training'


@pytest.mark.parametrize(
    ('overrides', 'words'),
    [
        ({'trian': {}}, "unknown key 'trian' in overrides; did you mean 'train'"),
        ({'train': {'metadata': {'options': {'queue': 'x'}}}}, "'queue' in overrides.train.metadata.options"),
        ({'train': {'parameters': {'training': {'max_epoch': 3}}}}, "did you mean 'max_epochs'"),
        ({'train': {'parameters': {'model': {'layer': 3}}}}, "did you mean 'short_range.layers'"),
    ],
)
def test_unknown_override(hamlr_code, overrides, words):
    """A misspelt key is named with the nearest known one, wherever it is; labels are the user's own."""
    monitors = {'train': {'monitors': {'mine': {'entry_point': 'hamlr.training'}}}}
    builder = TrainBaseWorkChain.get_builder_from_protocol(hamlr_code, protocol='fast', overrides=monitors)
    assert sorted(builder.train.monitors) == ['mine', 'training']
    with pytest.raises(ValueError, match=words):
        TrainBaseWorkChain.get_builder_from_protocol(hamlr_code, protocol='fast', overrides=overrides)


@pytest.mark.parametrize('label', ['ERROR_OUT_OF_WALLTIME', 'ERROR_SCHEDULER_OUT_OF_WALLTIME'])
def test_walltime(process, fail, label):
    """After wall-time the training resumes from its checkpoint, whether it stopped by itself or was ended."""
    assert fail(label, 'last', epoch=3).status == 0
    assert resumes(process, 'last')
    # As long as there is something new in every job.
    assert fail(label, 'last', epoch=5).status == 0
    exit_code = fail(label, 'last', epoch=5)
    assert exit_code.status == 310
    assert 'no epoch after epoch 5 was finished' in exit_code.message


@pytest.mark.parametrize('label', ['ERROR_SCHEDULER_OUT_OF_WALLTIME', 'ERROR_NO_CHECKPOINT'])
def test_walltime_without_checkpoint(process, fail, label):
    """Without a checkpoint the same wall-time would end it again."""
    assert fail(label).status == 310


def test_damaged_checkpoints(process, fail):
    """Those of an earlier job are left, and the training starts again; those that the user gave are refused."""
    message = 'run/checkpoints/last.ckpt: damaged checkpoint: not a zip file'
    exit_code = fail('ERROR_BAD_INPUT', 'last', message=message)
    assert exit_code.status == 310 and message in exit_code.message
    assert fail('ERROR_KILLED', 'last').status == 0
    assert resumes(process, 'last')
    assert fail('ERROR_BAD_INPUT', 'last', message=message).status == 0
    assert 'parent_folder' not in process.ctx.inputs and not process.ctx.is_finished


def test_node_failure(process, fail):
    """After a failure of the compute node the training starts again, or resumes."""
    assert fail('ERROR_SCHEDULER_NODE_FAILURE').status == 0
    assert 'parent_folder' not in process.ctx.inputs
    assert fail('ERROR_SCHEDULER_NODE_FAILURE', 'last').status == 0
    assert resumes(process, 'last')


def test_killed(process, fail):
    """It resumes, then with half the batch, because the memory may be the cause, but not for ever."""
    for batch_size, accumulate in ((4, None), (2, 2), (1, 4)):
        assert fail('ERROR_KILLED', 'last').status == 0
        assert resumes(process, 'last')
        assert (training(process)['batch_size'], training(process).get('accumulate')) == (batch_size, accumulate)
    exit_code = fail('ERROR_KILLED', 'last')
    assert exit_code.status == 310
    assert 'killed 4 times' in exit_code.message


def test_divergence(process, fail):
    """The learning rate falls from the best checkpoint on, and after some tries the work chain gives up."""
    assert fail('ERROR_NUMERICAL', 'last').status == 0
    assert 'parent_folder' not in process.ctx.inputs
    for power in range(2, 4):
        assert fail('ERROR_NUMERICAL', 'last', 'best').status == 0
        assert resumes(process, 'best')
        assert training(process)['schedule']['learning_rate'] == pytest.approx(0.01 * 0.3**power)
    exit_code = fail('ERROR_NUMERICAL')
    assert exit_code.status == 310
    assert 'diverged 4 times' in exit_code.message


def test_divergence_seen_by_the_monitor(process, fail):
    """A training that the monitor stopped because it diverged is handled like any that diverged."""
    message = 'diverged: the last 3 validation errors are more than 10 times'
    assert fail('STOPPED_BY_MONITOR', 'last', 'best', message=message).status == 0
    assert resumes(process, 'best')
    assert training(process)['schedule']['learning_rate'] == pytest.approx(0.003)
    assert fail('ERROR_OUT_OF_WALLTIME', 'last', 'best', epoch=4).status == 0
    assert resumes(process, 'last')


def test_flat(process, fail, model_node):
    """A training that learned nothing more is finished, with its model."""
    message = 'flat: since epoch 7 no validation error was below 2 meV'
    model = model_node.clone()
    assert fail('STOPPED_BY_MONITOR', message=message, model=model).status == 0
    assert process.ctx.is_finished
    process.results()
    assert process.outputs['model'].uuid == model.uuid


def test_stopped_by_another_monitor(fail):
    """What it means the work chain does not know."""
    assert fail('STOPPED_BY_MONITOR', 'last', message='the disk is nearly full').status == 310


def test_memory(process, fail):
    """The batch is halved until it is one structure; a step has as many as before, and its checkpoint is good."""
    process.ctx.inputs.parameters['training']['batch_size'] = 12
    for batch_size, accumulate in ((6, 2), (3, 4), (1, 12)):
        assert fail('ERROR_OUT_OF_MEMORY', 'last').status == 0
        assert resumes(process, 'last')
        assert (training(process)['batch_size'], training(process)['accumulate']) == (batch_size, accumulate)
    assert fail('ERROR_OUT_OF_MEMORY').status == 310


def test_memory_of_batches_by_edges(process, fail):
    """The number of edges is halved where it limits the batches."""
    process.ctx.inputs.parameters['training'] |= {'max_edges_per_batch': 5000, 'accumulate': 3}
    assert fail('ERROR_OUT_OF_MEMORY').status == 0
    assert training(process) | {'max_edges_per_batch': 2500, 'accumulate': 6, 'batch_size': 4} == training(process)


@pytest.mark.parametrize(('label', 'status'), [('ERROR_NO_GPU', 311), ('ERROR_DISK_FULL', 312)])
def test_what_another_job_would_not_mend(process, fail, label, status):
    """The work chain says so with an exit code of its own; the folder is an output where its checkpoint helps."""
    exit_code = fail(label, 'last', message='the reason')
    assert exit_code.status == status and 'the reason' in exit_code.message
    assert ('remote_folder' in process.outputs) == (label == 'ERROR_DISK_FULL')


def test_bad_input(process, fail):
    """What the executable refuses it will refuse again."""
    assert fail('ERROR_BAD_INPUT') == TrainBaseWorkChain.exit_codes.ERROR_UNHANDLED_FAILURE
