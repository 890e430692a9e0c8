"""Tests of screenings without running jobs."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida_fixtures import find_problem

from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.jobs.results import write_results
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.results import find_results, get_table
from aiida_hamlr.workflows.screen import MOST_EMPTY_JOBS, ScreenWorkChain, find_outcome
from aiida_hamlr.workflows.sources import get_structures

EXITS = ScreenWorkChain.exit_codes


@pytest.fixture
def structures(aiida_profile, zincblende):
    """Return five stored structures."""
    nodes = []
    for seed in range(5):
        atoms = zincblende()
        atoms.rattle(0.05, seed=seed)
        nodes.append(structure_from_atoms(atoms).store())
    return nodes


@pytest.fixture
def group(structures):
    """Return a group of the structures."""
    group = orm.Group(label=f'alas {structures[0].uuid}').store()
    group.add_nodes(structures)
    return group


@pytest.fixture
def make_builder(hamlr_code, model_node, group):
    """Return a factory of builders with two structures in a batch."""

    def make(source=None, **overrides):
        overrides = {'batch_size': 2, 'max_concurrent': 2, **overrides}
        return ScreenWorkChain.get_builder_from_protocol(
            hamlr_code, model_node, group if source is None else source, overrides=overrides
        )

    return make


@pytest.fixture
def make_batch(localhost, model_node, tmp_path):
    """Return a factory of finished batches: a work chain that called a job with results of some structures."""

    def make(structures, done, failed=(), exit_status=0, parameters=None, valid=True, committee=None):
        chain = orm.WorkChainNode(process_type='aiida.workflows:hamlr.predict.base')
        chain.set_process_state(ProcessState.FINISHED)
        chain.set_exit_status(exit_status)
        chain.set_exit_message('out of memory' if exit_status else '')
        chain.store()
        job = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:hamlr.predict')
        content = parameters or {'outputs': ['gap'], 'kpoints_distance': 0.25}
        inputs = {'model': model_node, 'parameters': orm.Dict(content).store()}
        if committee is not None:
            inputs['committee__model_1'] = committee
        for label, node in inputs.items():
            job.base.links.add_incoming(node, LinkType.INPUT_CALC, label)
        for node in structures:
            job.base.links.add_incoming(node, LinkType.INPUT_CALC, f'structures__s{node.pk}')
        job.base.links.add_incoming(chain, LinkType.CALL_CALC, 'iteration_01')
        job.store()
        if not valid:
            job.base.caching.is_valid_cache = False
        outputs = {f'results__s{node.pk}': orm.Dict({'gap_eV': 1.0 + node.pk, 'formula': 'AlAs'}) for node in done}
        failures = [{'name': f's{node.pk}', 'reason': 'atoms too close'} for node in failed]
        retrieved = orm.FolderData()
        rows = [{'label': f's{node.pk}', 'status': 'done', 'gap_eV': 1.0 + node.pk, 'formula': 'AlAs'} for node in done]
        write_results(tmp_path / 'results.csv', rows)
        retrieved.base.repository.put_object_from_file(str(tmp_path / 'results.csv'), 'results.csv')
        outputs |= {'output_parameters': orm.Dict({'failed': failures}), 'retrieved': retrieved}
        for label, node in outputs.items():
            node.base.links.add_incoming(job, LinkType.CREATE, label)
            node.store()
        return chain

    return make


@pytest.fixture
def submitted(monkeypatch):
    """Record the labels of the structures of each submitted job."""
    record = []

    def launch(self, process_class, inputs, label):
        assert process_class is PredictBaseWorkChain
        record.append(sorted(inputs.predict.structures))
        node = orm.WorkChainNode(process_type='aiida.workflows:hamlr.predict.base')
        node.set_process_state(ProcessState.RUNNING)
        return node.store()

    monkeypatch.setattr(ScreenWorkChain, 'launch', launch)
    monkeypatch.setattr(ScreenWorkChain, 'wait_for_first', lambda self, pks: None)
    return record


def labels(nodes):
    """Return the labels of structures in a job."""
    return sorted(f's{node.pk}' for node in nodes)


def test_batches_in_a_window(instantiate, make_builder, structures, submitted):
    """No more jobs than the window takes; all structures are in one batch each."""
    process = instantiate(make_builder())
    assert process.setup() is None
    process.run_batches()
    assert submitted == [labels(structures[:2]), labels(structures[2:4])]
    assert process.ctx.queue == [['model', [structures[4].pk]]]


def test_what_has_a_result_is_left_out(instantiate, make_builder, make_batch, structures, submitted, model_node):
    """Only new structures are predicted; results of other parameters, or marked as invalid, do not count."""
    make_batch(structures[:2], structures[:2])
    make_batch(structures[2:3], structures[2:3], parameters={'outputs': ['gap'], 'kpoints_distance': 0.3})
    make_batch(structures[3:4], structures[3:4], valid=False)
    parameters = {'outputs': ['gap'], 'kpoints_distance': 0.25, 'device': 'cpu'}
    found = find_results([node.pk for node in structures], model_node, parameters)
    assert {pk: result.numbers['gap_eV'] for pk, result in found.items()} == {
        node.pk: 1.0 + node.pk for node in structures[:2]
    }
    process = instantiate(make_builder(batch_size=9))
    process.setup()
    process.run_batches()
    assert submitted == [labels(structures[2:])]
    process = instantiate(make_builder(batch_size=9, reuse=False))
    process.setup()
    process.run_batches()
    assert submitted[1] == labels(structures)


def test_results_of_another_committee_do_not_count(
    instantiate, make_builder, make_batch, structures, submitted, model_node
):
    """Their rows have no spread, or that of other models."""
    other, third = (model_node.clone().store() for _ in range(2))
    make_batch(structures[:2], structures[:2])
    make_batch(structures[2:3], structures[2:3], committee=other)
    make_batch(structures[3:4], structures[3:4], committee=third)
    builder = make_builder(batch_size=9)
    builder.predict.predict.committee = {'model_1': other}
    process = instantiate(builder)
    process.setup()
    process.run_batches()
    assert submitted == [labels([*structures[:2], *structures[3:]])]
    assert [row['status'] for row in get_table(process.node)].count('done') == 1


def test_failed_batch_is_split(instantiate, make_builder, make_batch, structures, submitted):
    """What a failed job has done counts; the rest runs again in halves, and one that fails alone has failed."""
    process = instantiate(make_builder(batch_size=9))
    process.setup()
    pks = [node.pk for node in structures]
    process._collect(make_batch(structures, structures[:1], exit_status=402), 'model', pks)
    assert process.ctx.queue[1:] == [['model', pks[1:3]], ['model', pks[3:]]]
    process._collect(make_batch(structures[3:], structures[3:4], structures[4:]), 'model', pks[3:])
    assert process.ctx.failures == {'model': {pks[4]: 'atoms too close'}}
    process._collect(make_batch(structures[1:2], [], exit_status=402), 'model', pks[1:2])
    assert process.ctx.failures['model'][pks[1]] == 'out of memory'
    done, failures = find_outcome(make_batch(structures, structures[:2], structures[2:3]))
    assert (done, failures) == (set(pks[:2]), {pks[2]: 'atoms too close'})


def test_jobs_that_never_give_a_result_end_the_screening(instantiate, make_builder, make_batch, structures, submitted):
    """A fault of the code or the computer does not start thousands of jobs."""
    process = instantiate(make_builder(batch_size=9))
    process.setup()
    for _ in range(MOST_EMPTY_JOBS):
        process._collect(make_batch(structures, [], exit_status=402), 'model', [node.pk for node in structures])
    process.run_batches()
    assert submitted == []
    code = process.inspect_batches()
    assert code.status == EXITS.ERROR_JOBS_FAILED.status
    assert 'out of memory' in code.message


def test_interrupted_step_submits_nothing_twice(instantiate, make_builder, structures, submitted):
    """A step that was interrupted after it had submitted a job finds that job."""
    process = instantiate(make_builder(batch_size=9))
    process.setup()
    known = orm.WorkChainNode(process_type='aiida.workflows:hamlr.predict.base')
    known.base.links.add_incoming(process.node, LinkType.CALL_WORK, 'batch_00000')
    known.store()
    process.run_batches()
    assert submitted == []
    assert list(process.ctx.running) == [known.pk]


def test_sources(make_builder, structures, group):
    """A group, a query, a trajectory or structures by label."""
    pks = {node.pk for node in structures}
    query = orm.QueryBuilder().append(orm.StructureData, filters={'id': {'in': sorted(pks)}}, project='*')
    for source in (group, query, {f's{node.pk}': node for node in structures}):
        inputs = make_builder(source)._inputs(prune=True)
        assert set(get_structures(inputs)) == pks
    trajectory = orm.TrajectoryData(structurelist=structures[:2])
    assert 'trajectory' in make_builder(trajectory)._inputs(prune=True)


def test_refused(make_builder):
    """Inputs that do not fit together are one line."""
    builder = make_builder()
    builder.query = orm.Dict(orm.QueryBuilder().append(orm.StructureData).as_dict())
    assert 'give one of' in find_problem(builder)
    builder = make_builder()
    with pytest.raises(ValueError, match='no group'):
        builder.group = orm.Str('no such group')
    builder.batch_size = orm.Int(0)
    assert '`batch_size` must be positive' in find_problem(builder)


def test_elements_that_the_model_never_saw(instantiate, make_builder, structures, group, submitted):
    """They fail without a job, and the others are predicted."""
    from ase.build import bulk

    silicon = orm.StructureData(ase=bulk('Si')).store()
    group.add_nodes(silicon)
    process = instantiate(make_builder(batch_size=9))
    process.setup()
    process.run_batches()
    assert submitted == [labels(structures)]
    assert process.ctx.failures['model'][silicon.pk] == 'the model never saw Si'


def test_table(instantiate, make_builder, make_batch, structures, submitted):
    """One row for each structure, also for what came into the group later; the table node links to the results."""
    make_batch(structures, structures[:4], structures[4:])
    process = instantiate(make_builder())
    process.setup()
    process.ctx.failures = {'model': {structures[4].pk: 'atoms too close'}}
    assert process.inspect_batches() is None
    node = process.outputs['results']
    lines = node.get_content().splitlines()
    assert lines[0].startswith('structure,label,formula,status')
    assert len(lines) == 6
    assert 'atoms too close' in lines[5]
    # Links to what was retrieved of each job, not to each number.
    linked = node.creator.base.links.get_incoming(orm.FolderData).all_nodes()
    assert [entry.creator.process_type for entry in linked] == ['aiida.calculations:hamlr.predict']
    table = get_table(process.node)
    assert [row['status'] for row in table] == ['done'] * 4 + ['waiting']
    assert table[0]['gap_eV'] == 1.0 + structures[0].pk
