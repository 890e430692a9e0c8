"""Expected against actual errors of atoms: whether an uncertainty can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np

from aiida_hamlr.plotting.style import COLOURS, drawing


def plot_calibration(groups: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | Path) -> Path:
    """Draw actual against expected errors of atoms on logarithmic axes, with the line on which they are equal.

    Parameters
    ----------
    groups : mapping of str to pair of (N,) arrays
        Expected and actual errors, meV, by the name of a kind of structures.
    path : path
        PNG, SVG or PDF file, by its suffix.
    """
    values = np.concatenate([np.concatenate(pair) for pair in groups.values()])
    values = values[np.isfinite(values) & (values > 0)]
    limits = np.array([0.7 * values.min(), 1.4 * values.max()])
    with drawing(path, 5.6, 4.2) as figure:
        axes = figure.subplots()
        for (name, (expected, actual)), colour in zip(groups.items(), cycle(COLOURS)):
            axes.plot(expected, actual, 'o', color=colour, markersize=3, alpha=0.6, linewidth=0, label=name)
        axes.plot(limits, limits, color='0.3', linewidth=0.8, label='equal')
        axes.fill_between(
            limits, limits / 2, 2 * limits, color='0.85', linewidth=0, zorder=0, label='within a factor of 2'
        )
        axes.set(xscale='log', yscale='log', xlim=limits, ylim=limits)
        axes.set(xlabel='expected error of an atom (meV)', ylabel='actual error of an atom (meV)')
        axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5))
    return Path(path)
