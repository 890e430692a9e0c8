"""On-site levels along an axis of the cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context

from aiida_hamlr.plotting.style import COLOURS, SETTINGS, new_figure, save

_STYLES = (
    {'color': COLOURS[2], 'marker': 'o', 'markersize': 4.5, 'linewidth': 0.8},
    {'color': COLOURS[1], 'marker': '^', 'markersize': 4.5, 'linewidth': 0.8, 'linestyle': '--'},
    {'color': COLOURS[0], 'marker': 'x', 'markersize': 5.0, 'linewidth': 0.8, 'linestyle': ':'},
    {'color': COLOURS[3], 'marker': 's', 'markersize': 4.0, 'linewidth': 0.8, 'linestyle': '-.'},
)


def plot_levels(
    positions: np.ndarray,
    levels: Mapping[str, np.ndarray],
    output: str | Path,
    symbols: Sequence[str] | None = None,
    axis_label: str = 'z (Å)',
    title: str | None = None,
) -> Path:
    """Draw the on-site level of every atom against its position, one panel per element.

    Parameters
    ----------
    positions : (N,) array
        Coordinate of the atoms, Å.
    levels : mapping of str to (N,) array
        Levels in eV by name, as in {'DFT': ..., 'short range only': ..., 'with long range': ...}. Each is shown
        relative to its mean over the atoms of a panel: the zero of energy is arbitrary.
    output : path
        PNG file.
    symbols : sequence of str, optional
        Element of every atom; without it all atoms share one panel.
    axis_label, title : str
        Of the horizontal axis.
    """
    if not 1 <= len(levels) <= len(_STYLES):
        raise ValueError(f'{len(levels)} sets of levels: between 1 and {len(_STYLES)} can be drawn together')
    positions = np.asarray(positions, dtype=float)
    elements = np.array(['all atoms'] * len(positions) if symbols is None else list(symbols))
    panels = list(dict.fromkeys(elements.tolist()))
    with rc_context(SETTINGS):
        figure = new_figure(6.4, 1.3 + 2.1 * len(panels))
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, element in zip(rows, panels, strict=True):
            chosen = np.flatnonzero(elements == element)
            chosen = chosen[np.argsort(positions[chosen], kind='stable')]
            for (name, values), style in zip(levels.items(), _STYLES, strict=False):
                shown = np.asarray(values, dtype=float)[chosen]
                axes.plot(positions[chosen], shown - shown.mean(), label=name, **style)
            axes.set_ylabel('Level − mean (eV)')
            axes.set_title(element if symbols is not None else '', loc='left', fontsize=10)
        rows[-1].set_xlabel(axis_label)
        handles, names = rows[0].get_legend_handles_labels()
        figure.legend(handles, names, loc='outside upper center', ncols=len(names))
        if title:
            figure.suptitle(title)
        return save(figure, output)
