"""Active learning: the steps without jobs, and one whole study with real pw.x."""

import pytest
from aiida import orm
from aiida.engine import ProcessState, run_get_node
from aiida_fixtures import find_problem

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.workflows.active_learning import ActiveLearningWorkChain
from aiida_hamlr.workflows.screen import ScreenWorkChain
from aiida_hamlr.workflows.train.committee import TrainCommitteeWorkChain

EXITS = ActiveLearningWorkChain.exit_codes

OPTIONS = {'withmpi': False, 'max_wallclock_seconds': 600, 'environment_variables': {'OMP_NUM_THREADS': '1'}}


@pytest.fixture
def structures(aiida_profile, zincblende):
    """Return eight crystals with displacements of growing size."""
    nodes = []
    for seed in range(8):
        atoms = zincblende()
        atoms.rattle(0.02 + 0.02 * seed, seed=seed)
        nodes.append(structure_from_atoms(atoms).store())
    return nodes


@pytest.fixture
def make_builder(pw_code, hamlr_code, pseudo_family, structures):
    """Return a factory of builders of a very small study of some candidates."""

    def make(candidates=None, **settings):
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh([2, 2, 2])
        numbers = {'n_initial': 2, 'n_validation': 1, 'n_test': 1, 'n_per_round': 2, 'max_rounds': 1}
        overrides = {
            'reference': {
                # A mesh takes no calculation functions, as a distance of points would.
                'scf': {'pseudo_family': pseudo_family, 'kpoints': kpoints},
                'generate_basis': {'parameters': {'size': 'szp', 'cutoff_radius': 6.0}},
            },
            'train': {'train': {'parameters': {'training': {'max_steps': 2}}}},
            'screen': {'predict': {'predict': {'parameters': {'kpoints_distance': 0.8}}}},
            **numbers,
            **settings.pop('overrides', {}),
        }
        if candidates is None:
            candidates = {f'c{index}': node for index, node in enumerate(structures)}
        return ActiveLearningWorkChain.get_builder_from_protocol(
            pw_code, hamlr_code, candidates, protocol='fast', overrides=overrides, options=OPTIONS, **settings
        )

    return make


@pytest.fixture
def submitted(monkeypatch):
    """Record the inputs of each process that is submitted, by the label of its link."""
    record = {}

    def launch(self, process_class, inputs, label):
        node = orm.WorkChainNode(process_type=process_class.build_process_type())
        node.set_process_state(ProcessState.RUNNING)
        record[label] = inputs
        assert process_class.spec().inputs.validate({**inputs, 'metadata': {}}) is None
        return node.store()

    monkeypatch.setattr(ActiveLearningWorkChain, 'launch', launch)
    return record


@pytest.fixture
def make_model(model_node, make_finished):
    """Return a factory of model nodes, made by a training with some test error."""

    def make(error):
        model = model_node.clone()
        summary = orm.Dict({'test_mae_meV': error, 'validation_mae_meV': 2 * error})
        make_finished('calculations', 'hamlr.train', outputs={'model': model, 'output_parameters': summary})
        return model

    return make


@pytest.fixture
def compute(make_hamiltonian_node):
    """Return a function that gives the structures of a round their references."""

    def run(process):
        process.setup_references()
        assert process.ctx.queue == list(process.get_reference_structures())
        for index, label in enumerate(reversed(process.ctx.queue)):
            process.ctx.references[label] = make_hamiltonian_node(seed=100 * process.ctx.round + index)
        assert process.inspect_references() is None
        return process.make_dataset()

    return run


def learn(process, make_finished, models):
    """Let a round have models."""
    process.run_training()
    outputs = {f'models__model_{index}': model for index, model in enumerate(models)}
    process.ctx.training = make_finished('workflows', 'hamlr.train.committee', outputs=outputs)
    return process.inspect_training()


def screen(process, make_finished, rows, column='uncertainty_meV'):
    """Let a round have a table of predictions."""
    from aiida_hamlr.jobs.tables import format_table

    table = format_table([{'structure': node.uuid, 'status': 'done', column: value} for node, value in rows])
    process.run_screen()
    outputs = {'results': orm.SinglefileData.from_string(table, 'results.csv')}
    process.ctx.screening = make_finished('workflows', 'hamlr.screen', outputs=outputs)
    return process.inspect_screen()


