"""Band structures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.lines import Line2D

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.plotting.style import COLOURS, GREY, drawing
from aiida_hamlr.plotting.zero import Levels, energy_label

#: How successive sets are drawn, so that each stays visible under the next: broad line, dashes, dots.
STYLES = (
    {'linewidth': 2.6, 'alpha': 0.45, 'color': COLOURS[0]},
    {'linewidth': 1.3, 'linestyle': (0, (5, 2)), 'color': COLOURS[1]},
    {'linestyle': 'none', 'marker': 'o', 'markersize': 2.2, 'markeredgewidth': 0, 'color': COLOURS[2]},
    {'linewidth': 1.2, 'linestyle': ':', 'color': COLOURS[3]},
)

#: Spin up and spin down; that of a single set is dashed, so that both show where they agree.
_SPIN_STYLES = ({'color': COLOURS[0]}, {'color': COLOURS[1], 'linestyle': (0, (4, 2))})

#: How far figures of bands reach from the valence band maximum or Fermi level, eV, see `Levels.window`.
REACH = 7.0

#: Bands in the window from which on they are drawn finer.
_CROWD = 16

#: Room that a character of the name of a point takes, and space between two names, inches.
_CHARACTER, _SPACE = 0.07, 0.035

#: Width of axes that have a figure to themselves, inches.
_WIDTH = 5.8

#: Rows that the names of points may stand in.
_ROWS = 3

#: How files of paths write the centre of the Brillouin zone.
_GAMMA = ('GAMMA', 'G', 'Gamma', 'Γ')

#: Names with an index, as seekpath writes them.
_WITH_INDEX = re.compile(r'([^\W\d_]+)_(\d+)')


def plot_bands(
    sets: Sequence[Bands | str | Path],
    output: str | Path,
    names: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    title: str | None = None,
    zero: str = 'edge',
    vacuum_levels: Sequence[float | None] = (),
) -> Path:
    """Draw one or more sets of bands over each other, each with its own zero of energy.

    Parameters
    ----------
    sets : sequence of Bands or of names of bands files
        Along the same path. Two or more are drawn as broad line, dashes, dots, dotted line. Where one has two spins,
        the colour is that of the spin.
    output : path
        PNG, SVG or PDF file, by its suffix.
    names : sequence of str, optional
        For the legend.
    window : (float, float), optional
        Energies shown, eV from the zero; default: see `Levels.window`, from all sets.
    title : str, optional
        Above the axes.
    zero : str
        'edge' (valence band maximum; of a metal, Fermi level), 'vbm', 'fermi', 'vacuum' or 'none' (energies as stored).
    vacuum_levels : sequence of float or None
        Vacuum level of each set, eV; for the zero 'vacuum'.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If a set does not lie on a path, there are more than four, or the zero is not known.
    """
    sets = [load_bands(item) for item in sets]
    if not 1 <= len(sets) <= len(STYLES):
        raise ValueError(f'{len(sets)} sets of bands: between 1 and {len(STYLES)} can be drawn together')
    for item in sets:
        check_on_path(item)
    with drawing(output, 6.8, 4.8) as figure:
        axes = figure.add_subplot()
        vacuum = [*vacuum_levels, *[None] * len(sets)]
        levels = [Levels.of_bands(item, level) for item, level in zip(sets, vacuum, strict=False)]
        windows = [item.window(zero, REACH) for item in levels]
        window = window or (min(low for low, _ in windows), max(high for _, high in windows))
        handles, labels = draw_bands(axes, sets, window, names or (), zero, levels)
        if labels:
            figure.legend(handles, labels, loc='outside upper center', ncols=len(labels))
        if title:
            axes.set_title(title)
    return Path(output)


def draw_bands(
    axes,
    sets: Sequence[Bands],
    window: tuple[float, float],
    names: Sequence[str] = (),
    zero: str = 'edge',
    levels: Sequence[Levels] = (),
) -> tuple[list[Line2D], list[str]]:
    """Draw sets of bands into axes, and return handles and labels for a legend of the named sets and the spins.

    The zero and its levels are those of `plot_bands`; by default each set has its own band edge there.
    """
    styles = STYLES if len(sets) > 1 else ({'linewidth': 1.4, 'color': COLOURS[0]},)
    levels = levels or [Levels.of_bands(item) for item in sets]
    zeros = [item.of(zero) for item in levels]
    first = sets[0].eigenvalues[0, 0] - zeros[0]
    crowd = np.count_nonzero((first > window[0]) & (first < window[1]))
    styles = [_thinned(style, crowd) for style in styles[: len(sets)]]
    for item, offset, style in zip(sets, zeros, styles, strict=True):
        for start, stop in path_segments(item.distances):
            for spin, style_of_spin in zip(item.eigenvalues, _of_spins(style, item, len(sets)), strict=True):
                axes.plot(item.distances[start:stop], spin[start:stop] - offset, **style_of_spin)
    label_path(axes, sets[0])
    resolved = levels[0].resolve(zero)
    axes.set_ylabel(energy_label(resolved))
    axes.set_ylim(*window)
    if resolved != 'none':
        axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    entries = list(zip(styles, names, strict=True)) if names else []
    if max(map(_n_spin, sets)) == 2:
        entries = [(style | {'color': GREY}, name) for style, name in entries]
        single = {'linewidth': 1.4}
        entries += zip(_of_spins(single, max(sets, key=_n_spin), len(sets)), ('spin up', 'spin down'), strict=True)
    return [Line2D([], [], **style) for style, _ in entries], [name for _, name in entries]


def _n_spin(bands: Bands) -> int:
    return len(bands.eigenvalues)


def _of_spins(style: dict, bands: Bands, n_sets: int) -> list[dict]:
    """Style of the bands of every spin; several sets keep their line styles."""
    if _n_spin(bands) == 1:
        return [style]
    return [style | (spin if n_sets == 1 else {'color': spin['color']}) for spin in _SPIN_STYLES]


def _thinned(style: dict, n_bands: int) -> dict:
    """A style with finer lines where many bands share the window."""
    factor = min(1.0, (_CROWD / max(n_bands, 1)) ** 0.5)
    return style | {'linewidth': factor * style.get('linewidth', 1.0)}


def load_bands(bands: Bands | str | Path) -> Bands:
    """Bands, or those of the file with this name."""
    return bands if isinstance(bands, Bands) else Bands.read(bands)


def check_on_path(bands: Bands):
    """Raise ``ValueError`` if bands do not lie on a path."""
    if bands.distances is None:
        raise ValueError('bands on a mesh cannot be drawn along a path')


def path_segments(distances: np.ndarray) -> list[tuple[int, int]]:
    """Where the connected parts of a path begin and end: at a jump two points have the same distance."""
    breaks = np.flatnonzero(np.diff(distances) <= 0) + 1
    edges = [0, *breaks.tolist(), len(distances)]
    return list(zip(edges[:-1], edges[1:], strict=True))


class Tick(NamedTuple):
    """A special point of a path.

    Parameters
    ----------
    position : float
        Distance along the path, 1/Å.
    names : tuple of str
        As in the path, but with the letter Γ; two at a jump, none where there is no room for them.
    row : int
        Row below the axis in which the names stand, 0 to 2, so that they touch no other.
    """

    position: float
    names: tuple[str, ...]
    row: int


def path_ticks(bands: Bands, width: float = _WIDTH) -> list[Tick]:
    """Special points of a path.

    Names that would touch those before, as at neighbouring jumps or along a long axis of the cell, stand in a lower
    row, or are left out if none has room.

    Parameters
    ----------
    bands : Bands
        Along a path.
    width : float
        Of the axes, inches.
    """
    names: dict[float, list[str]] = {}
    for distance, label in zip(bands.distances, bands.labels, strict=True):
        if label:
            of_point = names.setdefault(float(distance), [])
            name = 'Γ' if label in _GAMMA else label
            if name not in of_point:
                of_point.append(name)
    inch, ends, ticks = (bands.distances[-1] - bands.distances[0]) / width, [-np.inf] * _ROWS, []
    for position, of_point in names.items():
        n_characters = sum(len(''.join(split_index(name))) for name in of_point) + len(of_point) - 1
        half = 0.5 * n_characters * _CHARACTER * inch
        row = next((row for row in range(_ROWS) if position - half >= ends[row]), None)
        if row is None:
            ticks.append(Tick(position, (), 0))
        else:
            ends[row] = position + half + _SPACE * inch
            ticks.append(Tick(position, tuple(of_point), row))
    return ticks


def label_path(axes, bands: Bands):
    """Draw ticks at the special points; the two names of a jump share one tick."""
    ticks = path_ticks(bands, axes.get_position().width * axes.figure.get_figwidth())
    names = ['\n' * tick.row + '|'.join(map(_markup, tick.names)) for tick in ticks]
    axes.set_xticks([tick.position for tick in ticks], names)
    for tick in ticks:
        axes.axvline(tick.position, color=GREY, linewidth=0.6, zorder=0)
    axes.set_xlim(bands.distances[0], bands.distances[-1])
    axes.set_xlabel('Wave vector')
    axes.spines[['top', 'right']].set_visible(True)
    axes.tick_params(axis='x', length=0)


def split_index(name: str) -> tuple[str, str]:
    """Name of a special point and its index, to be set below the line: 'X_1' is X and 1; others have none."""
    match = _WITH_INDEX.fullmatch(name)
    return (match[1], match[2]) if match else (name, '')


def _markup(name: str) -> str:
    """A name as matplotlib draws it; what a user has written is no mathematics."""
    name, index = split_index(name)
    name = name.replace('$', r'\$')
    return f'{name}$_{{{index}}}$' if index else name
