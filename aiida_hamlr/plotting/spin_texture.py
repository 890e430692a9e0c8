"""Bands of spinors, coloured by a component of their spin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.plotting.bands import check_on_path, label_path, load_bands, path_segments
from aiida_hamlr.plotting.style import GREY, drawing
from aiida_hamlr.plotting.zero import Levels, energy_label

#: How far the figure reaches from the valence band maximum or Fermi level, eV.
_REACH = 3.0

#: Components of the spin.
AXES = ('x', 'y', 'z')

#: Levels closer than this, eV, count as one: only the mean of their spins has a meaning.
DEGENERATE = 1e-5


def plot_spin_texture(
    bands: Bands | str | Path,
    output: str | Path,
    axis: str = 'z',
    window: tuple[float, float] | None = None,
    zero: str = 'edge',
) -> Path:
    """Draw bands along a path, coloured by ``<sigma_a>``; degenerate states by the mean of theirs.

    Parameters
    ----------
    bands : Bands or name of a bands file
        Along a path, of spinors.
    output : path
        PNG, SVG or PDF file, by its suffix.
    axis : str
        Cartesian component: 'x', 'y' or 'z'.
    window : (float, float), optional
        Energies shown, eV from the zero; default: 3 eV below the band edge and above, see `Levels.window`.
    zero : str
        See `plot_bands`.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If the bands have no spins, or do not lie on a path.
    """
    bands = load_bands(bands)
    if bands.spins is None:
        raise ValueError('these bands have no spins: compute them with spin-orbit coupling')
    check_on_path(bands)
    levels = Levels.of_bands(bands)
    energies = bands.eigenvalues[0] - levels.of(zero)
    values = mean_of_degenerate(energies, bands.spins[:, AXES.index(axis)])
    with drawing(output, 6.8, 4.8) as figure:
        axes = figure.add_subplot()
        norm = Normalize(-1.0, 1.0)
        for start, stop in path_segments(bands.distances):
            # Grey under the colours, so that bands without spin along the axis remain visible.
            axes.plot(bands.distances[start:stop], energies[start:stop], color=GREY, linewidth=0.6)
            lines = _coloured(bands.distances[start:stop], energies[start:stop], values[start:stop], norm)
            axes.add_collection(lines)
        label_path(axes, bands)
        axes.set_ylabel(energy_label(levels.resolve(zero)))
        axes.set_ylim(*(window or levels.window(zero, _REACH)))
        figure.colorbar(lines, ax=axes, label=rf'$\langle\sigma_{axis}\rangle$', pad=0.02)
    return Path(output)


def mean_of_degenerate(energies: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (nk, nb) of bands, of degenerate ones their mean; energies (nk, nb) in eV, ascending."""
    groups = np.cumsum(np.diff(energies, axis=1, prepend=energies[:, :1]) > DEGENERATE, axis=1)
    result = np.empty_like(values)
    for index, (group, row) in enumerate(zip(groups, values, strict=True)):
        result[index] = (np.bincount(group, row) / np.bincount(group))[group]
    return result


def _coloured(distances: np.ndarray, energies: np.ndarray, values: np.ndarray, norm: Normalize) -> LineCollection:
    """Pieces of all bands between neighbouring points, with the mean value of their ends."""
    points = np.stack([np.broadcast_to(distances[:, None], energies.shape), energies], axis=-1)
    pieces = np.stack([points[:-1], points[1:]], axis=2).reshape(-1, 2, 2)
    lines = LineCollection(pieces, cmap='coolwarm', norm=norm, linewidth=2.0, capstyle='round')
    lines.set_array(0.5 * (values[:-1] + values[1:]).ravel())
    return lines
