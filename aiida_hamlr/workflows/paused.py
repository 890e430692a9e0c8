"""Work chains that go on by themselves when a job was paused because its computer did not take or give files."""

from __future__ import annotations

import time

from aiida import orm

__all__ = ('PlaysPausedMixin',)

#: How the engine begins the status of a job that it has paused itself; a job that a person paused has another one.
_PAUSED_BY_ENGINE = 'Pausing after failed transport task'


def validate_limit(value, _) -> str | None:
    """Return what is wrong with the longest time that a job may be paused, or nothing."""
    return None if value is None or value >= 0 else f'`max_paused_seconds` must not be negative, not {value:g}'


class PlaysPausedMixin:
    """Plays the paused jobs of a work chain again, for a time, and kills them then.

    The engine repeats an upload, a submission or a retrieval that fails, as when a login node is down or a file system
    is full, for some minutes. Then it pauses the job, which waits for a person. A work chain with this mixin looks
    after the jobs that it has called, also those of the work chains of other packages between them.
    """

    #: Seconds between two looks.
    _PAUSED_INTERVAL = 60.0
    _paused_timer = None

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input(
            'max_paused_seconds',
            valid_type=(int, float),
            non_db=True,
            default=3 * 86400.0,
            validator=validate_limit,
            help='A job that the engine paused, since its computer could not be reached or took no files, is played '
            'again every minute until it has made no progress for so long; then it is killed and counts as failed.',
        )

    def _action_awaitables(self):
        """Look after the jobs that are waited for; the engine calls this whenever it waits, also after a restart."""
        super()._action_awaitables()
        self._paused_since = {}
        self._schedule_look()

    def _schedule_look(self):
        if self._paused_timer is not None:
            self._paused_timer.cancel()
        self._paused_timer = None
        if self.runner.controller is not None:
            self._paused_timer = self.loop.call_later(self._PAUSED_INTERVAL, self._look_for_paused)

    def _look_for_paused(self):
        if self.has_terminated():
            return
        now, since = time.monotonic(), self._paused_since
        jobs = {(job.pk, job.get_state()): job for job in find_active_jobs(self.node)}
        # A job in another state has made progress since; one in the same state may just try once more.
        self._paused_since = {key: since[key] for key in jobs if key in since}
        for key, job in jobs.items():
            if not job.paused or not (job.process_status or '').startswith(_PAUSED_BY_ENGINE):
                continue
            seconds = now - self._paused_since.setdefault(key, now)
            if seconds < self.inputs.max_paused_seconds:
                self.report(f'playing {job.process_label}<{job.pk}> again: {job.process_status}')
                self.runner.controller.play_process(job.pk)
            else:
                message = f'killed, as it was paused for {seconds:.0f} s: {job.process_status}'
                self.report(f'{job.process_label}<{job.pk}> is {message}')
                self.runner.controller.kill_process(job.pk, msg_text=message, force_kill=True)
        self._schedule_look()


def find_active_jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    """Return the jobs, not ended, of a work chain and of those that it called which do not look after theirs."""
    found = []
    for called in node.called:
        if called.is_terminated:
            continue
        if isinstance(called, orm.CalcJobNode):
            found.append(called)
        elif isinstance(called, orm.WorkChainNode) and not issubclass(called.process_class, PlaysPausedMixin):
            found += find_active_jobs(called)
    return found
