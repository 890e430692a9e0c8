"""Tests of training on Hamiltonians that lie on computers: linked on one, fetched from another."""

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_hamlr.calculations.fetch import FetchCalculation
from aiida_hamlr.calculations.train import TrainCalculation
from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain


@pytest.fixture
def make_hamiltonian(make_hamiltonian):
    """Return a factory of Hamiltonians with what a prediction needs to make H0."""
    texts = {element: make_pseudopotential(element).text for element in ('Al', 'As')}

    def make(atoms):
        hamiltonian = make_hamiltonian(atoms)
        hamiltonian.pseudopotentials = texts
        hamiltonian.attributes.ecutrho = 40.0
        return hamiltonian

    return make


@pytest.fixture
def make_builder(hamlr_code):
    """Return a factory of trainings of two epochs."""

    def make(dataset):
        return TrainBaseWorkChain.get_builder_from_protocol(
            hamlr_code,
            dataset,
            protocol='fast',
            overrides={'train': {'parameters': {'training': {'max_epochs': 2, 'device': 'cpu', 'threads': 1}}}},
            options={'max_wallclock_seconds': 600, 'environment_variables': {'OMP_NUM_THREADS': '1'}},
        )

    return make


def test_fetch(make_remote_hamiltonian, make_hamiltonian_node, other_computer):
    """The copies are the files that the nodes were made of; what is gone or another file is named."""
    nodes = {f'h{seed}': make_remote_hamiltonian(seed, other_computer) for seed in (1, 2)}
    result, node = run_get_node(FetchCalculation, hamiltonians=nodes, metadata={'computer': other_computer})
    assert node.is_finished_ok, node.exit_message
    for label, original in nodes.items():
        copy = result['hamiltonians'][label]
        assert copy.base.attributes.get('storage') == 'repository'
        assert copy.base.attributes.get('sha256') == original.base.attributes.get('sha256')
        assert copy.creator.inputs.hamiltonians[label].uuid == original.uuid
    # Nothing is kept twice.
    assert not any(name.endswith('.h5') for name in node.base.repository.list_object_names())
    assert node.outputs.retrieved.list_object_names() == []

    path = Path(nodes['h1'].base.attributes.get('remote_path'))
    path.write_bytes(path.read_bytes()[:-1])
    _, node = run_get_node(FetchCalculation, hamiltonians=nodes, metadata={'computer': other_computer})
    assert node.exit_status == FetchCalculation.exit_codes.ERROR_FILES_CHANGED.status
    assert f'<{nodes["h1"].pk}>' in node.exit_message
    path.unlink()
    _, node = run_get_node(FetchCalculation, hamiltonians=nodes, metadata={'computer': other_computer})
    assert node.exit_status == FetchCalculation.exit_codes.ERROR_FILES_GONE.status
    assert str(path) in node.exit_message


def test_fetch_refused(make_remote_hamiltonian, make_hamiltonian_node, other_computer, localhost):
    """Hamiltonians that are no remote ones of the computer are refused."""

    def problem(nodes, computer):
        inputs = {'hamiltonians': nodes, 'metadata': {'computer': computer, 'options': {}}}
        return FetchCalculation.spec().inputs.validate(inputs).message

    assert 'already in the repository' in problem({'a': make_hamiltonian_node()}, localhost)
    assert 'is on computer localhost, not on elsewhere' in problem({'a': make_remote_hamiltonian()}, other_computer)
    assert 'is empty' in problem({}, localhost)


