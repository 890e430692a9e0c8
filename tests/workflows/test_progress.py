"""How far runs are."""

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


def test_training(training):
    """Steps if they are limited, epochs otherwise; the time left follows from the part that is done."""
    job = training(max_epochs=8)
    found = measure(job)
    assert str(found) == '2 of 8 epochs' and found.fraction == 0.25
    assert seconds_left(job, found) >= 0
    assert str(measure(training(max_steps=32))) == '8 of 32 steps'
    assert str(measure(training())) == '2 epochs'


def test_nothing_to_tell(training, tmp_path, localhost):
    """A job that has not begun, and processes of other kinds, have no progress, which is no error."""
    job = training(max_epochs=8)
    (tmp_path / 'run/metrics.csv').unlink()
    assert measure(job) is None and seconds_left(job, None) is None
    assert measure(orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:quantumespresso.pw')) is None
    assert Progress(3, 0, 'epochs').fraction is None
