"""Steps of active learning: which structures to compute next, and the record of a round."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from aiida.engine import ExitCode, calcfunction
from aiida.orm import Dict, QueryBuilder, SinglefileData, StructureData

from aiida_hamlr.data.structures import get_atoms
from aiida_hamlr.electronic.fingerprints import fingerprints
from aiida_hamlr.electronic.selection import select_uncertain

__all__ = ('record_round', 'select_structures')

#: Most uncertain structures that are compared with each other, for each one to choose: the rest cannot matter much.
CANDIDATES_EACH = 50


@calcfunction
def select_structures(table: SinglefileData, settings: Dict) -> Dict:
    """Return which structures to compute next, by UUID, and how uncertain a model is of all candidates.

    :param table: the results of a screening.
    :param settings: ``column`` with the uncertainty in the table, meV; the ``number`` of structures to select; UUIDs of
        structures ``known`` or failed, which are not selected.
    """
    chosen = settings.get_dict()
    known, column = set(chosen['known']), chosen['column']
    rows = [row for row in csv.DictReader(io.StringIO(table.get_content())) if row.get(column)]
    rows = [row for row in rows if row['structure'] not in known]
    if not rows:
        return ExitCode(400, f'the table has no structure with {column} that is not known')
    values = np.array([float(row[column]) for row in rows])
    most = np.argsort(-values, kind='stable')[: CANDIDATES_EACH * chosen['number']]
    nodes = _load([rows[index]['structure'] for index in most])
    picked = select_uncertain(values[most], fingerprints([get_atoms(node) for node in nodes]), chosen['number'])
    finite = values[np.isfinite(values)]
    return Dict(
        {
            'column': column,
            'structures': [nodes[index].uuid for index in picked],
            'uncertainties_meV': [_number(values[most][index]) for index in picked],
            'n_candidates': len(rows),
            'uncertainty_mean_meV': float(finite.mean()) if len(finite) else None,
            'uncertainty_max_meV': _number(values.max()),
            # Few unusual ones are expected; many say that the candidates are not what the model learns.
            'n_unusual_distances': sum(row.get('n_unusual_distances', '0') not in ('', '0') for row in rows),
        }
    )


@calcfunction
def record_round(numbers: Dict, selection: Dict | None = None, **trainings: Dict) -> Dict:
    """Return the record of a round: errors of its models, and what they were uncertain of.

    :param numbers: entries that the record begins with: number of the round, of references and others.
    :param selection: of `select_structures`, for all rounds but the last.
    :param trainings: summaries of the trainings of the models; errors are means over them.
    """
    record = numbers.get_dict()
    summaries = [node.get_dict() for node in trainings.values()]
    for key in sorted({key for summary in summaries for key in summary}):
        values = [summary[key] for summary in summaries if isinstance(summary.get(key), int | float)]
        if key.startswith(('validation_', 'test_')) and key.endswith('_meV') and len(values) == len(summaries):
            record[key] = fmean(values)
    if selection is not None:
        content = selection.get_dict()
        record |= {f'candidates_{key}': value for key, value in content.items() if key.startswith('uncertainty_')}
        record |= {'n_candidates': content['n_candidates'], 'selected': content['structures']}
        record['selected_uncertainties_meV'] = content['uncertainties_meV']
    return Dict(record)


def _load(uuids: Sequence[str]) -> list[StructureData]:
    """Return structures in the order of their UUIDs."""
    query = QueryBuilder().append(StructureData, filters={'uuid': {'in': list(uuids)}})
    nodes = {node.uuid: node for node in query.all(flat=True)}
    return [nodes[uuid] for uuid in uuids]


def _number(value: float) -> float | None:
    """Return a number that a database can store; none for an infinite one."""
    return float(value) if math.isfinite(value) else None
