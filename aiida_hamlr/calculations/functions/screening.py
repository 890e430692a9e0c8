"""One table of the results of many predictions."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aiida.engine import calcfunction
from aiida.orm import Dict, FolderData, SinglefileData

from aiida_hamlr.jobs.results import DONE, RESULTS, read_results
from aiida_hamlr.jobs.tables import format_table, make_row

__all__ = ('collect_results', 'read_rows')

#: Columns that the links of a node tell already, or that are of no use in the database.
OMITTED = ('label', 'status', 'source', 'inputs_sha256')


@calcfunction
def collect_results(structures: Dict, models: Dict, jobs: Dict, **retrieved: FolderData) -> SinglefileData:
    """Return a table in CSV with one row for each structure.

    :param structures: by the label of each structure, the entries that its row begins with.
    :param models: for each model, by label, the reasons of structures without a result.
    :param jobs: for each job, by label, its ``model`` and its ``structures``: their labels by those in the job.
    :param retrieved: what was retrieved of each job, by its label. A link to each number would take minutes.
    """
    failures, found = models.get_dict(), {}
    for label, job in jobs.get_dict().items():
        for name, row in read_rows(retrieved[label]).items():
            if name in job['structures']:
                found.setdefault(job['structures'][name], {})[job['model']] = row
    table = []
    for label, about in structures.get_dict().items():
        reasons = {model: each[label] for model, each in failures.items() if label in each}
        table.append(make_row(about, len(failures), found.get(label, {}), reasons))
    return SinglefileData.from_string(format_table(table), 'results.csv')


def read_rows(retrieved: FolderData) -> dict[str, dict]:
    """Return the numbers of all structures that a job has done, by their labels in the job.

    :raises ValueError: if the table of the job is damaged.
    """
    if RESULTS not in retrieved.base.repository.list_object_names():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RESULTS
        path.write_bytes(retrieved.base.repository.get_object_content(RESULTS, 'rb'))
        rows = read_results(path)
    return {
        row['label']: {key: value for key, value in row.items() if key not in OMITTED}
        for row in rows
        if row.get('status') == DONE
    }
