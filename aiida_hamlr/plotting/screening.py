"""Gaps of many structures: their distribution, and how far several models differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context

from aiida_hamlr.plotting.style import COLOURS, SETTINGS, new_figure, save


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
        PNG file.
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
    with rc_context(SETTINGS):
        figure = new_figure(6.4, 4.0 if spreads is None else 6.4)
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
    return save(figure, output)
