"""One style for all figures: colours that colour-blind readers can tell apart, readable sizes, units on the axes."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aiida_hamlr.electronic.files import atomic_path

#: Okabe and Ito's palette, darkest contrast first.
COLOURS = ('#0072B2', '#D55E00', '#000000', '#009E73', '#CC79A7', '#56B4E9', '#E69F00')

GREY = '#9a9a9a'

SETTINGS = {
    'font.family': 'DejaVu Sans',
    'font.size': 10.0,
    'axes.labelsize': 11.0,
    'axes.titlesize': 11.0,
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'legend.frameon': False,
    'legend.fontsize': 9.5,
    'lines.linewidth': 1.4,
    'xtick.direction': 'out',
    'ytick.direction': 'out',
    'savefig.dpi': 180,
}


def new_figure(width: float = 6.4, height: float = 4.4) -> Figure:
    """Empty figure with a layout that fits its labels; sizes in inches. Needs no display."""
    with rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, under a temporary name first."""
    path = Path(path)
    with rc_context(SETTINGS), atomic_path(path) as temporary:
        figure.savefig(temporary, format='png')
    return path
