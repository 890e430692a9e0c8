"""Errors over the number of references: what more references give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from aiida_hamlr.plotting.style import COLOURS, drawing


def plot_errors(
    numbers: Sequence[int],
    curves: Mapping[str, Sequence[Sequence[float]]],
    output: str | Path,
    target: float | None = None,
) -> Path:
    """Draw errors over numbers of references, on logarithmic axes.

    Parameters
    ----------
    numbers : sequence of int
        Of references, ascending.
    curves : mapping of str to (s, n) array
        Mean absolute errors of H, meV, by the name of the curve: of several repetitions, whose mean is a line and whose
        range is a band.
    output : path
        PNG, SVG or PDF file, by its suffix.
    target : float, optional
        Error at which learning ends, meV; drawn as a line.

    Raises
    ------
    ValueError
        If there are no errors.
    """
    if not len(numbers) or not curves:
        raise ValueError('there is no error to draw: no round is done')
    with drawing(output, 5.6, 4.0) as figure:
        axes = figure.subplots()
        for (name, values), colour, marker in zip(curves.items(), cycle(COLOURS), cycle('os^D')):
            errors = np.atleast_2d(np.asarray(values, dtype=float))
            axes.plot(numbers, errors.mean(axis=0), marker=marker, markersize=4.5, color=colour, label=name)
            if len(errors) > 1:
                axes.fill_between(
                    numbers, errors.min(axis=0), errors.max(axis=0), color=colour, alpha=0.18, linewidth=0
                )
        if target is not None:
            axes.axhline(target, color='0.3', linewidth=0.8, linestyle='--', label='target')
        axes.set(xscale='log', yscale='log', xlabel='References to train on', ylabel='Mean absolute error of H (meV)')
        axes.set_xticks(list(numbers))
        axes.xaxis.set_minor_formatter(NullFormatter())
        lowest, highest = axes.get_ylim()
        if highest < 10 * lowest:
            # Powers of ten alone would be too few.
            axes.yaxis.set_major_locator(MaxNLocator(6))
            axes.yaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(ScalarFormatter())
        if len(curves) > 1 or target is not None:
            axes.legend()
    return Path(output)
