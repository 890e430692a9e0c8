"""Tests of the calculation jobs: what they write, link and refuse."""

import pytest
import yaml
from aiida import orm
from aiida.plugins import CalculationFactory

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData

OPTIONS = {'options': {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'max_wallclock_seconds': 1000}}
NAMES = ('hamlr.basis', 'hamlr.potential', 'hamlr.reconstruct', 'hamlr.train', 'hamlr.predict', 'hamlr.fetch')


def read(folder, name):
    """Return a configuration that a job wrote."""
    with folder.open(name) as stream:
        return yaml.safe_load(stream)


def problem(entry_point, inputs):
    """Return what the input specification of a calculation says about inputs."""
    error = CalculationFactory(entry_point).spec().inputs.validate(inputs)
    return None if error is None else error.message


@pytest.mark.parametrize('name', NAMES)
def test_valid_inputs(make_inputs, name):
    """What is valid is accepted."""
    assert problem(name, make_inputs(name)) is None


def test_basis(prepare, make_inputs):
    """One run for all elements, each on its own pseudopotential."""
    parameters = {'size': 'dzp', 'cutoff_radius': {'Al': 7.5}}
    calc_info, _ = prepare('hamlr.basis', {**make_inputs('hamlr.basis'), 'parameters': orm.Dict(parameters)})
    expected = ['basis', '--upf', 'Al.upf', '--upf', 'As.upf', '--size', 'dzp', '--cutoff-radius', 'Al=7.5']
    assert [code.cmdline_params for code in calc_info.codes_info] == [[*expected, '-o', 'basis']]
    assert [entry[2] for entry in calc_info.local_copy_list] == ['Al.upf', 'As.upf']
    assert [entry[0] for entry in calc_info.retrieve_temporary_list] == ['basis/Al.basis.h5', 'basis/As.basis.h5']
    assert 'size' in problem('hamlr.basis', {**make_inputs('hamlr.basis'), 'parameters': orm.Dict({'sizes': 'dzp'})})


def test_contracted_basis(prepare, make_inputs, structure):
    """The crystals travel as files, and not with plain orbitals."""
    inputs = {**make_inputs('hamlr.basis'), 'structures': {'bulk': structure}}
    inputs['parameters'] = orm.Dict({'size': 'szp', 'recipe': 'plain'})
    assert 'plain' in problem('hamlr.basis', inputs)
    for size in ('dzq', {'Al': 'dzp', 'As': 'dzq'}):
        inputs['parameters'] = orm.Dict({'size': size})
        assert "`size` is 'dzq'" in problem('hamlr.basis', inputs)
    inputs['parameters'] = orm.Dict({'size': 'szp', 'recipe': 'lean'})
    assert "'lean'; known are contracted, plain" in problem('hamlr.basis', inputs)
    inputs['parameters'] = orm.Dict({'size': 'szp', 'recipe': 'contracted'})
    calc_info, folder = prepare('hamlr.basis', inputs)
    command = calc_info.codes_info[0].cmdline_params
    assert command[-6:] == ['--recipe', 'contracted', '--structure', 'structure_0.extxyz', '-o', 'basis']
    assert ('basis/summary.json', '.', 0) in calc_info.retrieve_list
    assert 'structure_0.extxyz' in folder.get_content_list()


def test_potential(prepare, make_inputs):
    """Links instead of copies, no cube, and nothing but the output is retrieved."""
    calc_info, folder = prepare('hamlr.potential', make_inputs('hamlr.potential'))
    assert not calc_info.remote_copy_list
    assert [entry[1:] for entry in calc_info.remote_symlink_list] == [
        ('/scratch/pw/./out/aiida.save/data-file-schema.xml', './out/aiida.save/data-file-schema.xml'),
        ('/scratch/pw/./out/aiida.save/charge-density.*', './out/aiida.save'),
        ('/scratch/pw/./out/aiida.save/*.[uU][pP][fF]', './out/aiida.save'),
    ]
    with folder.open('aiida.in') as stream:
        text = stream.read()
    assert 'plot_num = 1' in text
    assert 'PLOT\n' not in text.replace('&INPUTPP\n', '')
    assert calc_info.retrieve_list == ['aiida.out']
    wrong = orm.Dict({'INPUTPP': {'plot_num': 0}})
    assert 'plot_num' in problem('hamlr.potential', {**make_inputs('hamlr.potential'), 'parameters': wrong})


