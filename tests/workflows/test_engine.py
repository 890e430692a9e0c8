"""Tests of what `workflows/engine.py` relies on in AiiDA's engine: they fail if aiida-core changes it."""

import asyncio
import inspect

import pytest
from aiida import orm
from aiida.engine import ProcessState, WorkChain, while_
from aiida.manage import get_manager

from aiida_hamlr.workflows.engine import WaitsForFirstMixin


class Collect(WaitsForFirstMixin, WorkChain):
    """Wait for processes, and note in which order their ends are seen, and with which others at once."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('pks', valid_type=list, non_db=True)
        spec.outline(cls.setup, while_(cls.is_running)(cls.collect))

    def setup(self):
        """All of them run."""
        self.ctx.running, self.ctx.seen = list(self.inputs.pks), []

    def is_running(self):
        """Return whether there is one to wait for."""
        return bool(self.ctx.running)

    def collect(self):
        """Note those that ended, and wait for the next."""
        ended = [pk for pk in self.ctx.running if orm.load_node(pk).is_terminated]
        if ended:
            self.ctx.seen.append(ended)
        self.ctx.running = [pk for pk in self.ctx.running if pk not in ended]
        self.wait_for_first(self.ctx.running)


def make_running():
    """Return a stored process node that has not ended."""
    node = orm.WorkChainNode()
    node.set_process_state(ProcessState.WAITING)
    return node.store()


@pytest.mark.timeout(120)
def test_each_end_is_seen_when_it_comes(aiida_profile):
    """The engine itself would resume once, after the last; an end between two steps is not lost either."""
    a, b, c, d = nodes = [make_running() for _ in range(4)]
    runner = get_manager().create_runner(communicator=None, poll_interval=0.05)
    process = Collect(inputs={'pks': [node.pk for node in nodes]}, runner=runner)

    def n_seen():
        return sum(map(len, process.ctx.get('seen', [])))

    async def end_them():
        # Out of order, two at once, and each as soon as the ends before were seen.
        for ended in ([c], [a, d], [b]):
            while process.state != ProcessState.WAITING:
                await asyncio.sleep(0.01)
            expected = n_seen() + len(ended)
            for node in ended:
                node.set_process_state(ProcessState.FINISHED)
                node.set_exit_status(0)
            while n_seen() < expected:
                await asyncio.sleep(0.01)

    runner.loop.run_until_complete(
        asyncio.wait_for(asyncio.gather(end_them(), process.step_until_terminated()), timeout=60)
    )
    assert process.is_successful, process.exception()
    seen = process.ctx.seen
    assert seen[0] == [c.pk]
    assert sorted(pk for pks in seen[1:-1] for pk in pks) == sorted([a.pk, d.pk])
    assert seen[-1] == [b.pk]


def test_the_engine_calls_what_is_overridden():
    """The callback has one argument, is what the engine calls at the end of a process, and resumes after the last."""
    assert list(inspect.signature(WorkChain._on_awaitable_finished).parameters) == ['self', 'awaitable']
    assert 'self._on_awaitable_finished' in inspect.getsource(WorkChain._action_awaitables)
    source = inspect.getsource(WorkChain._on_awaitable_finished)
    assert 'self._resolve_awaitable(awaitable, value)' in source
    assert 'if self.state == ProcessState.WAITING and not self._awaitables:' in source


def test_end_of_an_earlier_wait(aiida_profile):
    """A process that is waited for a second time, since another one ended, is dealt with once when it ends."""
    process = Collect(
        inputs={'pks': [make_running().pk for _ in range(2)]}, runner=get_manager().create_runner(communicator=None)
    )
    process.setup()
    waits = []
    for _ in range(2):
        process._awaitables = []
        process.collect()
        waits.append(list(process._awaitables))
    first, second = waits
    process._on_awaitable_finished(first[0])
    assert len(process._awaitables) == 2
    process._on_awaitable_finished(second[0])
    assert [entry.pk for entry in process._awaitables] == [second[1].pk]
    process._on_awaitable_finished(second[0])
    assert [entry.pk for entry in process._awaitables] == [second[1].pk]
