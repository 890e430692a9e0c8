"""Gaps of many structures: their distribution, and how far several models differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aiida_hamlr.plotting.style import COLOURS, drawing


def plot_gaps(
    gaps: Sequence[float],
    output: str | Path,
    direct_gaps: Sequence[float | None] | None = None,
    spreads: Sequence[float] | None = None,
) -> Path:
    """Draw a histogram of band gaps, and below it the spread of several models over the gap.

    Parameters
    ----------
    gaps : sequence of float
        eV, one for each structure.
    output : path
        PNG, SVG or PDF file, by its suffix.
    direct_gaps : sequence of float or None, optional
        eV; drawn as a second histogram.
    spreads : sequence of float, optional
        Standard deviation of the gap over several models, eV.

    Raises
    ------
    ValueError
        If there are no gaps.
    """
    if not len(gaps):
        raise ValueError('there is no gap to draw: no structure is done, or the outputs have no gap')
    gaps = np.asarray(gaps, dtype=float)
    direct = np.array([value for value in direct_gaps or () if value is not None], dtype=float)
    edges = np.histogram_bin_edges(np.concatenate([gaps, direct]), bins='auto' if len(gaps) > 10 else 5)
    with drawing(output, 6.4, 4.0 if spreads is None else 6.4) as figure:
        rows = figure.subplots(1 if spreads is None else 2, 1, sharex=True, squeeze=False)[:, 0]
        rows[0].hist(gaps, edges, color=COLOURS[0], alpha=0.8, label='gap')
        if len(direct):
            rows[0].hist(direct, edges, histtype='step', color=COLOURS[1], linewidth=1.4, label='direct gap')
            rows[0].legend()
        rows[0].set_ylabel('Structures')
        rows[0].yaxis.get_major_locator().set_params(integer=True)
        if spreads is not None:
            rows[1].plot(gaps, spreads, 'o', color=COLOURS[0], markersize=3.5, alpha=0.7)
            rows[1].set_ylabel('Standard deviation\nover models (eV)')
            rows[1].set_ylim(bottom=0.0)
        rows[-1].set_xlabel('Band gap (eV)')
        rows[0].set_title(f'{len(gaps)} structures', loc='left')
    return Path(output)


def plot_gap_parts(gaps: Mapping[str, Sequence[float]], output: str | Path) -> Path:
    """Draw stacked histograms of band gaps.

    Parameters
    ----------
    gaps : mapping of str to sequence of float
        eV, by the name of a part.
    output : path
        PNG, SVG or PDF file, by its suffix.

    Raises
    ------
    ValueError
        If there are no gaps.
    """
    if not any(map(len, gaps.values())):
        raise ValueError('there is no gap to draw')
    everything = np.concatenate([np.asarray(values, dtype=float) for values in gaps.values()])
    edges = np.histogram_bin_edges(everything, bins='auto' if len(everything) > 10 else 5)
    with drawing(output, 6.4, 4.0) as figure:
        axes = figure.subplots()
        colours, names = COLOURS[: len(gaps)], list(gaps)
        axes.hist(list(gaps.values()), edges, stacked=True, color=colours, label=names, alpha=0.85, edgecolor='white')
        axes.set_xlabel('Band gap (eV)')
        axes.set_ylabel('Structures')
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_title(f'{len(everything)} structures', loc='left')
        axes.legend()
    return Path(output)
