"""Tests of what all calculations share: valid inputs, folders of other jobs, MPI."""

import pytest
from aiida import orm
from aiida_fixtures import find_problem as problem

OPTIONS = {'options': {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'max_wallclock_seconds': 1000}}


NAMES = ('hamlr.basis', 'hamlr.potential', 'hamlr.reconstruct', 'hamlr.train', 'hamlr.predict', 'hamlr.fetch')


@pytest.mark.parametrize('name', NAMES)
def test_valid_inputs(make_inputs, name):
    """What is valid is accepted."""
    assert problem(name, make_inputs(name)) is None


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


@pytest.mark.parametrize('name', ['hamlr.basis', 'hamlr.train'])
def test_commands_that_would_hide_the_status(make_inputs, name):
    """AiiDA puts those of the option before those that record the status of the executable."""
    metadata = {'options': {**OPTIONS['options'], 'append_text': 'rm -f core'}}
    assert '`metadata.options.append_text` runs before' in problem(name, {**make_inputs(name), 'metadata': metadata})


@pytest.mark.parametrize('name', ['hamlr.train', 'hamlr.predict'])
def test_mpi_would_start_copies(make_inputs, slurm_computer, name):
    """Thirty-two of the executable would write the same files."""
    inputs = make_inputs(name)
    code = orm.InstalledCode(computer=slurm_computer, filepath_executable='/opt/hamlr', with_mpi=True).store()
    metadata = {'options': {'resources': {'num_machines': 1}}}
    assert 'would start 32 copies' in problem(name, {**inputs, 'code': code, 'metadata': metadata})
    for n_machines in (1, 2):
        metadata = {'options': {'resources': {'num_machines': n_machines, 'num_mpiprocs_per_machine': 1}}}
        message = problem(name, {**inputs, 'code': code, 'metadata': metadata})
        # Trainings on several machines work together.
        assert (message is None) == (n_machines == 1 or name == 'hamlr.train')
