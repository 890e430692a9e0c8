"""How far the quickstart is: one bar with the time left on a terminal, one line per stage in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from _profile import BIN, DEMO
from aiida import orm
from tqdm import tqdm

from aiida_hamlr.workflows.progress import measure
from aiida_hamlr.workflows.steps import describe_failure

_BAR = '{desc:<46} |{bar}| {elapsed} passed, about {remaining} left'

#: Part of a stage after which a log gets a line.
_STEP = 0.25

#: Seconds between two looks at the processes; a look costs CPU time, as much as some steps of a training.
_INTERVAL = 5.0


class Progress:
    """Progress through stages whose durations are known roughly.

    Parameters
    ----------
    durations : dict of str to float
        Seconds that each stage takes; only their ratios matter for the time left.
    """

    def __init__(self, durations: dict[str, float]):
        self.durations, self.passed, self.started = durations, 0.0, time.monotonic()
        self.bar = tqdm(
            total=sum(durations.values()),
            smoothing=0,
            bar_format=_BAR,
            file=sys.stdout,
            disable=not sys.stdout.isatty(),
        )

    @property
    def seconds(self) -> float:
        """Time since the start, s."""
        return time.monotonic() - self.started

    def say(self, text: str):
        """Print one line above the bar."""
        minutes, seconds = divmod(int(self.seconds), 60)
        tqdm.write(f'[{minutes:2d}:{seconds:02d}] {text}')

    def wait(
        self,
        stage: str,
        *nodes: orm.ProcessNode,
        until: Callable[[], bool] | None = None,
        fraction: Callable[[], float] = lambda: 0.0,
    ):
        """Wait until processes have finished, or until a condition holds.

        Parameters
        ----------
        stage : str
            One of the stages.
        nodes : ProcessNode
            Processes to wait for.
        until : callable, optional
            Condition that ends the wait before the processes have finished.
        fraction : callable
            Which part of the stage is done, from 0 to 1.

        Raises
        ------
        RuntimeError
            If a process fails; the message says how to look at it.
        """
        self.bar.set_description_str(stage)
        if self.bar.disable:
            self.say(stage)
        told = _STEP
        while not (all(node.is_terminated for node in nodes) or (until and until())):
            part = min(fraction(), 1.0)
            if self.bar.disable and part >= told:
                told += _STEP
                self.say(f'{stage}: {part:.0%}')
            self._show(self.passed + part * self.durations[stage])
            time.sleep(_INTERVAL)
        for node in nodes:
            if node.is_terminated and not node.is_finished_ok:
                raise RuntimeError(
                    f'{node.process_label}<{node.pk}> failed: {describe_failure(node)}\n'
                    f'Look at it with: AIIDA_PATH={DEMO} {BIN / "verdi"} process report {node.pk}'
                )
        self.passed += self.durations[stage]
        self._show(self.passed)

    def close(self):
        """Remove the bar."""
        self.bar.leave = False
        self.bar.close()

    def _show(self, done: float):
        self.bar.n = max(done, self.bar.n)
        self.bar.refresh()


def part_of(process: orm.ProcessNode, label: str) -> float:
    """How much is done, from 0 to 1, of a process, or of that with a label which it calls."""
    for node in (process, *process.called):
        if node.process_label == label:
            progress = measure(node)
            return progress.done / progress.total if progress is not None and progress.total else 0.0
    return 0.0