def test_reconstruct(prepare, make_inputs, file_regression):
    """The configuration names files that are copied or linked."""
    calc_info, folder = prepare('hamlr.reconstruct', make_inputs('hamlr.reconstruct'))
    with folder.open('reconstruct.yaml') as stream:
        file_regression.check(stream.read(), extension='.yaml')
    config = read(folder, 'reconstruct.yaml')
    there = {entry[2] for entry in (*calc_info.local_copy_list, *calc_info.remote_symlink_list)}
    needed = {config['structure'], config['potential'], *config['pseudos'].values(), *config['basis'].values()}
    assert needed == there
    assert calc_info.retrieve_temporary_list == ['hamiltonian.h5']
    assert 'hamiltonian.h5' not in calc_info.retrieve_list


def test_reconstruct_from_density(prepare, make_inputs):
    """Without the folder of pp.x the potential comes from the charge density, whatever its format."""
    inputs = make_inputs('hamlr.reconstruct')
    del inputs['potential_folder']
    calc_info, folder = prepare('hamlr.reconstruct', inputs)
    config = read(folder, 'reconstruct.yaml')
    assert 'potential' not in config
    assert [entry[1:] for entry in calc_info.remote_symlink_list] == [
        ('/scratch/pw/./out/aiida.save/data-file-schema.xml', 'scf.xml'),
        ('/scratch/pw/./out/aiida.save/charge-density.*', config['density']),
    ]
    assert config['density'] in folder.get_content_list()


@pytest.mark.parametrize('kind', ['file', 'retrieved'])
def test_reconstruct_with_phonon(prepare, make_inputs, tmp_path, kind):
    """The output of ph.x is copied from a file, or from what a `PhCalculation` retrieved."""
    (tmp_path / 'aiida.out').write_text('Program PHONON')
    node = orm.SinglefileData(tmp_path / 'aiida.out', filename='zstar.out')
    if kind == 'retrieved':
        node = orm.FolderData(tree=tmp_path)
    inputs = {**make_inputs('hamlr.reconstruct'), 'phonon': node.store()}
    assert problem('hamlr.reconstruct', inputs) is None
    calc_info, folder = prepare('hamlr.reconstruct', inputs)
    source = 'zstar.out' if kind == 'file' else 'aiida.out'
    assert (node.uuid, source, read(folder, 'reconstruct.yaml')['phonon']) in calc_info.local_copy_list


def test_reconstruct_with_another_folder(make_inputs):
    """A folder without the output of ph.x is refused."""
    inputs = {**make_inputs('hamlr.reconstruct'), 'phonon': orm.FolderData().store()}
    assert 'has no file aiida.out; give the output `retrieved`' in problem('hamlr.reconstruct', inputs)


def test_train(prepare, make_inputs, make_remote, file_regression):
    """Hamiltonians come from their nodes and are not stored a second time; the wall-time has a margin."""
    parameters = orm.Dict({'model': {'variant': 'sr'}, 'training': {'max_epochs': 3}})
    calc_info, folder = prepare('hamlr.train', {**make_inputs('hamlr.train'), 'parameters': parameters})
    with folder.open('train.yaml') as stream:
        file_regression.check(stream.read(), extension='.yaml')
    names = [entry[2] for entry in calc_info.local_copy_list]
    assert names == [f'train/{index:02d}.h5' for index in range(11)] + ['validation/0.h5']
    assert set(names) <= set(calc_info.provenance_exclude_list)
    assert not calc_info.remote_copy_list
    parent = make_remote(path='/scratch/before')
    calc_info, _ = prepare('hamlr.train', {**make_inputs('hamlr.train'), 'parent_folder': parent})
    assert [entry[1:] for entry in calc_info.remote_copy_list] == [
        ('/scratch/before/run/checkpoints', 'run/checkpoints'),
        ('/scratch/before/run/metrics.csv', 'run/metrics.csv'),
    ]
    inputs = {**make_inputs('hamlr.train'), 'parent_folder': parent, 'checkpoint': orm.Str('best')}
    calc_info, _ = prepare('hamlr.train', inputs)
    assert [entry[1:] for entry in calc_info.remote_copy_list] == [
        ('/scratch/before/run/checkpoints/best.ckpt', 'run/checkpoints/last.ckpt'),
        ('/scratch/before/run/checkpoints/best.ckpt', 'run/checkpoints/best.ckpt'),
        ('/scratch/before/run/metrics.csv', 'run/metrics.csv'),
    ]
    assert 'can be last or best' in problem('hamlr.train', {**inputs, 'checkpoint': orm.Str('first')})


