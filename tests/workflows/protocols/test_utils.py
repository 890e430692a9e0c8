"""Tests of what builders share: options of jobs, MPI, GPUs."""

import pytest
from aiida import orm

from aiida_hamlr.workflows.protocols.utils import (
    StrictProtocolMixin,
    count_tasks,
    recursive_options,
    request_gpus,
    take_settings,
    with_moments,
)

OPTIONS = {'resources': {'num_machines': 1}, 'withmpi': True}


@pytest.mark.parametrize(
    ('with_mpi', 'mpi', 'expected'), [(None, True, True), (None, False, None), (True, False, None), (False, True, None)]
)
def test_options_and_mpi(localhost, with_mpi, mpi, expected):
    """What all jobs share does not contradict a code, and makes no MPI program of one that is none."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true', with_mpi=with_mpi)
    found = recursive_options({}, OPTIONS, code, StrictProtocolMixin.set_default_resources, mpi=mpi)
    assert found.get('withmpi') == expected
    # What is asked for this job alone stays, and is refused later, if it is wrong.
    own = {'metadata': {'options': {'withmpi': True}}}
    found = recursive_options(own, OPTIONS, code, StrictProtocolMixin.set_default_resources, mpi=mpi)
    assert found['withmpi'] is True


def test_unknown_option(localhost):
    """A misspelt option is named."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true')
    with pytest.raises(ValueError, match="'queue_nam' in options; did you mean 'queue_name'"):
        recursive_options({}, {'queue_nam': 'gpu'}, code, StrictProtocolMixin.set_default_resources)


@pytest.mark.parametrize(
    ('resources', 'mpi', 'expected'),
    [
        ({'num_machines': 2}, False, {'num_machines': 2, 'num_mpiprocs_per_machine': 1}),
        ({'num_machines': 2}, True, {'num_machines': 2}),
        ({'num_machines': 2, 'tot_num_mpiprocs': 8}, False, {'num_machines': 2, 'tot_num_mpiprocs': 8}),
        ({'num_machines': 1, 'num_mpiprocs_per_machine': 4}, False, {'num_machines': 1, 'num_mpiprocs_per_machine': 4}),
    ],
)
def test_executable_without_mpi_takes_no_default_number_of_tasks(localhost, resources, mpi, expected):
    """The default of a computer, all cores of a node, is meant for MPI programs."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true')
    set_default = StrictProtocolMixin.set_default_resources
    assert recursive_options({}, {'resources': resources}, code, set_default, mpi=mpi)['resources'] == expected


@pytest.mark.parametrize(
    ('resources', 'n_tasks'),
    [
        ({}, 1),
        ({'num_machines': 2}, 1),
        ({'num_machines': 2, 'num_mpiprocs_per_machine': 4}, 4),
        ({'num_machines': 2, 'tot_num_mpiprocs': 8}, 4),
    ],
)
def test_tasks_on_each_machine(resources, n_tasks):
    """Only what is asked for counts, not the default of a computer."""
    assert count_tasks(resources) == n_tasks


def test_lines_for_gpus():
    """One line, unless there is one of the user's own; other schedulers have no such lines."""
    lines = 'custom_scheduler_commands'
    assert request_gpus({}, 2, 'core.slurm') == {lines: '#SBATCH --gres=gpu:2'}
    assert request_gpus({lines: '#SBATCH --mem=0'}, 2, 'core.slurm')[lines] == '#SBATCH --mem=0\n#SBATCH --gres=gpu:2'
    own = {lines: '#SBATCH --gpus-per-node=a100:2'}
    assert request_gpus(own, 2, 'core.slurm') == own
    assert request_gpus({}, 2, 'core.direct') == {}
    with pytest.raises(ValueError, match='must be positive, not 0'):
        request_gpus({}, 0, 'core.slurm')


def test_settings_of_a_builder():
    """Values come in the order of their defaults, and a misspelt name is refused."""
    assert take_settings({'b': 3}, a=1, b=2) == (1, 3)
    with pytest.raises(ValueError, match="unknown key 'basi' in the arguments of the builder; did you mean 'basis'"):
        take_settings({'basi': None}, basis=None, pp_code=None)


def test_moments_of_predictions():
    """Predictions of magnets start from the moments of their references, unless the overrides have others."""
    path = ('predict', 'parameters')
    assert with_moments({'predict': {'parameters': {'spacing': 0.1}}}, {'Fe': 2.5}, *path) == {
        'predict': {'parameters': {'spacing': 0.1, 'magnetic_moments': {'Fe': 2.5}}}
    }
    assert with_moments(None, {'Fe': 2.5}, *path) == {'predict': {'parameters': {'magnetic_moments': {'Fe': 2.5}}}}
    given = {'predict': {'parameters': {'magnetic_moments': {'Fe1': -2.5}}}}
    assert with_moments(given, {'Fe': 2.5}, *path) == given
    assert with_moments(None, None, *path) is None
    bands = {'predict': {'parameters': {'path': 'auto'}}}
    assert with_moments(bands, {'Fe': 2.5}, *path)['predict']['parameters'] == {
        'path': 'auto',
        'magnetic_moments': {'Fe': 2.5},
    }