def test_job_refuses_what_the_work_chain_fetches(make_remote_hamiltonian, make_builder, other_computer):
    """A link to another computer would pause the job for ever; the work chain fetches first."""
    dataset = DatasetData.from_nodes({'train': [make_remote_hamiltonian(1, other_computer)]}).store()
    builder = make_builder(dataset)
    assert TrainBaseWorkChain.spec().inputs.validate(builder._inputs(prune=True)) is None
    inputs = builder.train._inputs(prune=True)
    assert 'are on computer elsewhere' in TrainCalculation.spec().inputs.validate(inputs).message
    wrong = builder._inputs(prune=True)
    wrong['train']['code'] = orm.InstalledCode(
        computer=builder.train.code.computer, filepath_executable='/bin/true', with_mpi=True
    )
    wrong['train']['metadata']['options']['withmpi'] = False
    assert 'withmpi' in TrainBaseWorkChain.spec().inputs.validate(wrong).message


def test_gone_before_the_training(make_remote_hamiltonian, make_builder, instantiate):
    """The work chain ends before a job that could only fail."""
    node = make_remote_hamiltonian(3)
    Path(node.base.attributes.get('remote_path')).unlink()
    process = instantiate(make_builder(DatasetData.from_nodes({'train': [node]}).store()))
    process.setup()
    exit_code = process.inspect_data()
    assert exit_code.status == TrainBaseWorkChain.exit_codes.ERROR_HAMILTONIANS_GONE.status
    assert node.base.attributes.get('remote_path') in exit_code.message


@pytest.mark.slow
def test_training(
    make_remote_hamiltonian, make_hamiltonian_node, make_builder, other_computer, hamlr_code, tmp_path, zincblende
):
    """One Hamiltonian in the repository, one on the computer of the training, one on another: one model."""
    linked, fetched = make_remote_hamiltonian(1), make_remote_hamiltonian(2, other_computer)
    parts = {'train': [make_hamiltonian_node(seed=0), linked], 'validation': [fetched]}
    dataset = DatasetData.from_nodes(parts, seed=4).store()
    _, node = run_get_node(make_builder(dataset))
    assert node.is_finished_ok, node.exit_message
    fetch, training = (job for job in node.called if isinstance(job, orm.CalcJobNode))
    assert (fetch.process_label, training.process_label) == ('FetchCalculation', 'TrainCalculation')
    used = training.inputs.dataset
    assert used.base.attributes.get('fingerprint') == dataset.base.attributes.get('fingerprint')
    assert used.base.attributes.get('seed') == 4
    assert used.get_hamiltonians('train') == dataset.get_hamiltonians('train')
    assert used.get_hamiltonians('validation')[0].creator.uuid == fetch.uuid
    # The link leads to the file itself, of which there is no copy, neither here nor there.
    folder = Path(training.outputs.remote_folder.get_remote_path())
    assert (folder / 'train/1.h5').resolve() == Path(linked.base.attributes.get('remote_path')).resolve()
    assert not any(name.endswith('.h5') for name in training.base.repository.list_object_names())
    assert node.outputs.model.species == ['Al', 'As']
    check_prediction(hamlr_code, node.outputs.model, zincblende, tmp_path / 'kept')


def check_prediction(code, model, zincblende, folder):
    """Predict two structures whose Hamiltonians stay on the computer."""
    structures = {label: orm.StructureData(ase=zincblende(a=a)) for label, a in (('a', 5.6), ('b', 5.7))}
    builder = PredictBaseWorkChain.get_builder_from_protocol(
        code,
        model,
        structures,
        overrides={
            'storage': 'remote',
            'stash_folder': str(folder),
            'predict': {'parameters': {'outputs': ['hamiltonian'], 'device': 'cpu'}},
        },
        options={'max_wallclock_seconds': 600, 'environment_variables': {'OMP_NUM_THREADS': '1'}},
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    for label, structure in structures.items():
        hamiltonian = node.outputs.hamiltonians[label]
        assert hamiltonian.base.attributes.get('origin') == 'predicted'
        assert Path(hamiltonian.base.attributes.get('remote_path')).is_relative_to(folder)
        assert (hamiltonian.open().atoms.positions == structure.get_ase().positions).all()
        assert (hamiltonian.get_structure().get_ase().positions == structure.get_ase().positions).all()
    assert len(list(folder.rglob('hamiltonian.h5'))) == 2
