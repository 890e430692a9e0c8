"""Reading the files that the executable wrote, without AiiDA."""

from __future__ import annotations

import csv
import io
import re
import signal

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.reading import parse_json
from aiida_hamlr.electronic.species import species_labels

__all__ = (
    'EXIT_LABELS',
    'SIGNALLED',
    'find_difference',
    'find_exit_label',
    'find_reason',
    'parse_metrics',
    'parse_status',
    'parse_summary',
)

#: Exit statuses above this are those of the shell for a process ended by a signal.
SIGNALLED = 128

#: Text in the job's stderr if the kernel ended a process because of its memory, and if the disk is full.
OUT_OF_MEMORY = ('oom_kill', 'oom-kill', 'exceeded memory limit')
NO_SPACE = 'No space left on device'

#: Largest difference in Å of positions and cell vectors of a structure that is the same.
SAME_POSITION = 1e-3

#: Exit statuses of `hamlr` and the labels of the corresponding exit codes.
EXIT_LABELS = {
    2: 'ERROR_BAD_INPUT',
    3: 'ERROR_OUT_OF_WALLTIME',
    4: 'ERROR_NUMERICAL',
    5: 'ERROR_OUT_OF_MEMORY',
    6: 'ERROR_NO_GPU',
    7: 'ERROR_DISK_FULL',
    # The kernel kills when the memory is exhausted; an operator may terminate.
    SIGNALLED + signal.SIGKILL: 'ERROR_KILLED',
    SIGNALLED + signal.SIGTERM: 'ERROR_KILLED',
}


def find_exit_label(status: int | None, stderr: str, is_empty: bool = False) -> str | None:
    """Return the label of the exit code for an exit status of the executable, or nothing if there is no such label.

    SLURM writes to the job's stderr if it killed a process because of its memory.

    :param is_empty: whether the file of the status is there and empty: the shell made it, but had no room to write.
    """
    if status == SIGNALLED + signal.SIGKILL and any(words in stderr for words in OUT_OF_MEMORY):
        return 'ERROR_OUT_OF_MEMORY'
    if status is None:
        # Either the status could not be written to a full disk, or the whole job script was killed.
        return 'ERROR_DISK_FULL' if is_empty or NO_SPACE in stderr else 'ERROR_KILLED'
    return EXIT_LABELS.get(status)


def parse_status(text: str | None) -> int | None:
    """Return the exit status that the shell wrote, or nothing if it wrote none."""
    found = re.fullmatch(r'\s*([0-9]{1,3})\s*', text or '')
    return int(found[1]) if found else None


def find_difference(found: Atoms, expected: Atoms) -> str | None:
    """Return in what two structures differ, or nothing; positions may differ by lattice vectors."""
    if len(found) != len(expected):
        return f'{len(found)} atoms instead of {len(expected)}'
    for index, (label, other) in enumerate(zip(species_labels(found), species_labels(expected), strict=True)):
        if label != other:
            return f'atom {index} (counted from 0) is {label} instead of {other}'
    if np.abs(found.cell[:] - expected.cell[:]).max() > SAME_POSITION:
        return 'its cell is another'
    fractions = np.linalg.solve(expected.cell[:].T, (found.positions - expected.positions).T).T
    shifts = np.linalg.norm((fractions - np.round(fractions)) @ expected.cell[:], axis=1)
    if shifts.max() > SAME_POSITION:
        return f'atom {shifts.argmax()} (counted from 0) is {shifts.max():.3g} Å away'
    return None


def find_reason(stderr: str, length: int = 400) -> str:
    """Return the line of stderr that says why the executable ended: the last line not written by the shell or MPI."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith('hamlr')] or [
        line for line in lines if not line.startswith(('---', 'mpirun', 'srun', 'slurmstepd', 'Warning'))
    ]
    return (told or lines or ['no message'])[-1][:length]


def parse_summary(text: str) -> dict:
    """Return the content of a ``summary.json``.

    Raises
    ------
    ValueError
        If it is not a JSON object.
    """
    summary = parse_json(text, 'summary.json')
    if not isinstance(summary, dict):
        raise ValueError('not a JSON object')
    return _finite(summary)


def parse_metrics(text: str) -> dict[str, np.ndarray]:
    """Return the columns of a ``metrics.csv``, each as an array; values that were not logged are NaN.

    Columns without any value, such as errors of bands when the training did not compute them, are left out.

    Raises
    ------
    ValueError
        If it is not a table, or a number cannot be read.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(f'not a table: {error}') from error
    if not rows:
        raise ValueError('no rows')
    columns = [name for name in rows[0] if name and any(row[name] not in ('', None, 'nan') for row in rows)]
    return {name: np.array([float(row[name]) if row[name] else np.nan for row in rows]) for name in columns}


def _finite(value):
    """Replace what a database cannot store: NaN and infinity by null, odd characters by a mark."""
    if isinstance(value, dict):
        return {_storable(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return float(value) if abs(value) < 1e300 else None
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _storable(text: str) -> str:
    """Replace null characters and halves of characters."""
    return text.replace('\0', '\ufffd').encode(errors='replace').decode()
