"""The whole way on real pw.x and hamlr: references, dataset, training, prediction, comparison."""

import re
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import ProcessState, run_get_node
from aiida_fixtures import find_problem as problem
from aiida_quantumespresso.common.types import SpinType

from aiida_hamlr.calculations.functions.compare import compare_hamiltonians
from aiida_hamlr.plotting.provenance import ProvenanceGraph, plot_provenance
from aiida_hamlr.workflows.dataset import DatasetWorkChain
from aiida_hamlr.workflows.pipeline import PipelineWorkChain

DOCS = Path(__file__).resolve().parents[2] / 'docs'
OPTIONS = {'withmpi': False, 'max_wallclock_seconds': 600, 'environment_variables': {'OMP_NUM_THREADS': '1'}}


def rattled(zincblende, seed, n_cells=1):
    """Return AlAs with random displacements."""
    atoms = zincblende().repeat((1, 1, n_cells))
    atoms.rattle(0.05, seed=seed)
    return orm.StructureData(ase=atoms)


@pytest.fixture
def builder(pw_code, hamlr_code, pseudo_family, zincblende, tmp_path):
    """Return the inputs of a very small study."""
    return PipelineWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        {
            'train': {'a': rattled(zincblende, 1), 'b': rattled(zincblende, 2)},
            'validation': {'a': rattled(zincblende, 3)},
            'predict': {'double': rattled(zincblende, 4, n_cells=2)},
        },
        protocol='fast',
        overrides={
            'max_concurrent': 2,
            'clean_workdir': True,
            'reference': {
                'scf': {'pseudo_family': pseudo_family, 'kpoints_distance': 0.8},
                'storage': 'remote',
                'stash_folder': str(tmp_path / 'kept'),
                'generate_basis': {'parameters': {'size': 'szp', 'cutoff_radius': 6.0}},
            },
            'train': {'train': {'parameters': {'training': {'max_epochs': 3}}}},
            'predict': {'predict': {'parameters': {'spacing': 0.5}}},
        },
        options=OPTIONS,
    )


def test_predictions_of_magnets_start_from_the_moments_of_the_references(
    pw_code, hamlr_code, pseudo_family, zincblende
):
    """Else they would be predictions without magnetization."""
    builder = PipelineWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        {'train': {'a': rattled(zincblende, 1)}, 'predict': {'b': rattled(zincblende, 2)}},
        overrides={'reference': {'scf': {'pseudo_family': pseudo_family}}},
        options=OPTIONS,
        spin_type=SpinType.COLLINEAR,
        initial_magnetic_moments={'Al': 1.5},
    )
    assert builder.predict.predict.parameters['magnetic_moments'] == {'Al': 1.5}
    starting = builder.reference.scf.pw.parameters['SYSTEM']['starting_magnetization']
    assert starting == pytest.approx({'Al': 0.5, 'As': 0.0})


def test_refused(builder, pseudos, zincblende, other_computer):
    """What could only fail later is refused at the start."""
    assert problem(builder) is None
    code = builder.reference.reconstruct.code
    elsewhere = orm.InstalledCode(computer=other_computer, filepath_executable='/bin/hamlr', label='hamlr').store()
    builder.reference.reconstruct.code = elsewhere
    assert '`reference.reconstruct.code` on elsewhere' in problem(builder)
    builder.reference.reconstruct.code = code
    from ase.build import bulk

    structures = dict(builder.structures)
    builder.structures = {**structures, 'predict': {'si': orm.StructureData(ase=bulk('Si'))}}
    assert 'no pseudopotential of Si' in problem(builder)
    builder.pseudos = pseudos
    assert 'no structure in `structures.train` contains Si' in problem(builder)
    builder.structures = {**structures, 'train': {}}
    assert '`structures.train` is empty' in problem(builder)
    builder.structures = {**structures, 'validation': {'same': structures['train']['a'].clone()}}
    assert 'train.a and validation.same are the same structure' in problem(builder)


def submitted_by(process):
    """Let the process submit its dataset, and return the inputs."""
    submitted = []
    process.submit = lambda _, **inputs: submitted.append(inputs) or orm.WorkChainNode().store()
    process.run_dataset()
    return submitted[0]


