"""Fixtures for tests that need an AiiDA profile; other tests do not pay for it."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk


def _folder_in_memory() -> str | None:
    """Return a file system in memory, if there is room: on a disk SQLite waits 10 ms for each of many commits."""
    folder = '/dev/shm'  # noqa: S108
    return folder if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2 * 1024**3 else None


# The first import of AiiDA makes a configuration folder, in the user's home unless told otherwise.
_FOLDER = tempfile.TemporaryDirectory(prefix='aiida_hamlr_tests_', dir=_folder_in_memory())
os.environ['AIIDA_PATH'] = _FOLDER.name
# The daemon looks for `verdi` on the path.
os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'

from aiida.tools.pytest_fixtures import (  # noqa: E402, F401
    aiida_code,
    aiida_code_installed,
    aiida_computer,
    aiida_computer_local,
    aiida_computer_ssh,
    aiida_config_factory,
    aiida_localhost,
    aiida_manager,
    aiida_profile_clean,
    aiida_profile_factory,
    config_sqlite_dos,
    daemon_client,
    started_daemon_client,
    stopped_daemon_client,
    submit_and_await,
)

TESTS = Path(__file__).parent

#: Folders whose tests all need a profile.
WITH_PROFILE = ('calculations', 'cli', 'data', 'parsers', 'report', 'workflows')

PSEUDOS = {'Al': 'Al.pz-vbc.UPF', 'As': 'As.pz-bhs.UPF', 'Si': 'Si.pz-vbc.UPF'}


@pytest.fixture(scope='session')
def aiida_config(tmp_path_factory, aiida_config_factory):  # noqa: F811
    """Return a temporary AiiDA configuration."""
    with aiida_config_factory(tmp_path_factory.mktemp(secrets.token_hex(4))) as config:
        config.set_option('runner.poll.interval', 1)
        config.set_option('transport.task_maximum_attempts', 2)
        config.set_option('transport.task_retry_initial_interval', 1)
        yield config


def poll_with_pauses(config, profile):
    """Let processes that wait look at ``runner.poll.interval``; those of a test profile look all the time."""
    profile.is_test_profile = False
    config.update_profile(profile)
    config.store()


@pytest.fixture(scope='session')
def aiida_profile(aiida_config, aiida_profile_factory, config_sqlite_dos):  # noqa: F811
    """Return a temporary profile with a broker that needs no service."""
    with aiida_profile_factory(
        aiida_config,
        storage_backend='core.sqlite_dos',
        storage_config=config_sqlite_dos(tempfile.mkdtemp(dir=_FOLDER.name)),
        broker_backend='core.zeromq',
    ) as profile:
        # The client of the daemon does not see what is set for all profiles.
        aiida_config.set_option('daemon.timeout', 30, scope=profile.name)
        aiida_config.set_default_profile(profile.name, overwrite=True)
        poll_with_pauses(aiida_config, profile)
        yield profile


@pytest.fixture(autouse=True)
def _profile_of_folder(request):
    """Load the profile where all tests of a folder need it."""
    if request.path.relative_to(TESTS).parts[0] in WITH_PROFILE:
        request.getfixturevalue('aiida_profile')


def find_problem(process, inputs=None) -> str | None:
    """Return what the input specification of a process says about its inputs, or nothing.

    :param process: a builder, or the name of the entry point of a calculation, whose inputs are then given.
    """
    if isinstance(process, str):
        from aiida.plugins import CalculationFactory

        error = CalculationFactory(process).spec().inputs.validate(inputs)
    else:
        error = process.process_class.spec().inputs.validate(process._inputs(prune=True))
    return None if error is None else error.message


@pytest.fixture
def reachable_daemon(started_daemon_client):  # noqa: F811
    """Start the daemon and wait for its broker, which on a busy machine starts later."""
    from aiida.manage import get_manager

    broker, deadline = get_manager().get_broker(), time.monotonic() + 60
    while not broker.check_service_reachable():
        assert time.monotonic() < deadline, 'the broker did not start'
        time.sleep(0.2)
    return started_daemon_client


@pytest.fixture
def localhost(aiida_localhost):  # noqa: F811
    """Return the local computer, polled often."""
    aiida_localhost.set_minimum_job_poll_interval(0.5)
    aiida_localhost.set_default_mpiprocs_per_machine(1)
    aiida_localhost.configure(safe_interval=0, use_login_shell=False)
    return aiida_localhost


def _get_computer(label: str, workdir, scheduler: str = 'core.direct', n_tasks: int = 1):
    """Return a computer that only has to exist; it is created once in each profile."""
    from aiida.orm import Computer

    created, computer = Computer.collection.get_or_create(
        label=label,
        hostname=label,
        transport_type='core.local',
        scheduler_type=scheduler,
        workdir=str(workdir),
    )
    if created:
        computer.set_default_mpiprocs_per_machine(n_tasks)
        computer.set_mpirun_command(['srun', '-n', '{tot_num_mpiprocs}'])
        computer.store()
    return computer


@pytest.fixture
def other_computer(localhost):
    """Return another computer than the one the codes are on."""
    return _get_computer('elsewhere', localhost.get_workdir())


@pytest.fixture
def slurm_computer(aiida_profile, tmp_path):
    """Return a computer with SLURM and 32 tasks on each machine, whose jobs are only written."""
    return _get_computer('slurm', tmp_path, 'core.slurm', 32)


@pytest.fixture
def write_job_script(monkeypatch, tmp_path):
    """Return a function that returns the job script of a calculation, given by its class or entry point."""
    from aiida.engine import run
    from aiida.plugins import CalculationFactory

    monkeypatch.chdir(tmp_path)

    def write(calculation, inputs: dict) -> str:
        calculation = CalculationFactory(calculation) if isinstance(calculation, str) else calculation
        metadata = {**inputs['metadata'], 'dry_run': True, 'store_provenance': False}
        run(calculation, **{**inputs, 'metadata': metadata})
        script = next(tmp_path.glob('submit_test/*/_aiidasubmit.sh')).read_text()
        shutil.rmtree(tmp_path / 'submit_test')
        return script

    return write


@pytest.fixture
def make_remote_hamiltonian(aiida_profile, localhost, make_hamiltonian, zincblende, tmp_path):
    """Return a factory of stored Hamiltonian nodes whose files lie on a computer, each of another rattled crystal."""
    from aiida_hamlr.data.hamiltonian import HamiltonianData
    from aiida_hamlr.electronic.matrices.description import description_path, write_described

    def make(seed: int = 0, computer=None, **attributes):
        atoms = zincblende()
        atoms.rattle(0.05, seed=seed)
        hamiltonian = make_hamiltonian(atoms)
        hamiltonian.attributes = replace(hamiltonian.attributes, **attributes)
        computer = computer or localhost
        computer.configure(safe_interval=0, use_login_shell=False)
        path = tmp_path / computer.label / str(seed) / HamiltonianData.FILENAME
        write_described(hamiltonian, path)
        return HamiltonianData.from_remote(description_path(path), computer, path).store()

    return make


@pytest.fixture
def make_code(localhost):
    """Return a factory of codes: of the real executable, if there is one."""
    from aiida.orm import InstalledCode, QueryBuilder

    def make(name: str, entry_point: str):
        label = f'{name}-{entry_point}'
        found = QueryBuilder().append(InstalledCode, filters={'label': label}).first(flat=True)
        return (
            found
            or InstalledCode(
                label=label,
                computer=localhost,
                filepath_executable=shutil.which(name) or f'/usr/bin/{name}',
                default_calc_job_plugin=entry_point,
                prepend_text='export OMP_NUM_THREADS=1',
            ).store()
        )

    return make


@pytest.fixture
def pw_code(make_code):
    """Return the code of pw.x."""
    return make_code('pw.x', 'quantumespresso.pw')


@pytest.fixture
def pp_code(make_code):
    """Return the code of pp.x."""
    return make_code('pp.x', 'hamlr.potential')


@pytest.fixture
def hamlr_code(make_code):
    """Return the code of the package's own executable."""
    return make_code('hamlr', 'hamlr.train')


