"""Tests of the training job."""

import pytest
from aiida import orm
from aiida_fixtures import find_problem as problem

from aiida_hamlr.data.dataset import DatasetData


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
    assert 'must be last or best' in problem('hamlr.train', {**inputs, 'checkpoint': orm.Str('first')})


def test_a_parent_model_is_copied_and_linked(prepare, make_inputs, model_node):
    """The job reads the folder of the model to fine-tune; one of another functional is refused."""
    inputs = {**make_inputs('hamlr.train'), 'parent_model': model_node}
    calc_info, folder = prepare('hamlr.train', inputs)
    assert (model_node.uuid, '.', 'parent') in calc_info.local_copy_list
    with folder.open('train.yaml') as stream:
        assert '\nparent: parent\n' in f'\n{stream.read()}'
    dataset = inputs['dataset']
    other = DatasetData.from_nodes({'train': dataset.get_hamiltonians('train')})
    other.base.attributes.set('functional', 'pbe')
    message = problem('hamlr.train', {**inputs, 'dataset': other.store()})
    assert 'but the dataset has pbe' in message
    assert '`parent` is set by the job' in problem('hamlr.train', {**inputs, 'parameters': orm.Dict({'parent': 'x'})})


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


@pytest.fixture
def slurm_script(slurm_computer, write_job_script):
    """Return a function that writes the job script of a calculation with its code on the cluster."""
    code = orm.InstalledCode(computer=slurm_computer, filepath_executable='/opt/hamlr', label='hamlr').store()

    def write(name, inputs, **options):
        metadata = {'options': {'max_wallclock_seconds': 1000, **options}}
        return write_job_script(name, {**inputs, 'code': code, 'metadata': metadata})

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
