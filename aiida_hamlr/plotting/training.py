"""Learning curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from aiida_hamlr.plotting.style import COLOURS, drawing

#: Columns of metrics.csv that are drawn, and how.
TRAINING, VALIDATION = 'train_mae_meV', 'validation_mae_meV'
_LINES = {
    TRAINING: ('training', {'linestyle': '--', 'linewidth': 1.0, 'alpha': 0.7}),
    VALIDATION: ('validation', {'linestyle': '-', 'marker': 'o', 'markersize': 3.0}),
}


def plot_training(
    runs: Mapping[str, str | Path | Mapping[str, np.ndarray]], output: str | Path, title: str | None = None
) -> Path:
    """Draw the mean absolute error of the Hamiltonian over the epochs of one or more trainings.

    Parameters
    ----------
    runs : mapping of str to a metrics.csv or to its columns
        By name, as in {'with long range': 'run/metrics.csv'}. Columns ``epoch``, ``train_mae_meV`` and
        ``validation_mae_meV``; entries that were not logged are empty or NaN.
    output : path
        PNG, SVG or PDF file, by its suffix.
    title : str, optional
        Above the axes.

    Raises
    ------
    ValueError
        If a file is missing, cannot be read or holds none of the columns.
    """
    curves = {name: run if isinstance(run, Mapping) else read_metrics(run) for name, run in runs.items()}
    with drawing(output, 6.4, 4.0) as figure:
        axes = figure.add_subplot()
        for (name, columns), colour in zip(curves.items(), COLOURS, strict=False):
            drawn = 0
            for column, (kind, style) in _LINES.items():
                values = np.asarray(columns.get(column, []), dtype=float)
                known = np.isfinite(values)
                if known.any():
                    label = f'{name}, {kind}' if len(curves) > 1 else kind
                    axes.plot(np.asarray(columns['epoch'])[known], values[known], color=colour, label=label, **style)
                    drawn += 1
            if not drawn:
                raise ValueError(f'{name}: neither {TRAINING} nor {VALIDATION} to draw')
        axes.set_yscale('log')
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel('Epoch')
        axes.set_ylabel('Mean absolute error of H (meV)')
        axes.grid(True, which='major', color='#e4e4e4', linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend()
        if title:
            axes.set_title(title)
    return Path(output)


def read_metrics(path: str | Path) -> dict[str, np.ndarray]:
    """Columns of a metrics.csv; what was not logged in a row is NaN.

    Raises
    ------
    ValueError
        If the file is missing, empty or not a table of numbers.
    """
    try:
        with open(path, newline='', encoding='utf-8') as stream:
            rows = list(csv.DictReader(stream))
        if not rows or 'epoch' not in rows[0]:
            raise ValueError('no rows, or no column "epoch"')
        return {name: np.array([float(row[name] or 'nan') for row in rows]) for name in rows[0] if name}
    except OSError as error:
        raise ValueError(f'{path}: {error.strerror}') from error
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f'{path}: not a table of metrics: {error}') from error
