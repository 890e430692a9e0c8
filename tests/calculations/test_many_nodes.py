"""Tests of processes with many nodes: the records are those of the engine, and what is overridden is what it calls."""

import inspect

import pytest
from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType
from aiida.engine import CalcJob, Process, ProcessState, WorkChain
from aiida.engine.persistence import AiiDAPersister
from aiida.engine.processes.calcjobs.tasks import Waiting
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from plumpy.persistence import LoadSaveContext

from aiida_hamlr.calculations.many_nodes import ManyInputsMixin, ManyNodesMixin, load_nodes, transaction
from aiida_hamlr.calculations.predict import PredictCalculation
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain


class Plain(WorkChain):
    """Return the nodes that it is given."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace('given', valid_type=orm.Int, dynamic=True)
        spec.input('label', valid_type=str, non_db=True, default='a')
        spec.output_namespace('returned', valid_type=orm.Int, dynamic=True)
        spec.outline(cls.give_back)

    def give_back(self):
        """Return them."""
        self.out('returned', dict(self.inputs.given))


class Many(ManyNodesMixin, Plain):
    """The same with many nodes."""


@pytest.fixture
def make_process(aiida_profile):
    """Return a factory of processes."""
    runner = get_manager().create_runner(communicator=None)
    return lambda process_class, inputs: process_class(inputs=inputs, runner=runner)


def numbers(n: int) -> dict:
    """Return stored nodes by label."""
    return {f'n{index}': orm.Int(index).store() for index in range(n)}


def links(node: orm.ProcessNode) -> set:
    """Return all links of a process node."""
    triples = [*node.base.links.get_incoming(), *node.base.links.get_outgoing()]
    return {(entry.node.uuid, entry.link_type, entry.link_label) for entry in triples}


def test_records_are_those_of_the_engine(make_process):
    """Links, outputs and the hash of the inputs are the same with and without the mixin."""
    inputs = {'given': numbers(4)}
    found = {}
    for process_class in (Plain, Many):
        process = make_process(process_class, inputs)
        process.execute()
        assert process.is_successful
        assert process.node.base.caching.get_hash() == process.node.base.caching.compute_hash()
        found[process_class] = links(process.node), process.node.base.caching.get_objects_to_hash()['inputs']
    assert found[Plain] == found[Many]
    assert len(found[Many][0]) == 8


def test_outputs_that_are_not_stored_are_refused(make_process, monkeypatch):
    """The engine says so: a work chain returns nodes that exist, it creates none."""
    process = make_process(Many, {'given': numbers(1)})
    monkeypatch.setattr(process, '_flat_outputs', lambda: {'returned__new': orm.Int(1)})
    with pytest.raises(ValueError, match='unstored'):
        process.update_outputs()


def test_checkpoint_gives_the_same_inputs(make_process):
    """Nodes, other values and the types of namespaces are those from before."""
    process = make_process(Many, {'given': numbers(3), 'label': 'b'})
    persister = AiiDAPersister()
    persister.save_checkpoint(process)
    loaded = persister.load_checkpoint(process.pid).unbundle(LoadSaveContext(runner=process.runner))
    assert loaded.inputs.label == 'b'
    assert {key: node.uuid for key, node in loaded.inputs.given.items()} == {
        key: node.uuid for key, node in process.inputs.given.items()
    }
    assert type(loaded.inputs.given) is type(process.inputs.given)
    assert loaded.raw_inputs['given'] == process.raw_inputs['given']


def test_checkpoints_from_before_are_read(make_process):
    """Processes that run while the package is upgraded go on."""
    process = make_process(Many, {'given': numbers(2), 'label': 'b'})
    loaded = process.decode_input_args(Process.encode_input_args(process, process.inputs))
    assert loaded['label'] == 'b'
    assert {key: node.uuid for key, node in loaded['given'].items()} == {
        key: node.uuid for key, node in process.inputs.given.items()
    }


def count_statements(function) -> int:
    """Return how many statements the database gets from a call."""
    from sqlalchemy import event

    bind, statements = get_manager().get_profile_storage().get_session().get_bind(), []
    event.listen(bind, 'before_cursor_execute', lambda *arguments: statements.append(arguments[2]))
    function()
    return len(statements)


def test_queries_do_not_grow_with_the_nodes(make_process):
    """Inputs of a checkpoint are loaded by one query, and so are links written."""
    counted = {}
    for n in (3, 30):
        inputs = {'given': numbers(n)}
        made = []
        create = count_statements(lambda inputs=inputs, made=made: made.append(make_process(Many, inputs)))
        text = made[0].encode_input_args(made[0].inputs)
        counted[n] = create, count_statements(lambda process=made[0], text=text: process.decode_input_args(text))
    assert counted[30][1] == counted[3][1]
    # Nodes are read again after they were stored.
    assert counted[30][0] - counted[3][0] <= 2 * 27


def test_nodes_at_once(aiida_profile):
    """All nodes by number; one that is not there is named."""
    nodes = [node.pk for node in numbers(3).values()]
    assert sorted(load_nodes(nodes)) == nodes
    with pytest.raises(NotExistent, match='999999'):
        load_nodes([*nodes, 999999])


def test_transaction_that_fails_leaves_nothing(aiida_profile):
    """What was stored in it is gone."""
    with pytest.raises(RuntimeError, match='stop'), transaction():
        node = orm.Int(1).store()
        uuid = node.uuid
        raise RuntimeError('stop')
    assert orm.QueryBuilder().append(orm.Int, filters={'uuid': uuid}).count() == 0


def test_job_links_its_structures(make_process, hamlr_code, model_node, zincblende):
    """The job has its computer and one link to each input; it looks for monitors among its inputs."""
    structures = {f's{seed}': structure_from_atoms(zincblende()).store() for seed in range(3)}
    inputs = {'code': hamlr_code, 'model': model_node, 'structures': structures}
    inputs['metadata'] = {'options': {'resources': {'num_machines': 1}}}
    process = make_process(PredictCalculation, inputs)
    incoming = process.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
    assert {label: node.uuid for label, node in incoming['structures'].items()} == {
        label: node.uuid for label, node in structures.items()
    }
    assert process.node.computer.pk == hamlr_code.computer.pk
    waiting = process.create_state(ProcessState.WAITING, None, msg='', data='upload')
    assert isinstance(waiting, Waiting)
    assert waiting.monitors is None


def test_equal_job_is_taken_from_the_cache(make_process, hamlr_code, model_node, zincblende):
    """With caching the links are there before the search for an equal job."""
    structures = {'a': structure_from_atoms(zincblende()).store()}
    inputs = {'code': hamlr_code, 'model': model_node, 'structures': structures}
    inputs['metadata'] = {'options': {'resources': {'num_machines': 1}}}
    first = make_process(PredictCalculation, inputs).node
    first.set_process_state(ProcessState.FINISHED)
    first.set_exit_status(0)
    first.seal()
    with enable_caching(identifier='aiida.calculations:hamlr.predict'):
        again = make_process(PredictCalculation, inputs).node
        other = make_process(PredictCalculation, {**inputs, 'structures': {'b': structures['a']}}).node
    assert again.base.caching.get_cache_source() == first.uuid
    assert other.base.caching.get_cache_source() is None


def test_structures_are_not_in_the_context(make_process, hamlr_code, model_node, zincblende, monkeypatch):
    """The base work chain gives its job all structures, and keeps them out of its checkpoints."""
    structures = {f's{seed}': structure_from_atoms(zincblende()).store() for seed in range(3)}
    job = {'code': hamlr_code, 'model': model_node, 'structures': structures}
    job['metadata'] = {'options': {'resources': {'num_machines': 1}}}
    process = make_process(PredictBaseWorkChain, {'predict': job})
    given = {}

    def submit(process_class, **inputs):
        given.update(inputs)
        return orm.CalcJobNode(computer=hamlr_code.computer).store()

    monkeypatch.setattr(process, 'submit', submit)
    process.setup()
    process.run_process()
    assert {label: node.uuid for label, node in given['structures'].items()} == {
        label: node.uuid for label, node in structures.items()
    }
    assert 'structures' not in process.ctx.inputs


def test_the_engine_calls_what_is_overridden():
    """What the mixins replace does what they do, and nothing else."""
    assert issubclass(PredictCalculation, ManyInputsMixin)
    assert 'self._setup_inputs()' in inspect.getsource(Process._setup_db_record)
    assert 'self._flat_inputs().items()' in inspect.getsource(Process._setup_inputs)
    source = inspect.getsource(CalcJob._setup_inputs)
    assert 'if not self.node.computer:\n            self.node.computer = self.inputs.code.computer' in source
    source = inspect.getsource(Process.update_outputs)
    assert 'outputs_flat = self._flat_outputs()' in source
    assert 'output.base.links.add_incoming(self.node, LinkType.RETURN, link_label)' in source
    assert "'monitors' in self.process.node.inputs" in inspect.getsource(Waiting.monitors.fget)
