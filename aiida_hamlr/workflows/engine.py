"""Waiting for the first of several processes: the only place that overrides a private method of AiiDA's engine.

The engine resumes a work chain once *all* processes that it waits for have ended. There is no public way to resume it
earlier: with every step it forgets what it waited for, and the end of a process from an earlier wait then raises in
`WorkChain._on_awaitable_finished`. The tests of this module fail if aiida-core changes what is relied on here.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiida import orm
from aiida.engine import ProcessState

__all__ = ('WaitsForFirstMixin',)


class WaitsForFirstMixin:
    """For a work chain whose steps may wait until the first of several processes has ended."""

    def wait_for_first(self, pks: Iterable[int]):
        """Let the work chain continue with its next step as soon as one of some processes has ended.

        :param pks: the processes that run, among them those that an earlier step waited for.
        """
        for key in [key for key in self.ctx if key.startswith('first_of_')]:
            del self.ctx[key]
        awaited = {f'first_of_{pk}': orm.load_node(pk) for pk in pks}
        self.to_context(**awaited)
        self.ctx.waits_for_first = bool(awaited)

    def _on_awaitable_finished(self, awaitable):
        if not any(entry is awaitable for entry in self._awaitables):
            # It belongs to an earlier wait; if the process was still waited for, an equal entry has its own callback.
            return
        # The context outlives a restart of the daemon, and the flag this wait only.
        waits_for_first = self.ctx.pop('waits_for_first', False)
        super()._on_awaitable_finished(awaitable)
        if waits_for_first and self._awaitables and self.state == ProcessState.WAITING:
            self.resume()
