"""One table of the results of many predictions."""

from __future__ import annotations

from aiida.engine import calcfunction
from aiida.orm import Dict, SinglefileData

from aiida_hamlr.jobs.tables import format_table, make_row

__all__ = ('collect_results',)


@calcfunction
def collect_results(structures: Dict, models: Dict, **results: Dict) -> SinglefileData:
    """Return a table in CSV with one row for each structure.

    :param structures: by the label of each structure, the entries that its row begins with.
    :param models: for each model, by label, the reasons of structures without a result.
    :param results: numbers of structures, by the labels of model and structure with an underscore between.
    """
    failures, found = models.get_dict(), {key: node.get_dict() for key, node in results.items()}
    table = []
    for label, about in structures.get_dict().items():
        rows = {model: found[f'{model}_{label}'] for model in failures if f'{model}_{label}' in found}
        reasons = {model: each[label] for model, each in failures.items() if label in each}
        table.append(make_row(about, len(failures), rows, reasons))
    return SinglefileData.from_string(format_table(table), 'results.csv')
