"""Tests of how paused jobs are played again."""

import pytest
from aiida import orm
from aiida.common.datastructures import CalcJobState
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida.plugins import WorkflowFactory
from aiida.plugins.entry_point import format_entry_point_string
from plumpy.base.utils import call_with_super_check

from aiida_hamlr.workflows.paused import find_active_jobs
from aiida_hamlr.workflows.reference import ReferenceWorkChain

STATUS = 'Pausing after failed transport task: upload_calculation failed 5 times consecutively'


class Controller:
    """Remembers what the work chain asks of the engine."""

    def __init__(self):
        self.asked = []

    def play_process(self, pk):
        """Remember that a process is to be played."""
        self.asked.append(('play', pk))

    def kill_process(self, pk, msg_text, force_kill=False):
        """Remember that a process is to be killed."""
        self.asked.append(('kill', pk))


@pytest.fixture
def process(instantiate, pw_code, hamlr_code, structure, pseudo_family):
    """Return a work chain whose engine only remembers what it was asked for."""
    builder = ReferenceWorkChain.get_builder_from_protocol(
        pw_code, hamlr_code, structure, protocol='fast', overrides={'scf': {'pseudo_family': pseudo_family}}
    )
    builder.max_paused_seconds = 100
    process = instantiate(builder)
    process.runner._controller = Controller()
    return process


@pytest.fixture
def call(localhost):
    """Return a factory of jobs and work chains that another one has called."""

    def make(caller, entry_point=None, paused=False, status=STATUS):
        if entry_point is None:
            node = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:hamlr.reconstruct')
            link = LinkType.CALL_CALC
        else:
            node = orm.WorkChainNode(process_type=format_entry_point_string('aiida.workflows', entry_point))
            link = LinkType.CALL_WORK
        node.set_process_state(ProcessState.WAITING)
        node.base.links.add_incoming(caller, link, f'called_{node.uuid[:8]}')
        node.store()
        if paused:
            node.pause()
            node.set_process_status(status)
        return node

    return make


def test_played_and_killed(process, call, monkeypatch):
    """A job that the engine paused is played every time, until it has made no progress for too long."""
    now = [0.0]
    monkeypatch.setattr('aiida_hamlr.workflows.paused.time.monotonic', lambda: now[0])
    job = call(process.node, paused=True)
    job.set_state(CalcJobState.UPLOADING)
    call(process.node)
    call(process.node, paused=True, status='paused by hand')
    process._look_for_paused()
    now[0] = 60.0
    process._look_for_paused()
    assert process.runner.controller.asked == [('play', job.pk)] * 2
    # It tries once more, and is paused again.
    job.unpause()
    now[0] = 90.0
    process._look_for_paused()
    job.pause()
    now[0] = 100.0
    process._look_for_paused()
    assert process.runner.controller.asked[2:] == [('kill', job.pk)]
    # In another state it has made progress.
    job.set_state(CalcJobState.RETRIEVING)
    process._look_for_paused()
    assert process.runner.controller.asked[3:] == [('play', job.pk)]
    job.set_process_state(ProcessState.KILLED)
    process._look_for_paused()
    assert len(process.runner.controller.asked) == 4


def test_whose_jobs(process, call):
    """Each work chain looks after its jobs and those of work chains that do not look themselves."""
    own = call(process.node)
    below = call(call(process.node, 'quantumespresso.pw.base'))
    call(call(process.node, 'hamlr.train.base'))
    assert {node.pk for node in find_active_jobs(process.node)} == {own.pk, below.pk}


def test_kill_while_paused_reaches_the_called(process, call):
    """What a paused work chain has called is killed with it; what has ended is left alone."""
    job, below = call(process.node), call(process.node, 'quantumespresso.pw.base')
    call(process.node).set_process_state(ProcessState.FINISHED)
    process.pause()
    assert process.kill() is True
    assert process.killed()
    assert sorted(process.runner.controller.asked) == [('kill', pk) for pk in sorted([job.pk, below.pk])]


def test_core_leaves_the_called_of_a_paused_work_chain(instantiate, call):
    """If this fails, aiida-core kills them itself, and `PlaysPausedMixin.kill` can go."""
    builder = WorkflowFactory('core.arithmetic.multiply_add').get_builder()
    builder.x, builder.y, builder.z = orm.Int(1), orm.Int(2), orm.Int(3)
    builder.code = orm.InstalledCode(
        computer=orm.load_computer('localhost'),
        filepath_executable='/bin/bash',
        default_calc_job_plugin='core.arithmetic.add',
    )
    core = instantiate(builder)
    core.runner._controller = Controller()
    call(core.node)
    core.pause()
    assert core.kill() is True
    assert core.killed()
    assert core.runner.controller.asked == []


def test_looks_from_the_start_until_it_is_closed(process):
    """The engine makes or loads the process, which then looks; what it hands to the daemon no longer does."""
    assert process._paused_timer is None  # Without a broker nobody can be asked to play a job.
    call_with_super_check(process.init)
    timer = process._paused_timer
    assert 0 < timer.when() - process.loop.time() <= process._PAUSED_INTERVAL
    process.close()
    assert timer.cancelled() and process._paused_timer is None


def test_refused(pw_code):
    """The time cannot be negative."""
    builder = ReferenceWorkChain.get_builder()
    with pytest.raises(ValueError, match='must not be negative, not -1'):
        builder.max_paused_seconds = -1
