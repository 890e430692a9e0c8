"""One style for all figures: colours that colour-blind readers can tell apart, readable sizes, units on the axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.plotting.formats import check_suffix

#: Okabe and Ito's palette, darkest contrast first.
COLOURS = ('#0072B2', '#D55E00', '#000000', '#009E73', '#CC79A7', '#56B4E9', '#E69F00')

GREY = '#9a9a9a'

SETTINGS = {
    'font.family': 'DejaVu Sans',
    'font.size': 10.0,
    'axes.labelsize': 11.0,
    'axes.titlesize': 11.0,
    'axes.linewidth': 0.8,
    'axes.formatter.useoffset': False,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'legend.frameon': False,
    'legend.fontsize': 9.5,
    'lines.linewidth': 1.4,
    'xtick.direction': 'out',
    'ytick.direction': 'out',
    'savefig.dpi': 180,
    'svg.hashsalt': 'hamlr',
    'pdf.fonttype': 42,
}


#: With a date, figures of the same content would differ.
_UNDATED = {'svg': {'Date': None}, 'pdf': {'CreationDate': None}}


def widen(axes, span: float):
    """Let the vertical axis show ``span`` at least, around the middle of what is drawn: noise is not blown up."""
    low, high = axes.get_ylim()
    if high - low < span:
        axes.set_ylim(0.5 * (low + high - span), 0.5 * (low + high + span))


@contextmanager
def drawing(path: str | Path, width: float = 6.4, height: float = 4.4) -> Iterator[Figure]:
    """Give an empty figure to draw into, and write it afterwards; the suffix of the file says whether PNG, SVG or PDF.

    Parameters
    ----------
    path : path
        Written under a temporary name first; nothing is left if the drawing fails.
    width, height : float
        Inches. The layout fits the labels.

    Raises
    ------
    ValueError
        If the suffix is none of those that `check_suffix` knows; nothing is drawn then.
    """
    path = Path(path)
    check_suffix(path)
    with rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout='constrained')
        FigureCanvasAgg(figure)
        yield figure
        with atomic_path(path) as temporary:
            kind = path.suffix.lower()[1:]
            figure.savefig(temporary, format=kind, metadata=_UNDATED.get(kind))
