"""Errors of the elements of predicted Hamiltonians, by what they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiida_hamlr.plotting.style import COLOURS, drawing


def plot_errors(errors: Mapping, path: str | Path) -> Path:
    """Draw mean absolute errors by pairs of species, by pairs of angular momenta and by distance.

    Parameters
    ----------
    errors : mapping
        ``mae_by_species``, ``mae_by_shells``, ``mae_by_distance`` and ``mae_onsite_meV`` of `evaluate`, meV.
    path : path
        PNG, SVG or PDF file, by its suffix.
    """
    bars = [
        ('species', {name: entry['mae_meV'] for name, entry in errors['mae_by_species'].items()}),
        ('angular momenta', {name: entry['mae_meV'] for name, entry in errors['mae_by_shells'].items()}),
        (
            'distance (Å)',
            {'on-site': errors['mae_onsite_meV']}
            | {f'{e["from_angstrom"]:.1f}-{e["to_angstrom"]:.1f}': e['mae_meV'] for e in errors['mae_by_distance']},
        ),
    ]
    with drawing(path, 9.5, 3.6) as figure:
        panels = figure.subplots(1, 3, width_ratios=[max(3, len(values)) for _, values in bars])
        for axes, (title, values), colour in zip(panels, bars, COLOURS, strict=False):
            axes.bar(list(values), list(values.values()), color=colour, width=0.7)
            axes.tick_params(axis='x', rotation=60)
            axes.set_xlabel(title)
        panels[-1].set_yscale('log')
        panels[0].set_ylabel('Mean absolute error (meV)')
    return Path(path)