def test_first_round(instantiate, make_builder, structures, submitted, compute, make_finished, make_model):
    """Parts are drawn once; dataset, training and screening get them, and the most uncertain ones are next."""
    process = instantiate(make_builder())
    assert process.setup() is None
    assert list(process.ctx.parts.values()) == ['test', 'validation', 'train', 'train']
    assert compute(process) is None
    dataset = process.ctx.dataset
    assert [dataset.base.attributes.get(f'n_{part}') for part in ('train', 'validation', 'test')] == [2, 1, 1]
    # In the order in which they were drawn, whichever ended first.
    labels = [label for label, part in process.ctx.parts.items() if part == 'train']
    assert dataset.get_uuids('train') == [process.ctx.hamiltonians[label].uuid for label in labels]
    assert learn(process, make_finished, [make_model(0.5)]) is None
    assert submitted['train_00'].train.dataset.uuid == dataset.uuid
    assert process.should_screen()
    left = [node for node in structures if f's{node.pk}' not in process.ctx.parts]
    values = [1.0, 4.0, 2.0, 0.5]
    # What has a reference is uncertain, too, and not chosen again.
    rows = [*zip(left, values, strict=True), *((n, 9.0) for n in structures if n not in left)]
    assert screen(process, make_finished, rows) is None
    assert submitted['screen_00']['models']['model'].uuid == process.ctx.models['model_0'].uuid
    assert 'committee' not in submitted['screen_00'].predict.predict
    assert list(process.ctx.parts)[4] == f's{left[1].pk}'
    process.finish_round()
    record = process.outputs['rounds']['round_00'].get_dict()
    assert (record['n_train'], record['n_references'], record['error_meV'], record['error_of']) == (2, 4, 0.5, 'test')
    assert record['selected'][0] == left[1].uuid
    assert record['candidates_uncertainty_max_meV'] == 4.0
    assert process.should_continue() and set(process.get_reference_structures()) == set(list(process.ctx.parts)[4:])


def test_committee_and_fine_tuning(
    instantiate, make_builder, structures, submitted, compute, make_finished, make_model
):
    """With several models their spread decides; with fine-tuning they start from those of the round before."""
    process = instantiate(make_builder(overrides={'train': {'n_models': 2}, 'fine_tune': True}))
    process.setup()
    compute(process)
    models = [make_model(0.5), make_model(1.5)]
    learn(process, make_finished, models)
    assert process.ctx.error == 1.0
    assert 'parent_models' not in submitted['train_00']
    screen(process, make_finished, [(node, 1.0 + node.pk) for node in structures], 'committee_spread_meV')
    assert {label: node.uuid for label, node in submitted['screen_00'].predict.predict.committee.items()} == {
        'model_1': models[1].uuid
    }
    process.finish_round()
    compute(process)
    process.run_training()
    assert {label: node.uuid for label, node in submitted['train_01'].parent_models.items()} == {
        f'model_{index}': model.uuid for index, model in enumerate(models)
    }


def test_ends(instantiate, make_builder, structures, submitted, compute, make_finished, make_model):
    """The target, the number of rounds, the budget and the candidates end it; a missed target is an exit code."""
    for overrides, error, end, status in (
        ({'target': 0.6}, 0.5, 'the target is reached', None),
        ({'target': 0.4, 'max_rounds': 0}, 0.5, '0 rounds are done', EXITS.ERROR_TARGET_NOT_REACHED.status),
        ({'max_references': 4}, 0.5, '4 references are done', None),
    ):
        process = instantiate(make_builder(overrides=overrides))
        process.setup()
        compute(process)
        learn(process, make_finished, [make_model(error)])
        assert process.ctx.end == end
        assert not process.should_screen()
        process.finish_round()
        code = process.inspect_target()
        assert (None if code is None else code.status) == status
        assert process.outputs['model'].uuid == process.ctx.models['model_0'].uuid
        assert process.outputs['dataset'].uuid == process.ctx.dataset.uuid
        assert process.outputs['rounds']['round_00']['end'] == end
    process = instantiate(make_builder(overrides={'max_references': 5}))
    process.setup()
    compute(process)
    learn(process, make_finished, [make_model(0.5)])
    screen(process, make_finished, [(node, 1.0) for node in structures])
    # One more, not two.
    assert len(process.ctx.parts) == 5


