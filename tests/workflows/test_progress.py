"""How far runs are."""

import time

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_hamlr.workflows.progress import Progress, measure, seconds_left


@pytest.fixture
def training(localhost, tmp_path):
    """Return a training that runs, with two epochs of eight steps in its working directory."""

    def make(**limits):
        job = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:hamlr.train')
        job.set_process_state(ProcessState.WAITING)
        parameters = orm.Dict({'training': limits}).store()
        job.base.links.add_incoming(parameters, LinkType.INPUT_CALC, 'parameters')
        job.store()
        job.set_remote_workdir(str(tmp_path))
        (tmp_path / 'run').mkdir(exist_ok=True)
        (tmp_path / 'run/metrics.csv').write_text('epoch,step,train_mae_meV\n1,4,7.5\n2,8,6.5\n')
        return job

    return make


def is_elapsed_time(node, measured):
    """Whether a call returns the seconds since a node was made."""
    before = time.time()
    now = node.ctime.timestamp() + measured()
    return before - 1e-3 <= now <= time.time() + 1e-3


def test_training(training):
    """Steps if they are limited, epochs otherwise; the time left follows from the part that is done."""
    job = training(max_epochs=8)
    found = measure(job)
    assert str(found) == '2 of 8 epochs'
    # Two epochs took the time so far, six are left.
    assert is_elapsed_time(job, lambda: seconds_left(job, found) / 3)
    assert str(measure(training(max_steps=32))) == '8 of 32 steps'
    assert str(measure(training())) == '2 epochs'


def test_nothing_to_tell(training, tmp_path, localhost):
    """A job that has not begun, and processes of other kinds, have no progress, which is no error."""
    job = training(max_epochs=8)
    (tmp_path / 'run/metrics.csv').unlink()
    assert measure(job) is None and seconds_left(job, None) is None
    assert measure(orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:quantumespresso.pw')) is None
    assert seconds_left(job, Progress(3, 0, 'epochs')) is None


def test_references_of_earlier_runs_count(aiida_profile_clean, structure):
    """Reused references are done, took no time, and have no process."""
    chain = orm.WorkChainNode(process_type='aiida.workflows:hamlr.dataset')
    chain.set_process_state(ProcessState.WAITING)
    for index in range(6):
        node = orm.StructureData(ase=structure.get_ase()).store()
        chain.base.links.add_incoming(node, LinkType.INPUT_WORK, f'structures__s{index}')
    chain.store()
    reference = orm.WorkChainNode(process_type='aiida.workflows:hamlr.reference')
    reference.set_process_state(ProcessState.FINISHED)
    reference.set_exit_status(0)
    reference.base.links.add_incoming(chain, LinkType.CALL_WORK, 'reference_s3')
    reference.store()
    for index in range(4):
        node = orm.Dict().store()
        node.base.links.add_incoming(chain, LinkType.RETURN, f'references__s{index}')
    found = measure(chain)
    assert (found.done, found.total, found.reused) == (4, 6, 3)
    assert str(found) == '4 of 6 references (3 reused)'
    # One took the time so far, two are left.
    assert is_elapsed_time(chain, lambda: seconds_left(chain, found) / 2)