def test_train_with_spin(make_inputs, make_hamiltonian_node):
    """What the network does not learn is refused at once, in one line."""
    polarised = make_hamiltonian_node(seed=50)
    other = HamiltonianData.from_hamiltonian(polarised.open())
    other.base.attributes.set('n_spin', 2)
    dataset = DatasetData.from_nodes({'train': [make_hamiltonian_node(seed=51)], 'test': [other.store()]}).store()
    message = problem('hamlr.train', {**make_inputs('hamlr.train'), 'dataset': dataset})
    assert f'1 Hamiltonians of the dataset are spin-polarised (as node {other.pk})' in message


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'training': {'seed': 3}}, '`training.seed` is set by the job'),
        ({'data': {}}, '`data` is set by the job'),
        ({'training': {'max_epoch': 3}}, "unknown key 'max_epoch' in training; did you mean 'max_epochs'?"),
        ({'model': {'variant': 'xy'}}, "variant 'xy' is not available"),
        ({'modell': {}}, "did you mean 'model'?"),
    ],
)
def test_train_parameters(make_inputs, parameters, words):
    """A wrong configuration is refused before anything runs."""
    assert words in problem('hamlr.train', {**make_inputs('hamlr.train'), 'parameters': orm.Dict(parameters)})


def test_predict(prepare, make_inputs, structure, file_regression):
    """One file for each structure, with its label, to the last digit; the model is copied from its node."""
    import ase.io

    structures = {'b': structure, 'a': structure.clone().store()}
    parameters = orm.Dict({'outputs': ['hamiltonian'], 'kpoints': [2, 2, 2]})
    calc_info, folder = prepare(
        'hamlr.predict', {**make_inputs('hamlr.predict'), 'structures': structures, 'parameters': parameters}
    )
    with folder.open('predict.yaml') as stream:
        file_regression.check(stream.read(), extension='.yaml')
    atoms = ase.io.read(folder.get_abs_path('structures/a.json'))
    assert (atoms.positions == structure.get_ase().positions).all()
    assert calc_info.local_copy_list[0][2] == 'model'
    assert 'structures' in calc_info.provenance_exclude_list


def test_predict_refused(make_inputs, structure):
    """What the model cannot predict, and unclear inputs, are refused."""
    from ase.build import bulk

    valid = make_inputs('hamlr.predict')
    silicon = orm.StructureData(ase=bulk('Si'))
    message = problem('hamlr.predict', {**valid, 'structures': {'bulk': structure, 'si': silicon}})
    assert 'si contains Si, which the model never saw; it knows Al, As' in message
    trajectory = orm.TrajectoryData(structurelist=[structure])
    assert 'either' in problem('hamlr.predict', {**valid, 'trajectory': trajectory})
    assert 'either' in problem('hamlr.predict', {**valid, 'structures': {}})
    assert "'output'" in problem('hamlr.predict', {**valid, 'parameters': orm.Dict({'output': 'x'})})


@pytest.mark.parametrize(
    ('name', 'label'),
    [
        ('hamlr.potential', 'parent_folder'),
        ('hamlr.reconstruct', 'parent_folder'),
        ('hamlr.reconstruct', 'potential_folder'),
        ('hamlr.train', 'parent_folder'),
    ],
)
def test_folder_elsewhere_or_cleaned(make_inputs, make_remote, other_computer, name, label):
    """A folder on another computer would pause the job for ever; one that was cleaned is empty."""
    message = problem(name, {**make_inputs(name), label: make_remote(other_computer)})
    assert f'`{label}` lies on computer elsewhere' in message
    cleaned = make_remote()
    cleaned.base.extras.set(orm.RemoteData.KEY_EXTRA_CLEANED, True)
    assert 'was cleaned' in problem(name, {**make_inputs(name), label: cleaned})