@pytest.fixture
def make_remote(localhost, tmp_path):
    """Return a factory of remote folders."""
    from aiida.orm import RemoteData

    def make(computer=None, path=None):
        return RemoteData(computer=computer or localhost, remote_path=str(path or tmp_path)).store()

    return make


@pytest.fixture
def pseudos(aiida_profile):
    """Return norm-conserving pseudopotentials by element."""
    from aiida_pseudo.data.pseudo.upf import UpfData

    folder = Path('/usr/share/espresso/pseudo')
    if not folder.is_dir():
        pytest.skip('the pseudopotentials of Quantum ESPRESSO are not installed')
    return {element: UpfData(folder / name).store() for element, name in PSEUDOS.items()}


@pytest.fixture
def al_as_pseudos(pseudos):
    """Return the pseudopotentials of Al and As."""
    return {element: pseudos[element] for element in ('Al', 'As')}


@pytest.fixture
def basis_node(aiida_profile, make_hamiltonian, zincblende):
    """Return a stored basis node of Al and As."""
    from aiida_hamlr.data.basis import BasisData

    return BasisData.from_basis(make_hamiltonian(zincblende()).basis).store()


@pytest.fixture
def make_hamiltonian_node(aiida_profile, make_hamiltonian, zincblende):
    """Return a factory of stored Hamiltonian nodes, each of another rattled crystal."""
    from aiida_hamlr.data.hamiltonian import HamiltonianData

    def make(seed: int = 0, **attributes):
        atoms = zincblende()
        atoms.rattle(0.05, seed=seed)
        hamiltonian = make_hamiltonian(atoms)
        hamiltonian.attributes = replace(hamiltonian.attributes, **attributes)
        return HamiltonianData.from_hamiltonian(hamiltonian).store()

    return make


