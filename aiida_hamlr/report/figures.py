"""Interactive figures as plotly's ``data`` and ``layout``: plain dictionaries, with the colours of other figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.plotting.bands import path_segments, path_ticks, split_index
from aiida_hamlr.plotting.style import COLOURS
from aiida_hamlr.plotting.zero import Levels
from aiida_hamlr.report.page import Figure

__all__ = ('bands_figure', 'bar_figure', 'dos_figure', 'gaps_figure', 'learning_figure', 'scatter_figure')

_GRID = '#e4e4e4'

#: How far the energies that are shown at first reach, eV, see `Levels.window`; the reader may zoom out.
REACH = 8.0

#: Decimals of energies in the file, eV; a line needs no more.
_DECIMALS = 4

_DASHES = ('solid', 'dash', 'dot', 'dashdot')


def layout(x: str, y: str, **changes) -> dict:
    """Layout of a figure with named axes; `changes` are keys of plotly such as ``xaxis``, which are merged."""
    axis = {'gridcolor': _GRID, 'zeroline': False, 'showline': True, 'linecolor': '#9a9a9a', 'automargin': True}
    result = {
        'xaxis': {**axis, 'title': {'text': x}},
        'yaxis': {**axis, 'title': {'text': y}},
        'margin': {'l': 70, 'r': 20, 't': 30, 'b': 50},
        'paper_bgcolor': 'white',
        'plot_bgcolor': 'white',
        'legend': {'orientation': 'h', 'y': 1.02, 'yanchor': 'bottom', 'x': 0},
        'hovermode': 'closest',
    }
    for key, value in changes.items():
        result[key] = {**result[key], **value} if isinstance(result.get(key), dict) else value
    return result


def bands_figure(sets: Mapping[str, Bands], caption: str) -> Figure:
    """Bands along one path, each set with its zero at its valence band maximum or, of a metal, its Fermi level."""
    traces = []
    for number, (name, bands) in enumerate(sets.items()):
        zero = Levels.of_bands(bands).of('edge')
        for spin, energies in enumerate(bands.eigenvalues):
            x, y = _lines(bands, energies - zero)
            suffix = ('', ' (spin up)', ' (spin down)')[spin + 1 if len(bands.eigenvalues) == 2 else 0]
            colour = COLOURS[(number + spin) % len(COLOURS)]
            traces.append(
                {
                    'type': 'scatter',
                    'mode': 'lines',
                    'name': escape(name + suffix),
                    'x': x,
                    'y': y,
                    'line': {'color': colour, 'width': 2.2 - 0.6 * number, 'dash': _DASHES[number % len(_DASHES)]},
                    'hovertemplate': '%{y:.3f} eV',
                    'showlegend': len(sets) > 1 or len(bands.eigenvalues) == 2,
                }
            )
    first = next(iter(sets.values()))
    ticks = path_ticks(first)
    symbol = 'E<sub>VBM</sub>' if first.attributes.gap else 'E<sub>F</sub>'
    xaxis = {
        'tickvals': [tick.position for tick in ticks],
        'ticktext': ['<br>' * tick.row + '|'.join(map(_plain_label, tick.names)) for tick in ticks],
    }
    xaxis |= {'range': [float(first.distances[0]), float(first.distances[-1])], 'gridcolor': '#9a9a9a'}
    shapes = [{'type': 'line', 'xref': 'paper', 'x0': 0, 'x1': 1, 'y0': 0, 'y1': 0, 'line': {'color': '#9a9a9a'}}]
    content = {
        'data': traces,
        'layout': layout(
            'Wave vector',
            f'Energy − {symbol} (eV)',
            xaxis=xaxis,
            yaxis={'range': list(Levels.of_bands(first).window('edge', REACH))},
            shapes=shapes,
        ),
    }
    return Figure(content, caption, height=520)


def _lines(bands: Bands, energies: np.ndarray) -> tuple[list, list]:
    """All bands as one line, broken between bands and at jumps of the path."""
    x, y = [], []
    for band in np.round(energies, _DECIMALS).T:
        for start, stop in path_segments(bands.distances):
            x += [*np.round(bands.distances[start:stop], 5).tolist(), None]
            y += [*band[start:stop].tolist(), None]
    return x, y


def _plain_label(label: str) -> str:
    """A special point with an index below the line, in plotly's markup."""
    name, index = split_index(label)
    return f'{escape(name)}<sub>{index}</sub>' if index else escape(name)