def test_failures(instantiate, make_builder, structures, submitted, compute, make_finished, make_model):
    """Parts that fail end it, and what there is stays; a reference that failed is not tried again."""
    process = instantiate(make_builder(overrides={'max_failures': 1}))
    process.setup()
    process.setup_references()
    first, *others = process.ctx.queue
    process.ctx.failures = dict.fromkeys(process.ctx.queue, 'not converged')
    code = process.inspect_references()
    assert code.status == EXITS.ERROR_SUB_PROCESS_FAILED_REFERENCE.status
    process = instantiate(make_builder(overrides={'max_failures': 1}))
    process.setup()
    compute(process)
    process.ctx.failed = {first: 'not converged'}
    assert first not in process.get_reference_structures()
    learn(process, make_finished, [make_model(0.5)])
    process.ctx.screening = make_finished('workflows', 'hamlr.screen', 407, message='no jobs')
    code = process.inspect_screen()
    assert code.status == EXITS.ERROR_SUB_PROCESS_FAILED_SCREEN.status
    assert 'no jobs' in code.message
    assert 'model' in process.outputs
    process = instantiate(make_builder())
    process.setup()
    compute(process)
    process.ctx.training = make_finished('workflows', 'hamlr.train.committee', 403, message='diverged')
    assert process.inspect_training().status == EXITS.ERROR_SUB_PROCESS_FAILED_TRAIN.status
    assert process.outputs['dataset'].uuid == process.ctx.dataset.uuid


def test_equal_structures_and_few_candidates(instantiate, make_builder, structures, make_hamiltonian_node):
    """A dataset cannot have a Hamiltonian twice; more structures than there are cannot be drawn."""
    process = instantiate(make_builder())
    process.setup()
    process.setup_references()
    same = make_hamiltonian_node(seed=1)
    nodes = [make_hamiltonian_node(seed=0), same, same.clone().store(), make_hamiltonian_node(seed=2)]
    process.ctx.references = dict(zip(process.ctx.parts, nodes, strict=True))
    assert process.make_dataset() is None
    assert list(process.ctx.failed) == [list(process.ctx.parts)[2]]
    assert process.ctx.dataset.base.attributes.get('n_train') == 1
    process = instantiate(make_builder({'a': structures[0], 'b': structures[1]}))
    code = process.setup()
    assert code.status == EXITS.ERROR_NO_STRUCTURES.status
    assert '2 can be computed, and 4 are drawn' in code.message


def test_known_hamiltonians(instantiate, make_builder, basis_node, make_hamiltonian_node):
    """They are trained on from the start, and no further ones are drawn of the parts that they have."""
    nodes = [make_hamiltonian_node(seed=seed) for seed in range(3)]
    dataset = DatasetData.from_nodes({'train': nodes[:2], 'validation': nodes[2:]}).store()
    process = instantiate(make_builder(dataset=dataset, basis=basis_node))
    assert process.setup() is None
    assert list(process.ctx.parts.values()) == ['test']
    builder = make_builder(dataset=dataset)
    assert 'give `basis`' in find_problem(builder)


def test_refused(make_builder, structures):
    """Inputs that do not fit together are one line."""
    assert find_problem(make_builder()) is None
    builder = make_builder(overrides={'n_validation': 0, 'n_test': 0})
    assert 'give at least one' in find_problem(builder)
    builder = make_builder(overrides={'max_references': 3})
    assert '`max_references` is 3, but 4 structures are drawn' in find_problem(builder)
    builder = make_builder()
    builder.n_per_round = orm.Int(0)
    assert '`n_per_round` must be at least 1' in find_problem(builder)
    builder = make_builder()
    builder.pseudos = {'Al': builder.pseudos['Al']}
    assert 'no pseudopotential of As' in find_problem(builder)
    builder = make_builder(overrides={'train': {'n_models': 4}})
    assert builder.train.n_models.value == 4
    with pytest.raises(ValueError, match='n_modles'):
        make_builder(overrides={'train': {'n_modles': 4}})


@pytest.mark.qe
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_study(aiida_profile_clean, make_builder, structures):
    """References, models, predictions and a second round; the same study again reuses all but its records."""
    group = orm.Group(label='candidates').store()
    group.add_nodes(structures[:4])
    numbers = {'n_initial': 1, 'n_test': 0, 'n_per_round': 1}
    builder = make_builder(group, overrides={**numbers, 'fine_tune': True})
    results, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    records = [results['rounds'][f'round_{number:02d}'].get_dict() for number in range(2)]
    assert [record['n_train'] for record in records] == [1, 2]
    assert all(0.0 < record['error_meV'] < 50.0 for record in records)
    assert len(results['references']) == 3
    (chosen,) = records[0]['selected']
    assert results['model'].creator.inputs.parent_model.uuid != results['model'].uuid
    # The orbitals come from the cache.
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters={'extras': {'!has_key': '_aiida_cached_from'}})
    n_jobs = query.count()
    again, second = run_get_node(builder)
    assert second.is_finished_ok, second.exit_message
    assert query.count() == n_jobs
    assert again['model'].uuid == results['model'].uuid
    assert again['rounds']['round_00']['selected'] == [chosen]
    labels = [child.process_class for child in node.called if isinstance(child, orm.WorkChainNode)]
    assert labels.count(TrainCommitteeWorkChain) == 2
    assert labels.count(ScreenWorkChain) == 1