@pytest.fixture
def spinor_node(make_hamiltonian_node):
    """Return a stored Hamiltonian with an arbitrary spin-orbit part, which splits its levels by tenths of an eV."""
    from aiida_hamlr.data.hamiltonian import HamiltonianData

    hamiltonian = make_hamiltonian_node(seed=17).open()
    coupling = np.random.default_rng(17).normal(size=(3, hamiltonian.pattern.n_entries)) * hamiltonian.overlap
    coupling = 0.5 * (coupling - coupling[:, hamiltonian.pattern.transpose_indices])
    hamiltonian.matrices['spin_orbit'] = coupling
    return HamiltonianData.from_hamiltonian(hamiltonian).store()


@pytest.fixture
def model_folder(tmp_path, small_model):
    """Return the folder of a small model, to be changed at will."""
    return Path(shutil.copytree(small_model, tmp_path / 'model'))


@pytest.fixture(scope='session')
def small_model(tmp_path_factory, make_hamiltonian):
    """Write the folder of a small model of random weights for Al and As."""
    from aiida_hamlr.model.config import ModelConfig
    from aiida_hamlr.model.files import write_model
    from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

    basis = make_hamiltonian(bulk('AlAs', 'zincblende', a=5.66)).basis
    channels = ('scalar_channels', 'natural_channels', 'unnatural_channels', 'radial_basis', 'radial_hidden')
    config = ModelConfig(variant='lr', layers=2, hidden_channels=8, pair_channels=8, **dict.fromkeys(channels, 4))
    shells = {element: list(species.angular_momenta) for element, species in basis.items()}
    model = HamiltonianModel(shells, config, 4.0, 10.0)
    metadata = {'functional': 'lda_pz', 'metrics': {'mae_meV': 3.5, 'species_charges': {'Al': 0.2}}}
    folder = tmp_path_factory.mktemp('small') / 'model'
    write_model(folder, model, model.state_dict(), basis, {}, metadata)
    return folder


@pytest.fixture
def model_node(aiida_profile, model_folder):
    """Return a stored node with the shape of a model for Al and As."""
    from aiida_hamlr.data.model import ModelData

    return ModelData.from_folder(model_folder).store()


@pytest.fixture
def structure(aiida_profile, zincblende):
    """Return AlAs."""
    from aiida.orm import StructureData

    return StructureData(ase=zincblende()).store()


@pytest.fixture
def make_process_node(localhost):
    """Return a factory of finished calculation job nodes with retrieved files, for parsers."""
    from aiida import orm
    from aiida.common.links import LinkType
    from aiida.plugins.entry_point import format_entry_point_string

    def make(
        entry_point: str, files: dict[str, str | bytes], inputs: dict | None = None, exit_status: int | None = None
    ):
        node = orm.CalcJobNode(
            computer=localhost, process_type=format_entry_point_string('aiida.calculations', entry_point)
        )
        node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        node.set_option('output_filename', 'hamlr.out')
        node.set_option('scheduler_stderr', '_scheduler-stderr.txt')
        if exit_status is not None:
            node.set_exit_status(exit_status)
            node.set_exit_message('said the scheduler')
        for label, value in _flatten(inputs or {}):
            node.base.links.add_incoming(value, link_type=LinkType.INPUT_CALC, link_label=label)
        node.store()
        retrieved = orm.FolderData()
        for name, content in files.items():
            retrieved.base.repository.put_object_from_bytes(
                content if isinstance(content, bytes) else content.encode(), name
            )
        retrieved.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='retrieved')
        retrieved.store()
        return node

    return make


@pytest.fixture
def parse(make_process_node, tmp_path):
    """Return a function that runs the parser of an entry point on given files."""
    from aiida.plugins import ParserFactory

    def run(entry_point: str, files: dict[str, str], folder: Path | None = tmp_path, **kwargs):
        node = make_process_node(entry_point, files, **kwargs)
        temporary = {} if folder is None else {'retrieved_temporary_folder': str(folder)}
        return ParserFactory(entry_point).parse_from_node(node, store_provenance=False, **temporary)

    return run