def test_dataset_inputs(builder, instantiate):
    """The dataset work chain gets the parts as its split, and what is predicted outside of it, or not at all."""
    inputs = submitted_by(instantiate(builder))
    assert set(inputs['structures']) == {'train_a', 'train_b', 'validation_a', 'predict_double'}
    assert inputs['split'].get_dict() == {'train': ['train_a', 'train_b'], 'validation': ['validation_a'], 'test': []}
    assert inputs['excluded'].get_list() == ['predict_double']
    assert (inputs['max_concurrent'].value, inputs['clean_workdir'].value) == (2, True)
    assert inputs['max_paused_seconds'] == builder.max_paused_seconds
    assert DatasetWorkChain.spec().inputs.validate({**inputs, 'metadata': {}}) is None
    builder.compare = orm.Bool(False)
    inputs = submitted_by(instantiate(builder))
    assert set(inputs['structures']) == {'train_a', 'train_b', 'validation_a'}
    assert inputs.get('excluded', orm.List([])).get_list() == []


def test_shared_options(pw_code, hamlr_code, pseudo_family, basis_node, zincblende):
    """The tasks of pw.x are not processes of the training; the basis that is given is that of all references."""
    builder = PipelineWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        {'train': {'a': rattled(zincblende, 1)}},
        overrides={'reference': {'scf': {'pseudo_family': pseudo_family}}},
        options={**OPTIONS, 'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 4}},
        basis=basis_node,
    )
    assert 'processes' not in builder.train.train
    assert builder.basis.uuid == basis_node.uuid
    assert problem(builder) is None


@pytest.mark.parametrize(
    ('status', 'message', 'expected'),
    [
        (401, 'orbitals', (401, 'orbitals')),
        (402, 'references', (402, 'references')),
        (403, 'structures', (405, 'structures')),
        (404, 'split', (405, 'split')),
        (None, '', (405, 'killed')),
    ],
)
def test_failed_dataset(builder, instantiate, make_finished, make_hamiltonian_node, status, message, expected):
    """The references that there are stay; why there is no dataset is what the dataset work chain said."""
    process = instantiate(builder)
    outputs = {'references__train_a': make_hamiltonian_node().clone()}
    node = make_finished('workflows', 'hamlr.dataset', status or 0, outputs, message)
    if status is None:
        node.base.attributes.delete('exit_status')
        node.set_process_state(ProcessState.KILLED)
    process.ctx.dataset = node
    exit_code = process.inspect_dataset()
    assert exit_code.status == expected[0]
    assert expected[1] in exit_code.message
    assert 'train_a' in process.outputs['references']


@pytest.mark.timeout(300)
def test_known_references(
    pw_code, localhost, pseudo_family, basis_node, zincblende, make_hamiltonian_node, monkeypatch
):
    """References that are there already are those of the outputs, and a training that fails leaves the dataset."""
    nodes = iter([make_hamiltonian_node(seed=70 + index) for index in range(4)])
    monkeypatch.setattr('aiida_hamlr.workflows.references.find_reference', lambda *_: next(nodes))
    failing = orm.InstalledCode(computer=localhost, filepath_executable='/bin/false', label='failing').store()
    builder = PipelineWorkChain.get_builder_from_protocol(
        pw_code,
        failing,
        {
            'train': {'a': rattled(zincblende, 1), 'b': rattled(zincblende, 2)},
            'validation': {'a': rattled(zincblende, 3)},
            'predict': {'c': rattled(zincblende, 4)},
        },
        protocol='fast',
        overrides={'reference': {'scf': {'pseudo_family': pseudo_family}}},
        options=OPTIONS,
        basis=basis_node,
    )
    result, node = run_get_node(builder)
    assert node.exit_status == PipelineWorkChain.exit_codes.ERROR_SUB_PROCESS_FAILED_TRAIN.status, node.exit_message
    assert [called.process_label for called in node.called] == ['DatasetWorkChain', 'TrainBaseWorkChain']
    assert set(result['references']) == {'train_a', 'train_b', 'validation_a', 'predict_c'}
    references = {label: reference.uuid for label, reference in result['references'].items()}
    assert result['dataset'].get_uuids('train') == [references['train_a'], references['train_b']]
    assert result['dataset'].get_uuids('validation') == [references['validation_a']]
    assert references['predict_c'] not in str(result['dataset'].base.attributes.all)
    assert node.called[1].called[0].inputs.dataset.uuid == result['dataset'].uuid


def run_documentation(name, names):
    """Run the Python of a documentation page, one block after the other."""
    for block in re.findall(r'```python\n(.*?)```', (DOCS / name).read_text(), re.DOTALL):
        exec(block, names)  # noqa: S102
    return names


