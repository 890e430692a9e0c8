"""Progress of a training: a bar with the time left on a terminal, lines in a log."""

from __future__ import annotations

import math
import sys
import time

#: Lines are printed at most this often, s.
INTERVAL = 15.0


class Progress:
    """Shows how far a training is and how large its errors are.

    Parameters
    ----------
    start : float
        Fraction that earlier runs have done, 0 to 1. The time left follows from the pace of this run alone.
    """

    def __init__(self, start: float = 0.0):
        self._done, self._printed, self._validation = start, -math.inf, ''
        self._text, self._bar = '', None
        if sys.stdout.isatty():
            from tqdm import tqdm

            layout = '{desc}{percentage:3.0f} % {bar} {elapsed}, {remaining} left'
            arguments = {'file': sys.stdout, 'leave': False, 'dynamic_ncols': True, 'smoothing': 0.0}
            self._bar = tqdm(total=1.0, initial=start, bar_format=layout, **arguments)

    def advance(self, done: float):
        """Move the bar to the fraction ``done`` of the whole training; it is redrawn ten times a second at most."""
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done

    def report(self, row: dict, is_last: bool):
        """Show the errors of one row of metrics.csv, meV; the last validation errors remain until the next ones."""
        if 'validation_mae_meV' in row:
            self._validation = (
                f', validation {row["validation_mae_meV"]:.3f} meV, on-site {row["validation_mae_onsite_meV"]:.2f} meV'
            )
        errors = f'training {row["train_mae_meV"]:.3f} meV{self._validation}'
        self._text = f'epoch {row["epoch"]:g}, {row["wall_s"]:.0f} s: {errors}'
        if self._bar is not None:
            self._bar.set_description_str(f'epoch {row["epoch"]:g}: {errors} ', refresh=False)
        elif is_last or time.monotonic() - self._printed > INTERVAL:
            self._print()

    def close(self):
        """Replace the bar by a line with the last errors."""
        if self._bar is not None:
            self._bar.close()
            if self._text:
                self._print()

    def _print(self):
        self._printed = time.monotonic()
        print(self._text, flush=True)
