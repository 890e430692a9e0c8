"""Committees: seeds, parents, reuse and failures, without running jobs."""

import pytest
from aiida import orm
from aiida.engine import ProcessState
from aiida_fixtures import find_problem

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.workflows.reuse import INPUTS_HASH, hash_inputs
from aiida_hamlr.workflows.train.committee import TrainCommitteeWorkChain


@pytest.fixture
def dataset(make_hamiltonian_node):
    """Return a dataset of one Hamiltonian."""
    return DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()


@pytest.fixture
def make_builder(hamlr_code, dataset):
    """Return a factory of builders of two models, the first of seed 5."""

    def make(**keywords):
        overrides = {'n_models': 2, 'max_concurrent': 1, **keywords.pop('overrides', {})}
        return TrainCommitteeWorkChain.get_builder_from_protocol(
            hamlr_code, dataset, protocol='fast', overrides=overrides, seed=5, **keywords
        )

    return make


@pytest.fixture
def submitted(monkeypatch):
    """Record the inputs of each training that is submitted."""
    record = {}

    def launch(self, process_class, inputs, label):
        node = orm.WorkChainNode(process_type=process_class.build_process_type())
        node.set_process_state(ProcessState.RUNNING)
        record[label] = (inputs, node.store())
        return node

    monkeypatch.setattr(TrainCommitteeWorkChain, 'launch', launch)
    monkeypatch.setattr(TrainCommitteeWorkChain, 'wait_for_first', lambda self, pks: None)
    return record


def finish(node, exit_status=0, **outputs):
    """End a training with outputs."""
    from aiida.common.links import LinkType

    for label, output in outputs.items():
        output.base.links.add_incoming(node, LinkType.RETURN, label)
    node.set_exit_status(exit_status)
    node.set_exit_message('diverged' if exit_status else '')
    node.set_process_state(ProcessState.FINISHED)
    node.seal()


def test_seeds_in_a_window(instantiate, make_builder, submitted, model_node):
    """Each training has the next seed; the outputs are the models by number."""
    process = instantiate(make_builder())
    process.setup()
    process.run_trainings()
    assert list(submitted) == ['model_0']
    finish(submitted['model_0'][1], model=model_node)
    process.run_trainings()
    assert [inputs.train.seed.value for inputs, _ in submitted.values()] == [5, 6]
    assert 'parent_model' not in submitted['model_1'][0].train
    other = model_node.clone().store()
    finish(submitted['model_1'][1], model=other)
    process.run_trainings()
    assert not process.should_run_trainings()
    assert process.inspect_trainings() is None
    assert process.outputs['model'].uuid == model_node.uuid
    assert {label: node.uuid for label, node in process.outputs['models'].items()} == {
        'model_0': model_node.uuid,
        'model_1': other.uuid,
    }


def test_what_has_been_trained_is_reused(instantiate, make_builder, submitted, model_node):
    """A finished training with inputs of the same content gives its model, unless that is not wanted."""
    process = instantiate(make_builder(overrides={'n_models': 1}))
    process.setup()
    process.run_trainings()
    inputs, node = submitted.pop('model_0')
    node.base.extras.set(INPUTS_HASH, hash_inputs(inputs))
    finish(node, model=model_node)
    # The monitors and the number of repetitions change nothing.
    process = instantiate(make_builder(overrides={'max_iterations': 3, 'train': {'monitors': {}}}))
    process.setup()
    process.run_trainings()
    assert list(submitted) == ['model_1']
    assert process.outputs['model'].uuid == model_node.uuid
    submitted.clear()
    for changes in ({'reuse': False}, {'train': {'parameters': {'training': {'max_epochs': 7}}}}):
        process = instantiate(make_builder(overrides=changes))
        process.setup()
        process.run_trainings()
        assert list(submitted) == ['model_0']
        submitted.clear()


def test_parents(instantiate, make_builder, submitted, model_node):
    """Each model starts from its own parent, or all from one, without settings of another network."""
    other = model_node.clone().store()
    builder = make_builder(parent_model=[model_node, other])
    assert find_problem(builder) is None
    assert builder.train.parameters['model'] == {}
    process = instantiate(builder)
    process.setup()
    process.ctx.queue = [1]
    process.run_trainings()
    assert submitted['model_1'][0].train.parent_model.uuid == other.uuid
    builder.train.parent_model = model_node
    assert 'give either' in find_problem(builder)
    builder = make_builder(parent_model=[model_node])
    assert 'needs the labels model_0, model_1' in find_problem(builder)
    assert make_builder(parent_model=model_node).train.parent_model.uuid == model_node.uuid
    builder = make_builder()
    builder.n_models = orm.Int(0)
    assert '`n_models` must be positive' in find_problem(builder)


def test_failures(instantiate, make_builder, submitted, model_node):
    """The models of the others are outputs, and the message says which failed."""
    process = instantiate(make_builder(overrides={'reuse': False}))
    process.setup()
    process.run_trainings()
    finish(submitted['model_0'][1], 310)
    process.run_trainings()
    finish(submitted['model_1'][1], model=model_node)
    process.run_trainings()
    code = process.inspect_trainings()
    assert code.status == TrainCommitteeWorkChain.exit_codes.ERROR_SUB_PROCESS_FAILED_TRAIN.status
    assert '1 of 2 trainings failed: model_0: diverged' in code.message
    assert set(process.outputs['models']) == {'model_1'}
