"""On-site levels along an axis of the cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aiida_hamlr.plotting.style import COLOURS, GREY, drawing

#: The first of several sets is a broad pale line with open circles: what lies on it leaves it visible.
_STYLES = (
    {'color': GREY, 'marker': 'o', 'markersize': 8.0, 'markerfacecolor': 'none', 'linewidth': 4.0, 'alpha': 0.75},
    {'color': COLOURS[1], 'marker': '^', 'markersize': 4.0, 'linewidth': 0.9, 'linestyle': '--'},
    {'color': COLOURS[0], 'marker': 'x', 'markersize': 4.5, 'linewidth': 0.9},
    {'color': COLOURS[3], 'marker': 's', 'markersize': 3.0, 'linewidth': 0.9, 'linestyle': '-.'},
)

#: Heights of a panel of levels and of the panel of errors, inches.
_LEVELS_HEIGHT, _ERRORS_HEIGHT = 1.75, 2.0


def plot_levels(
    positions: np.ndarray,
    levels: Mapping[str, np.ndarray],
    output: str | Path,
    symbols: Sequence[str] | None = None,
    axis_label: str = 'z (Å)',
    title: str | None = None,
    reference: str | None = None,
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
        PNG, SVG or PDF file, by its suffix.
    symbols : sequence of str, optional
        Element of every atom; without it all atoms share one panel.
    axis_label, title : str
        Of the horizontal axis; of the figure.
    reference : str, optional
        Name of the levels that the others are compared with: a further panel shows the differences in meV, each after
        one constant for all atoms.

    Raises
    ------
    ValueError
        If there are no levels or too many, or none with the name of the reference.
    """
    if not 1 <= len(levels) <= len(_STYLES):
        raise ValueError(f'{len(levels)} sets of levels: between 1 and {len(_STYLES)} can be drawn together')
    if reference is not None and reference not in levels:
        raise ValueError(f'reference {reference!r}: there are levels of {", ".join(levels)}')
    positions = np.asarray(positions, dtype=float)
    levels = {name: np.asarray(values, dtype=float) for name, values in levels.items()}
    elements = np.array(['all atoms'] * len(positions) if symbols is None else list(symbols))
    panels = list(dict.fromkeys(elements.tolist()))
    styles = dict(zip(levels, _STYLES if len(levels) > 1 else _STYLES[1:], strict=False))
    heights = [_LEVELS_HEIGHT] * len(panels) + [_ERRORS_HEIGHT] * (reference is not None)
    with drawing(output, 6.4, 1.1 + sum(heights)) as figure:
        rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, element in zip(rows, panels, strict=False):
            chosen = np.flatnonzero(elements == element)
            chosen = chosen[np.argsort(positions[chosen], kind='stable')]
            for name, values in levels.items():
                shown = values[chosen]
                axes.plot(positions[chosen], shown - shown.mean(), label=name, **styles[name])
            axes.set_ylabel('Level − mean (eV)')
            axes.set_title(element if symbols is not None else '', loc='left', fontsize=10)
        if reference is not None:
            _plot_errors(rows[-1], positions, levels, reference, styles)
        rows[-1].set_xlabel(axis_label)
        handles, names = rows[0].get_legend_handles_labels()
        figure.legend(handles, names, loc='outside upper center', ncols=len(names))
        if title:
            figure.suptitle(title)
    return Path(output)


def _plot_errors(axes, positions: np.ndarray, levels: Mapping[str, np.ndarray], reference: str, styles: Mapping):
    """Differences from the reference in meV, without lines between atoms of different elements."""
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    for name, values in levels.items():
        if name != reference:
            error = 1e3 * (values - levels[reference])
            axes.plot(positions, error - error.mean(), **styles[name] | {'linestyle': 'none'})
    axes.set_ylabel('Error (meV)')
    axes.set_title(f'Difference from {reference}, all atoms', loc='left', fontsize=10)