def dos_figure(energies: np.ndarray, columns: Mapping[str, np.ndarray], levels: Levels) -> Figure:
    """Densities of states over the energy from the valence band maximum or Fermi level, eV; spin down is below zero."""
    traces, zero = [], levels.of('edge')
    for number, (name, values) in enumerate(columns.items()):
        sign = -1.0 if name.endswith('down') else 1.0
        traces.append(
            {
                'type': 'scatter',
                'mode': 'lines',
                'name': escape(name),
                'x': np.round(energies - zero, _DECIMALS).tolist(),
                'y': np.round(sign * values, 5).tolist(),
                'line': {'color': COLOURS[number % len(COLOURS)], 'width': 1.6},
                'fill': 'tozeroy' if number == 0 else 'none',
                'showlegend': len(columns) > 1,
            }
        )
    title, counts_from = {
        'vbm': ('Energy − E<sub>VBM</sub> (eV)', 'valence band maximum'),
        'fermi': ('Energy − E<sub>F</sub> (eV)', 'Fermi level'),
        'none': ('Energy (eV)', 'stored zero'),
    }[levels.resolve('edge')]
    content = {
        'data': traces,
        'layout': layout(title, 'States per eV and cell', xaxis={'range': list(levels.window('edge', REACH))}),
    }
    return Figure(content, f'Density of states; energies count from the {counts_from}.')


def log_axis(values: Sequence[float]) -> dict:
    """Keys of a logarithmic axis whose labels are whole numbers: at least two of them, and not ten for each decade."""
    positive = [value for value in values if value > 0] or [1.0]
    decades = np.log10(max(positive) / min(positive))
    return {'type': 'log', 'dtick': 'D1' if decades < 1 else 'D2' if decades < 2.5 else 1, 'tickformat': '~g'}


def learning_figure(columns: Mapping[str, np.ndarray], caption: str) -> Figure:
    """Mean absolute error of H over the epochs, on a logarithmic axis."""
    names = {'train_mae_meV': 'training', 'validation_mae_meV': 'validation'}
    traces = []
    for number, (key, name) in enumerate(names.items()):
        values = np.asarray(columns.get(key, []), dtype=float)
        known = np.isfinite(values)
        if known.any():
            epochs = np.asarray(columns['epoch'], dtype=float)[known]
            trace = {'type': 'scatter', 'mode': 'lines+markers', 'name': name, 'marker': {'size': 4}}
            line = {'color': COLOURS[number], 'width': 1.6}
            traces.append(trace | {'x': epochs.tolist(), 'y': values[known].tolist(), 'line': line})
    axis = log_axis([value for trace in traces for value in trace['y']])
    axes = layout('Epoch', 'Mean absolute error of H (meV)', yaxis=axis)
    return Figure({'data': traces, 'layout': axes}, caption)


def bar_figure(values: Mapping[str, float], x: str, y: str, caption: str, log: bool = False) -> Figure:
    """Bars by name."""
    trace = {'type': 'bar', 'x': [escape(name) for name in values], 'y': list(values.values())}
    axis = log_axis(list(values.values())) if log else {'type': 'linear'}
    axes = layout(x, y, xaxis={'type': 'category'}, yaxis=axis)
    return Figure({'data': [trace | {'marker': {'color': COLOURS[0]}}], 'layout': axes}, caption, height=360)


def gaps_figure(gaps: Mapping[str, Sequence[float]], caption: str) -> Figure:
    """Histograms of band gaps, eV, by the name of a set."""
    traces = [
        {'type': 'histogram', 'x': list(values), 'name': escape(name), 'marker': {'color': colour}, 'opacity': 0.75}
        for (name, values), colour in zip(gaps.items(), COLOURS, strict=False)
    ]
    axes = layout('Band gap (eV)', 'Structures', barmode='stack', showlegend=len(gaps) > 1)
    return Figure({'data': traces, 'layout': axes}, caption, height=360)


def scatter_figure(points: Mapping[str, tuple[float, float]], x: str, y: str, caption: str) -> Figure:
    """One dot for each name, which is shown when the pointer is over it."""
    trace = {
        'type': 'scatter',
        'mode': 'markers',
        'x': [float(point[0]) for point in points.values()],
        'y': [float(point[1]) for point in points.values()],
        'text': [escape(name) for name in points],
        'hovertemplate': '%{text}<br>%{x:.3f}, %{y:.3f}<extra></extra>',
        'marker': {'color': COLOURS[0], 'size': 7, 'opacity': 0.75},
    }
    return Figure({'data': [trace], 'layout': layout(x, y)}, caption, height=380)