@pytest.fixture
def prepare(aiida_profile, tmp_path):
    """Return a function that lets a calculation job write its input files."""
    from aiida.common.folders import SandboxFolder
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager
    from aiida.plugins import CalculationFactory

    sandboxes = []
    runner = get_manager().create_runner(communicator=None)  # There is no broker as long as there is no daemon.

    def run(entry_point: str, inputs: dict):
        process = instantiate_process(runner, CalculationFactory(entry_point), **inputs)
        folder = SandboxFolder()
        sandboxes.append(folder)
        return process.prepare_for_submission(folder), folder

    yield run
    for sandbox in sandboxes:
        sandbox.erase()


def _flatten(inputs: dict, prefix: str = ''):
    for key, value in inputs.items():
        if isinstance(value, dict):
            yield from _flatten(value, f'{prefix}{key}__')
        else:
            yield f'{prefix}{key}', value


@pytest.fixture
def pseudo_family(aiida_profile, tmp_path):
    """Return the label of a family of the norm-conserving pseudopotentials of Al and As."""
    from aiida_hamlr.cli.installation import create_pseudo_family

    source = Path('/usr/share/espresso/pseudo')
    if not source.is_dir():
        pytest.skip('the pseudopotentials of Quantum ESPRESSO are not installed')
    folder = tmp_path / 'family'
    folder.mkdir()
    for element in ('Al', 'As'):
        shutil.copy(source / PSEUDOS[element], folder)
    return create_pseudo_family(folder, 'nc', 16).label


@pytest.fixture
def silicon(tmp_path, aiida_profile):
    """A stored model of silicon with the scalar part of a fully relativistic file, and that file as a node."""
    from aiida_pseudo.data.pseudo.upf import UpfData
    from qe_fixtures import debian_pseudo

    from aiida_hamlr.data.model import ModelData
    from aiida_hamlr.electronic.orbitals.basis import Basis
    from aiida_hamlr.electronic.orbitals.generation import generate_basis
    from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
    from aiida_hamlr.electronic.pseudo.upf import parse_upf
    from aiida_hamlr.electronic.pseudo.upf_writing import format_upf
    from aiida_hamlr.model.config import ModelConfig
    from aiida_hamlr.model.files import write_model
    from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

    full = debian_pseudo('Si_r.upf')
    scalar = Pseudopotential.from_text(format_upf(parse_upf(full.text), 'scalar part of Si_r.upf', 'test'), 'Si.upf')
    basis = Basis({'Si': generate_basis(scalar, 'sz', 6.0)})
    channels = ('scalar_channels', 'natural_channels', 'unnatural_channels', 'radial_basis', 'radial_hidden')
    config = ModelConfig(variant='sr', layers=1, hidden_channels=8, pair_channels=8, **dict.fromkeys(channels, 4))
    network = HamiltonianModel({'Si': list(basis['Si'].angular_momenta)}, config, 4.0, 10.0)
    metadata = {'ecutrho_Ry': 40.0, 'functional': 'pbe'}
    write_model(tmp_path / 'model', network, network.state_dict(), basis, {'Si': scalar.text}, metadata)
    return ModelData.from_folder(tmp_path / 'model').store(), UpfData(io.BytesIO(full.text.encode()), 'Si.upf').store()


@pytest.fixture
def instantiate(aiida_profile):
    """Return a function that makes a process of a builder without running it."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    runner = get_manager().create_runner(communicator=None)
    return lambda builder: instantiate_process(runner, builder)


@pytest.fixture
def make_finished(localhost):
    """Return a factory of finished process nodes with outputs."""
    from aiida import orm
    from aiida.common.links import LinkType
    from aiida.engine import ProcessState
    from aiida.plugins.entry_point import format_entry_point_string

    def make(group: str, entry_point: str, exit_status: int = 0, outputs: dict | None = None, message: str = ''):
        process_type = format_entry_point_string(f'aiida.{group}', entry_point)
        if group == 'workflows':
            node, link_type = orm.WorkChainNode(process_type=process_type), LinkType.RETURN
        else:
            node, link_type = orm.CalcJobNode(computer=localhost, process_type=process_type), LinkType.CREATE
        node.set_process_state(ProcessState.FINISHED)
        node.set_exit_status(exit_status)
        node.set_exit_message(message)
        node.store()
        for label, output in (outputs or {}).items():
            output.store() if link_type is LinkType.RETURN else None
            output.base.links.add_incoming(node, link_type=link_type, link_label=label)
            output.store()
        return node

    return make
