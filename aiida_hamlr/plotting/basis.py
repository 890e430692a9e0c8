"""What a basis is worth: its bands beside those of plane waves, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.ticker import ScalarFormatter

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.plotting.bands import STYLES, draw_bands
from aiida_hamlr.plotting.style import GREY, drawing
from aiida_hamlr.plotting.zero import Levels

#: Energies shown, eV from the valence band maximum; above a wide gap more.
WINDOW = (-14.0, 10.0)

#: Deviations below it are drawn on the edge, meV.
SMALLEST = 1.0


def plot_basis(sets: Mapping[str, Bands], output: str | Path, title: str | None = None) -> Path:
    """Draw the bands that orbitals and plane waves give, and beside them the distance of each state, in meV.

    Parameters
    ----------
    sets : mapping of str to Bands
        As `bands_of_basis` returns them: plane waves first, all along one path.
    output : path
        PNG, SVG or PDF file, by its suffix.
    title : str, optional
        Default: the formula of the crystal.
    """
    (_, exact), *others = sets.items()
    with drawing(output, 8.4, 4.8) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1), sharey=True)
        handles, labels = draw_bands(left, list(sets.values()), _window(exact), list(sets))
        zero = Levels.of_bands(exact).of('edge')
        for (name, bands), style in zip(others, STYLES[1:], strict=False):
            deviations = 1e3 * (bands.eigenvalues - exact.eigenvalues).ravel()
            right.plot(
                np.maximum(deviations, SMALLEST),
                exact.eigenvalues.ravel() - zero,
                linestyle='none',
                marker='o',
                markersize=2.6,
                markeredgewidth=0,
                alpha=0.7,
                color=style['color'],
                label=name,
            )
        right.set_xscale('log')
        right.xaxis.set_major_formatter(ScalarFormatter())
        right.set_xlim(left=0.8 * SMALLEST)
        right.set_title('Error of each state')
        right.set_xlabel('Above plane waves (meV)')
        right.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
        right.spines[['top', 'right']].set_visible(True)
        right.grid(True, axis='x', color='#e4e4e4', linewidth=0.6)
        right.set_axisbelow(True)
        figure.legend(handles, labels, loc='outside upper center', ncols=len(labels))
        left.set_title(title or _title(exact))
    return Path(output)


def _title(bands: Bands) -> str:
    spinors = ', spin–orbit coupling' if bands.attributes.electrons_per_band == 1 else ''
    return f'{bands.attributes.formula or ""} in the potential of neutral atoms{spinors}'


def _window(bands: Bands) -> tuple[float, float]:
    """The lowest bands down to semicore, and up to where the next band could be missing."""
    levels = Levels.of_bands(bands)
    energies = bands.eigenvalues[0] - levels.of('edge')
    inside = energies[energies > WINDOW[0]]
    _, high = levels.window('edge', WINDOW[1])
    return float(inside.min()) - 1.0, min(high, float(energies[:, -1].min()))
