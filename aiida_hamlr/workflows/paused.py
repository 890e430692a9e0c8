"""Work chains that continue by themselves after a job was paused because its computer did not take or give files."""

from __future__ import annotations

import time

from aiida import orm

__all__ = ('PlaysPausedMixin',)

#: How the engine begins the status of a job that it has paused itself; a job paused by a person has another status.
_PAUSED_BY_ENGINE = 'Pausing after failed transport task'


def validate_limit(value, _) -> str | None:
    """Return what is wrong with the longest time that a job may be paused, or nothing."""
    return None if value is None or value >= 0 else f'`max_paused_seconds` must not be negative, not {value:g}'


class PlaysPausedMixin:
    """Plays paused jobs of a work chain again, for a limited time, and then kills them.

    When an upload, a submission or a retrieval fails, as when a login node is down or a file system is full, the engine
    repeats it for some minutes. Then it pauses the job, which waits for a person. A work chain with this mixin looks
    after the jobs that it called, and after those of called work chains that do not look after their own.
    """

    #: Seconds between two looks.
    _PAUSED_INTERVAL = 60.0

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
            help='Longest time in seconds without progress of a job that the engine paused because its computer could '
            'not be reached or did not accept files. Until then the job is resumed every minute; after that it is '
            'killed and counts as failed.',
        )

    def init(self):
        """Start to look; the engine calls this when it makes the process, and when it loads it after a restart."""
        super().init()
        self._paused_since, self._paused_timer = {}, None
        self.add_cleanup(self._cancel_look)
        self._schedule_look()

    def kill(self, msg_text: str | None = None, force_kill: bool = False):
        """Kill the process and those that it called, also while it is paused.

        A paused process is killed at once, and aiida-core (2.9.4) passes the request only to children of one that was
        not: `Process.kill` looks whether the process has ended after it ended it.
        """
        left = [child.pk for child in self.node.called if not child.is_terminated] if self.paused else []
        result = super().kill(msg_text, force_kill)
        if left and result is not False and self.runner.controller is not None:
            for pk in left:
                message = f'Killed by parent<{self.node.pk}>'
                self.runner.controller.kill_process(pk, msg_text=message, force_kill=force_kill)
        return result

    def _cancel_look(self):
        """Stop looking; the engine calls this when it is done with the process, also when it hands it to the daemon."""
        if self._paused_timer is not None:
            self._paused_timer.cancel()
            self._paused_timer = None

    def _schedule_look(self):
        self._cancel_look()
        if self.runner.controller is not None:
            self._paused_timer = self.loop.call_later(self._PAUSED_INTERVAL, self._look_for_paused)

    def _look_for_paused(self):
        if self.has_terminated():
            return
        now, since = time.monotonic(), self._paused_since
        jobs = {(job.pk, job.get_state()): job for job in find_active_jobs(self.node)}
        # A job in another state has made progress since; one in the same state may just be trying once more.
        self._paused_since = {key: since[key] for key in jobs if key in since}
        for key, job in jobs.items():
            if not job.paused or not (job.process_status or '').startswith(_PAUSED_BY_ENGINE):
                continue
            seconds = now - self._paused_since.setdefault(key, now)
            if seconds < self.inputs.max_paused_seconds:
                self.report(f'resuming {job.process_label}<{job.pk}>, which the engine paused: {job.process_status}')
                self.runner.controller.play_process(job.pk)
            else:
                message = f'killed after {seconds:.0f} s without progress: {job.process_status}'
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
