"""Tests of the handlers of the training work chain."""

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
        overrides={'train': {'parameters': {'training': {'batch_size': 4, 'learning_rate': 0.01}}}},
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

    def run(label, checkpoint=False):
        if checkpoint:
            (tmp_path / 'run/checkpoints').mkdir(parents=True, exist_ok=True)
            (tmp_path / 'run/checkpoints/last.ckpt').touch()
        folder = orm.RemoteData(computer=localhost, remote_path=str(tmp_path))
        node = make_finished('calculations', 'hamlr.train', CODES[label].status, {'remote_folder': folder})
        process.ctx.children = [node]
        return process.inspect_process()

    return run


def test_builder(process):
    """The protocol's network, the user's values on top."""
    parameters = process.inputs.train.parameters.get_dict()
    assert parameters['model']['layers'] == 1
    assert parameters['training'] == {'max_epochs': 100, 'batch_size': 4, 'learning_rate': 0.01}
    assert process.inputs.train.seed.value == 3
    assert 'gpu' in process.inputs.train.metadata.options.custom_scheduler_commands


@pytest.mark.parametrize('label', ['ERROR_OUT_OF_WALLTIME', 'ERROR_SCHEDULER_OUT_OF_WALLTIME'])
def test_walltime(process, fail, label):
    """After wall-time the training goes on from its checkpoint, by itself or as the scheduler left it."""
    assert fail(label, checkpoint=True).status == 0
    assert process.ctx.inputs.parent_folder.uuid == process.ctx.children[0].outputs.remote_folder.uuid


def test_walltime_without_checkpoint(process, fail):
    """Without a checkpoint the same wall-time would end it again."""
    assert fail('ERROR_SCHEDULER_OUT_OF_WALLTIME').status == 310


def test_node_failure(process, fail):
    """After a failure of the compute node the training starts again, or goes on."""
    assert fail('ERROR_SCHEDULER_NODE_FAILURE').status == 0
    assert 'parent_folder' not in process.ctx.inputs


def test_divergence(process, fail):
    """The learning rate falls, and after some tries the work chain gives up."""
    for power in range(1, 4):
        assert fail('ERROR_NUMERICAL').status == 0
        assert process.ctx.inputs.parameters['training']['learning_rate'] == pytest.approx(0.01 * 0.3**power)
    exit_code = fail('ERROR_NUMERICAL')
    assert exit_code.status == 310
    assert 'diverged 4 times' in exit_code.message


def test_memory(process, fail):
    """The batch is halved until it is one structure."""
    for batch_size in (2, 1):
        assert fail('ERROR_OUT_OF_MEMORY').status == 0
        assert process.ctx.inputs.parameters['training']['batch_size'] == batch_size
    assert fail('ERROR_OUT_OF_MEMORY').status == 310


def test_memory_of_batches_by_edges(process, fail):
    """The number of edges is halved where it limits the batches."""
    process.ctx.inputs.parameters['training']['max_edges_per_batch'] = 5000
    assert fail('ERROR_OUT_OF_MEMORY').status == 0
    assert process.ctx.inputs.parameters['training']['max_edges_per_batch'] == 2500
    assert process.ctx.inputs.parameters['training']['batch_size'] == 4


def test_bad_input(process, fail):
    """What the executable refuses it will refuse again."""
    assert fail('ERROR_BAD_INPUT') == TrainBaseWorkChain.exit_codes.ERROR_UNHANDLED_FAILURE