@pytest.mark.qe
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_pipeline(aiida_profile_clean, builder, tmp_path, monkeypatch, aiida_config, aiida_profile_factory):
    """The outputs are there, lead back to pw.x, and go into an archive and out of it."""
    result, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert [called.process_label for called in node.called] == [
        'DatasetWorkChain',
        'TrainBaseWorkChain',
        'PredictBaseWorkChain',
        'compare_hamiltonians',
    ]
    assert set(result['references']) == {'train_a', 'train_b', 'validation_a', 'predict_double'}
    assert result['dataset'].base.attributes.get('n_train') == 2
    assert result['dataset'].base.attributes.get('basis_hash') == result['basis'].content_hash
    assert result['train']['model'].base.attributes.get('basis_hash') == result['basis'].content_hash
    assert result['train']['model'].species == ['Al', 'As']
    assert len(result['train']['learning_curve'].get_array('epoch')) == 3
    prediction = result['predict']['hamiltonians']['double']
    reference = result['references']['predict_double']
    assert prediction.base.attributes.get('origin') == 'predicted'
    assert prediction.base.attributes.get('n_pairs') == reference.base.attributes.get('n_pairs')
    assert result['predict']['bands']['double'].get_bands().shape[1] >= 16
    # H0 alone is within some percent; three epochs do not spoil that.
    assert 0 < result['comparison']['double']['mae_meV'] < 50
    same = compare_hamiltonians(reference, reference)
    assert same['mae_meV'] == 0
    assert same['gap_error_meV'] == 0

    # Everything was cleaned at the end, and cannot stand in for a new run.
    jobs = orm.QueryBuilder().append(orm.CalcJobNode).all(flat=True)
    assert all(job.outputs.remote_folder.is_cleaned for job in jobs)
    pw = [job for job in jobs if job.process_type == 'aiida.calculations:quantumespresso.pw']
    assert len(pw) == 4
    assert not any(job.base.caching.is_valid_cache for job in pw)

    # The page on queries, word for word.
    monkeypatch.chdir(tmp_path)
    names = run_documentation('howto/query.md', {'prediction': prediction})
    # The reference of the predicted structure is no part of its history.
    compared = builder.structures['predict']['double'].uuid
    expected = {job.pk for job in pw if job.inputs.structure.uuid != compared}
    assert {job.pk for job in names['pw_jobs']} == expected
    assert names['model'].uuid == result['train']['model'].uuid
    assert names['dataset'].uuid == result['dataset'].uuid
    assert {entry.uuid for entry in names['learned_from']} == set(result['dataset'].get_uuids('train'))
    assert names['hamiltonians'][0][0] == prediction.pk
    assert [basis.pk for basis in names['bases']] == [result['basis'].pk]
    assert [entry.pk for entry in names['affected']] == [result['train']['model'].pk]
    assert names['failed'] == []
    assert {pk for pk, *_ in names['remote']} == {entry.pk for entry in result['references'].values()}
    assert names['gone'] == []
    assert names['failures'] == {}

    # The same as a figure and as text.
    assert names['figure'].stat().st_size > 1000
    text = ProvenanceGraph.of(prediction).to_text()
    assert text.startswith(f'HamiltonianData<{prediction.pk}>')
    assert '3 × PwCalculation' in text
    monkeypatch.setenv('PATH', str(tmp_path))
    assert plot_provenance(prediction, tmp_path / 'again.png') == tmp_path / 'again.txt'
    assert (tmp_path / 'again.txt').read_text() == text

    check_archive(prediction, tmp_path / 'prediction.aiida', aiida_config, aiida_profile_factory)


def check_archive(prediction, path, config, profile_factory):
    """Take a prediction with its history to an empty profile."""
    from aiida.tools.archive import create_archive, import_archive

    create_archive([prediction], filename=path)
    entries, uuid = prediction.open().matrices['hamiltonian'], prediction.uuid
    with profile_factory(config, storage_backend='core.sqlite_dos'):
        assert orm.QueryBuilder().append(orm.Node).count() == 0
        import_archive(path)
        imported = orm.load_node(uuid)
        assert type(imported) is type(prediction)
        assert (imported.open().matrices['hamiltonian'] == entries).all()
        query = orm.QueryBuilder().append(orm.Node, filters={'uuid': uuid}, tag='prediction')
        query.append(
            orm.CalcJobNode,
            with_descendants='prediction',
            filters={'process_type': 'aiida.calculations:quantumespresso.pw'},
        )
        assert query.distinct().count() == 3
