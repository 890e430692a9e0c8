"""`results.csv`: one row for each structure of a prediction, written as the structures are done."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.reading import read_text, shortened

#: Written into the output folder of a prediction.
RESULTS = 'results.csv'

#: Values of the column ``status``.
DONE, FAILED = 'done', 'failed'

#: Columns with the type of their values; the unit is at the end of a name. Energies in the gauge of the model.
COLUMNS = {
    'label': str,
    'formula': str,
    'n_atoms': int,
    'n_orbitals': int,
    'n_electrons': float,
    'status': str,
    'gap_eV': float,
    'direct_gap_eV': float,
    'spin_gaps_eV': list,
    'vbm_eV': float,
    'cbm_eV': float,
    'fermi_level_eV': float,
    'vbm_kpoint': list,
    'cbm_kpoint': list,
    'kpoints': list,
    'n_ghost_states': int,
    'magnetization_muB': float,
    'uncertainty_meV': float,
    'uncertainty_max_meV': float,
    'committee_spread_meV': float,
    'committee_spread_max_meV': float,
    'level_spread_meV': float,
    'gap_spread_eV': float,
    'n_unusual_distances': int,
    'warnings': str,
    'reason': str,
    'prediction_s': float,
    'solution_s': float,
    'source': str,
    'inputs_sha256': str,
}

#: Largest table that is read, bytes: some millions of structures.
LARGEST_TABLE = 2_000_000_000


class ResultsWriter:
    """Appends rows to ``results.csv``; after an interruption all complete lines are valid.

    Parameters
    ----------
    path : path
        The table; one that is there is replaced.
    rows : iterable of dict
        Rows that are known already.
    """

    def __init__(self, path: Path, rows: Iterable[Mapping] = ()):
        write_results(path, rows)
        self._stream = path.open('a', encoding='utf-8', newline='')

    def add(self, row: Mapping):
        """Append a row, at once."""
        self._stream.write(format_rows([row]))
        self._stream.flush()

    def __enter__(self) -> ResultsWriter:
        return self

    def __exit__(self, *_):
        self._stream.close()


def write_results(path: str | Path, rows: Iterable[Mapping]):
    """Write a table of rows (values by column; others are left out), under a temporary name first."""
    with atomic_path(path) as temporary:
        temporary.write_text(','.join(COLUMNS) + '\n' + format_rows(rows), encoding='utf-8', newline='')


def format_rows(rows: Iterable[Mapping], columns: Iterable[str] = tuple(COLUMNS)) -> str:
    """Lines of a CSV table; numbers are written with all digits, missing values are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerows([_text(row.get(name)) for name in columns] for row in rows)
    return stream.getvalue()


def read_results(path: str | Path) -> list[dict]:
    """Rows of ``results.csv``; empty values are left out, and so is a last line that was cut off.

    Raises
    ------
    ValueError
        If it is no such table.
    """
    text = read_text(path, LARGEST_TABLE)
    complete = text[: text.rfind('\n') + 1]
    try:
        header, *lines = list(csv.reader(io.StringIO(complete), strict=True))
    except (ValueError, csv.Error) as error:
        raise ValueError(f'{path}: no table of results: {error}') from error
    unknown = sorted(set(header) - set(COLUMNS))
    if unknown or 'label' not in header or len(set(header)) < len(header):
        raise ValueError(f'{path}: no table of results; its columns are {shortened(", ".join(header))}')
    rows = []
    for number, values in enumerate(lines, 2):
        try:
            row = {name: _value(name, text) for name, text in zip(header, values, strict=True) if text}
        except ValueError as error:
            raise ValueError(f'{path}: row {number} is damaged: {error}') from error
        rows.append(row)
    return rows


def _text(value) -> str:
    if value is None:
        return ''
    if isinstance(value, str):
        return ' '.join(value.split())
    if isinstance(value, list | tuple):
        texts = all(isinstance(entry, str) for entry in value)
        return '; '.join(value) if texts else json.dumps(list(value))
    return repr(value.item() if hasattr(value, 'item') else value)


def _value(name: str, text: str):
    kind = COLUMNS[name]
    if kind is not list:
        return kind(text)
    values = json.loads(text)
    if not isinstance(values, list):
        raise ValueError(f'{name} is {shortened(text)}')
    return [float(value) for value in values]
