"""Densities of states, fat bands, band edges by layer and potentials along an axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.layers import Layers
from aiida_hamlr.electronic.bands.projections import sum_groups
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.plotting.bands import REACH, draw_bands
from aiida_hamlr.plotting.style import COLOURS, GREY, drawing, widen
from aiida_hamlr.plotting.zero import Levels, energy_label

#: Groups that are drawn; the others are part of the total only.
_MOST_GROUPS = 6

#: How far figures of densities of states reach from the valence band maximum or Fermi level, eV.
_DOS_REACH = 8.0

#: Energies that an axis of band edges or potentials shows at least, eV.
_SMALLEST_SPAN = 0.1

#: Area of the dot of a state that is all on one group, points^2.
_DOT = 28.0

#: Half of the energies shown at least where all values are nearly the same, eV.
_SMALLEST_RANGE = 0.01


def plot_dos(
    properties: Properties,
    output: str | Path,
    kind: str = 'shell',
    window: tuple[float, float] | None = None,
    zero: str = 'edge',
    levels: Levels | None = None,
    reference: tuple[str, Properties, Levels | None] | None = None,
) -> Path:
    """Draw a density of states and, if it is projected, its parts.

    Parameters
    ----------
    properties : Properties
        With the density of states.
    output : path
        PNG, SVG or PDF file, by its suffix.
    kind : str
        What the parts are: 'species', 'shell' or 'm'.
    window : (float, float), optional
        Energies shown, eV from the zero; default: see `Levels.window`.
    zero : str
        'edge', 'vbm', 'fermi', 'vacuum' or 'none', as of `plot_bands`; as stored if the Fermi level is not known.
    levels : Levels, optional
        Energies for the zero; default: those of the properties.
    reference : (str, Properties, Levels or None), optional
        Name and density of states to draw over this one, as a dashed line.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If there is no density of states, or the zero is not known.
    """
    levels = levels or Levels.of_properties(properties)
    zero = 'none' if levels == Levels() else zero
    window = window or levels.window(zero, _DOS_REACH)
    energies = _energies(properties, zero, levels)
    spins = [properties.dos] if properties.dos_by_spin is None else list(properties.dos_by_spin)
    shown = (energies >= window[0]) & (energies <= window[1])
    with drawing(output, 6.4, 4.2) as figure:
        axes = figure.add_subplot()
        parts, groups = None, ()
        if properties.groups:
            groups, parts = sum_groups(properties.groups, np.moveaxis(properties.projected_dos, 1, -1), kind)
            order = np.argsort(-parts[:, shown].sum(axis=(0, 1)), kind='stable')[:_MOST_GROUPS]
        for spin, total in enumerate(spins):
            sign = 1 - 2 * spin
            axes.fill_between(energies, sign * total, color=GREY, alpha=0.35, linewidth=0, label='total' * (not spin))
            for colour, index in zip(COLOURS, order if groups else (), strict=False):
                label = groups[index].label if not spin else None
                axes.plot(energies, sign * parts[spin, :, index], color=colour, label=label)
        if reference is not None:
            name, other, its_levels = reference
            x = _energies(other, zero, its_levels or Levels.of_properties(other))
            for spin, total in enumerate([other.dos] if other.dos_by_spin is None else other.dos_by_spin):
                label = name if not spin else None
                axes.plot(x, (1 - 2 * spin) * total, color='black', linestyle=(0, (4, 2)), linewidth=1.2, label=label)
        if levels.resolve(zero) != 'none':
            axes.axvline(0.0, color=GREY, linewidth=0.8)
        axes.set_xlim(*window)
        top = 1.05 * max((total[shown].max(initial=0.0) for total in spins), default=1.0)
        axes.set_ylim(-top if len(spins) == 2 else 0.0, top)
        axes.set_xlabel(energy_label(levels.resolve(zero)))
        axes.set_ylabel('Density of states (1/eV per cell)')
        figure.legend(loc='outside upper center', ncols=4)
    return Path(output)


def _energies(properties: Properties, zero: str, levels: Levels) -> np.ndarray:
    """Energies of a density of states from the zero, eV."""
    if properties.dos is None:
        raise ValueError('these properties hold no density of states')
    return properties.dos_energies - levels.of(zero)


def plot_fat_bands(
    bands: Bands,
    output: str | Path,
    kind: str = 'species',
    window: tuple[float, float] | None = None,
    zero: str = 'edge',
    vacuum_level: float | None = None,
) -> Path:
    """Draw bands with dots whose area is the share of a group in each state.

    Parameters
    ----------
    bands : Bands
        Along a path, with projections.
    output : path
        PNG, SVG or PDF file, by its suffix.
    kind : str
        'species' or 'shell'.
    window : (float, float), optional
        Energies shown, eV from the zero; default: see `Levels.window`.
    zero : str
        As of `plot_bands`.
    vacuum_level : float, optional
        eV, for the zero 'vacuum'.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If the bands have no projections, or lie on a mesh.
    """
    if bands.projections is None or bands.distances is None:
        raise ValueError('fat bands need projected bands along a path')
    groups, shares = sum_groups(bands.groups, bands.projections, kind)
    order = np.argsort(-shares.sum(axis=(0, 1, 2)), kind='stable')[: min(4, len(groups))]
    zeros = Levels.of_bands(bands, vacuum_level)
    window = window or zeros.window(zero, REACH)
    levels = bands.eigenvalues - zeros.of(zero)
    with drawing(output, 3.2 * len(order) + 0.8, 4.4) as figure:
        panels = figure.subplots(1, len(order), sharey=True, squeeze=False)[0]
        for axes, colour, index in zip(panels, COLOURS, order, strict=False):
            draw_bands(axes, [bands], window, (), zero, [zeros])
            for line in axes.lines:
                line.set(color=GREY, linewidth=0.6)
            for spin in range(len(levels)):
                x = np.broadcast_to(bands.distances[:, None], levels[spin].shape)
                axes.scatter(
                    x,
                    levels[spin],
                    s=_DOT * np.maximum(shares[spin, ..., index], 0.0),
                    color=colour,
                    alpha=0.6,
                    linewidths=0,
                )
            axes.set_title(groups[index].label)
        for axes in panels[1:]:
            axes.set_ylabel('')
    return Path(output)


def plot_layers(properties: Properties, output: str | Path) -> Path:
    """Draw the band edges of the layers along the axis.

    Parameters
    ----------
    properties : Properties
        With band edges by layer.
    output : path
        PNG, SVG or PDF file, by its suffix.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If there are no band edges by layer.
    """
    if properties.layer_heights is None:
        raise ValueError('these properties hold no band edges by layer')
    with drawing(output, 6.4, 3.8) as figure:
        axes = figure.add_subplot()
        sets = (
            ('conduction band', properties.layer_conduction_edges),
            ('valence band', properties.layer_valence_edges),
        )
        handles = []
        for colour, (name, edges) in zip(COLOURS[1::-1], sets, strict=False):
            axes.step(properties.layer_heights, edges, where='mid', color=colour, marker='o', markersize=3.5)
            handles.append(Line2D([], [], color=colour, marker='o', markersize=3.5, label=name))
        fermi = properties.attributes.get('fermi_level_eV')
        if fermi is not None:
            axes.axhline(fermi, color=GREY, linewidth=0.8, linestyle='--')
            handles.append(Line2D([], [], color=GREY, linewidth=0.8, linestyle='--', label='Fermi level'))
        widen(axes, _SMALLEST_SPAN)
        axes.set_xlabel('Height of the layer (Å)')
        axes.set_ylabel('Edge (eV)')
        figure.legend(handles=handles, loc='outside upper center', ncols=3)
    return Path(output)


def plot_planes(properties: Properties, output: str | Path) -> Path:
    """Draw planar and macroscopic averages of the electrostatic potential along the axis.

    Parameters
    ----------
    properties : Properties
        With planar averages; dotted lines mark its layers, if it has any.
    output : path
        PNG, SVG or PDF file, by its suffix.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If there are no planar averages.
    """
    if properties.planar_potential is None:
        raise ValueError('these properties hold no planar averages of the electrostatic potential')
    with drawing(output, 6.4, 3.8) as figure:
        axes = figure.add_subplot()
        heights = properties.plane_heights
        axes.plot(heights, properties.planar_potential, color=COLOURS[0], label='planar average')
        if properties.macroscopic_potential is not None:
            axes.plot(heights, properties.macroscopic_potential, color=COLOURS[1], label='macroscopic average')
        for index, height in enumerate(() if properties.layer_heights is None else properties.layer_heights):
            style = {'color': GREY, 'linestyle': ':', 'linewidth': 0.8, 'zorder': 0}
            axes.axvline(height, label=None if index else 'layer', **style)
        widen(axes, _SMALLEST_SPAN)
        axes.set_xlabel('Height (Å)')
        axes.set_ylabel('Electrostatic potential energy (eV)')
        figure.legend(loc='outside upper center', ncols=3)
    return Path(output)


def plot_profile(properties: Properties, layers: Layers, output: str | Path) -> Path:
    """Draw how far the potential at each atom differs from that of neutral atoms, and its mean over each layer.

    Parameters
    ----------
    properties : Properties
        With ``potential``, see `potential_profile`.
    layers : Layers
        Of the same atoms along the axis.
    output : path
        PNG, SVG or PDF file, by its suffix.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If there is no potential.
    """
    if properties.potential is None:
        raise ValueError('these properties hold no potential of the atoms')
    heights, symbols = layers.heights[layers.of_atom], np.array(properties.symbols)
    with drawing(output, 6.4, 3.8) as figure:
        axes = figure.add_subplot()
        axes.plot(layers.heights, layers.average(properties.potential), color=GREY, label='mean of the layer', zorder=1)
        for index, symbol in enumerate(dict.fromkeys(properties.symbols)):
            chosen = symbols == symbol
            colour = COLOURS[index % len(COLOURS)]
            axes.scatter(heights[chosen], properties.potential[chosen], color=colour, s=_DOT, label=symbol)
        low, high = properties.potential.min(), properties.potential.max()
        half = max(0.55 * (high - low), _SMALLEST_RANGE)
        axes.set_ylim((low + high) / 2 - half, (low + high) / 2 + half)
        axes.set_xlim(-0.02 * layers.length, 1.02 * layers.length)
        axes.set_xlabel('Height (Å)')
        axes.set_ylabel('Potential energy − neutral atoms (eV)')
        figure.legend(loc='outside upper center', ncols=5)
    return Path(output)
