"""Tables of the results of many structures: one row for each, with mean and spread where several models predict it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.jobs.results import DONE, FAILED, format_rows

#: What a table has the mean and the spread of, where several models predict a structure.
AVERAGED = ('gap_eV', 'direct_gap_eV', 'vbm_eV', 'cbm_eV', 'fermi_level_eV', 'uncertainty_meV', 'uncertainty_max_meV')

#: Columns at the beginning of a table.
FIRST = ('structure', 'label', 'formula', 'n_atoms', 'status', 'n_models')

#: What a mean of several models does not have.
_OF_ONE_MODEL = (*AVERAGED, 'spin_gaps_eV', 'vbm_kpoint', 'cbm_kpoint', 'prediction_s', 'solution_s')

#: Status of a structure that some model has not predicted yet.
WAITING = 'waiting'


def make_row(
    about: Mapping, n_models: int, results: Mapping[str, Mapping], failures: Mapping[str, str] | None = None
) -> dict:
    """The row of one structure.

    With several models, energies are means over the models that predict it; a column ``gap_spread_eV`` has the
    standard deviation (of a sample), ``NAME.gap_eV`` the value of each model.

    Parameters
    ----------
    about : mapping
        What tells the structure.
    n_models : int
        Number of models that were asked.
    results : mapping
        Values by column, by the name of the model.
    failures : mapping, optional
        Reasons of models that do not predict it, by name.
    """
    failures = {name: reason for name, reason in (failures or {}).items() if name not in results}
    row: dict = {}
    for each in results.values():
        row |= each
    row |= about
    if n_models > 1:
        row['n_models'] = len(results)
        for name in _OF_ONE_MODEL:
            row.pop(name, None)
        for name in AVERAGED:
            values = {model: each[name] for model, each in results.items() if each.get(name) is not None}
            if values:
                row[name] = fmean(values.values())
            if len(values) > 1:
                row[spread_of(name)] = stdev(values.values())
            row |= {f'{model}.{name}': value for model, value in values.items()}
    row['status'] = DONE if len(results) == n_models else FAILED if failures else WAITING
    if failures:
        row['reason'] = '; '.join(sorted(set(failures.values())))
    return row


def spread_of(column: str) -> str:
    """Name of the column with the standard deviation of another; the unit stays at the end."""
    name, _, unit = column.rpartition('_')
    return f'{name}_spread_{unit}'


def table_columns(table: Sequence[Mapping]) -> list[str]:
    """Columns that some row has, those that tell the structure first."""
    used = dict.fromkeys(key for row in table for key in row)
    return [name for name in FIRST if name in used] + [name for name in used if name not in FIRST]


def format_table(table: Sequence[Mapping]) -> str:
    """A table as CSV, with all digits; the unit of a column is at the end of its name."""
    columns = table_columns(table)
    return format_rows([dict(zip(columns, columns, strict=True)), *table], columns)


def write_table(path: str | Path, table: Sequence[Mapping]):
    """Write a table as CSV, under a temporary name first; see `format_table`."""
    with atomic_path(path) as temporary:
        temporary.write_text(format_table(table), encoding='utf-8', newline='')