@pytest.mark.parametrize(('with_mpi', 'option', 'fits'), [(True, False, False), (True, None, True), (None, True, True)])
@pytest.mark.parametrize('name', ['hamlr.train', 'hamlr.potential'])
def test_mpi(make_inputs, localhost, name, with_mpi, option, fits):
    """A contradiction between code and option is a message; no option is no contradiction."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true', with_mpi=with_mpi).store()
    options = dict(OPTIONS['options'], **({} if option is None else {'withmpi': option}))
    message = problem(name, {**make_inputs(name), 'code': code, 'metadata': {'options': options}})
    assert (message is None) == fits, message


def test_pseudopotential_of_another_kind(make_inputs, al_as_pseudos, tmp_path):
    """An ultrasoft pseudopotential, or one of another element, is named before anything runs."""
    from aiida_pseudo.data.pseudo.upf import UpfData

    text = al_as_pseudos['Al'].get_content()
    assert 'pseudo_type="NC"' in text.replace("'", '"')
    ultrasoft = tmp_path / 'Al.us.UPF'
    ultrasoft.write_text(text.replace('pseudo_type="NC"', 'pseudo_type="US"'))
    valid = make_inputs('hamlr.basis')
    message = problem('hamlr.basis', {**valid, 'pseudos': {**al_as_pseudos, 'Al': UpfData(ultrasoft)}})
    assert 'Al.us.UPF' in message
    assert 'ultrasoft' in message.lower()
    message = problem('hamlr.basis', {**valid, 'pseudos': {'Al': al_as_pseudos['As']}})
    assert 'given for Al is one of As' in message


def test_basis_without_an_element(make_inputs, pseudos):
    """An element without orbitals is named."""
    valid = make_inputs('hamlr.reconstruct')
    assert 'no orbitals of Si' in problem('hamlr.reconstruct', {**valid, 'pseudos': pseudos})


@pytest.fixture
def slurm_computer(tmp_path):
    """Return a computer with SLURM whose jobs are only written."""
    created, computer = orm.Computer.collection.get_or_create(
        label='cluster',
        hostname='localhost',
        transport_type='core.local',
        scheduler_type='core.slurm',
        workdir=str(tmp_path),
    )
    if created:
        computer.store().set_default_mpiprocs_per_machine(32)
    return computer


@pytest.fixture
def slurm_script(slurm_computer, monkeypatch, tmp_path):
    """Return a function that writes the job script of a calculation with its code on the cluster."""
    from aiida.engine import run

    code = orm.InstalledCode(computer=slurm_computer, filepath_executable='/opt/hamlr', label='hamlr').store()
    monkeypatch.chdir(tmp_path)

    def write(name, inputs, **options):
        metadata = {'options': {'max_wallclock_seconds': 1000, **options}, 'dry_run': True, 'store_provenance': False}
        run(CalculationFactory(name), **{**inputs, 'code': code, 'metadata': metadata})
        return next(tmp_path.glob('submit_test/*/_aiidasubmit.sh')).read_text()

    return write


def test_slurm_script_of_one_machine(make_inputs, slurm_script, file_regression):
    """The lines that ask for GPUs come to the head, the processes are those of torchrun and not of MPI."""
    script = slurm_script(
        'hamlr.train',
        {**make_inputs('hamlr.train'), 'processes': orm.Int(4)},
        resources={'num_machines': 1, 'num_mpiprocs_per_machine': 1, 'num_cores_per_mpiproc': 16},
        custom_scheduler_commands='#SBATCH --gres=gpu:4',
        queue_name='gpu',
    )
    file_regression.check(script, extension='.sh')


def test_slurm_script_of_several_machines(make_inputs, slurm_script, file_regression):
    """The first machine is where all meet; the executable starts itself on the others."""
    script = slurm_script(
        'hamlr.train',
        {**make_inputs('hamlr.train'), 'processes': orm.Int(4)},
        resources={'num_machines': 2, 'num_mpiprocs_per_machine': 4},
        custom_scheduler_commands='#SBATCH --gres=gpu:4',
    )
    file_regression.check(script, extension='.sh')


def test_training_on_too_many_machines(make_inputs):
    """Without SLURM nobody starts the processes on the other machines; none or fewer processes make no sense."""
    inputs = make_inputs('hamlr.train')
    options = {'resources': {'num_machines': 2, 'num_mpiprocs_per_machine': 1}}
    message = problem('hamlr.train', {**inputs, 'metadata': {'options': options}})
    assert 'asks for 2 machines' in message and 'core.direct' in message
    assert 'must be positive' in problem('hamlr.train', {**inputs, 'processes': orm.Int(0)})


@pytest.mark.parametrize('name', ['hamlr.train', 'hamlr.predict'])
def test_mpi_would_start_copies(make_inputs, slurm_computer, name):
    """Thirty-two of the executable would write the same files."""
    inputs = make_inputs(name)
    code = orm.InstalledCode(computer=slurm_computer, filepath_executable='/opt/hamlr', with_mpi=True).store()
    metadata = {'options': {'resources': {'num_machines': 1}}}
    assert '32 of them would do the same' in problem(name, {**inputs, 'code': code, 'metadata': metadata})
    for n_machines in (1, 2):
        metadata = {'options': {'resources': {'num_machines': n_machines, 'num_mpiprocs_per_machine': 1}}}
        message = problem(name, {**inputs, 'code': code, 'metadata': metadata})
        # Trainings on several machines work together.
        assert (message is None) == (n_machines == 1 or name == 'hamlr.train')
