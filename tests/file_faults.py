"""Faults of the drill that happen to files while a job runs: no room, a limit of their size, damage, odd bytes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from aiida import orm
from loopback_cluster import wait_until

from aiida_hamlr.cli.installation import EXECUTABLES, find_executable

if TYPE_CHECKING:
    from fault_drill import Drill

#: Longest time in s that a work chain takes which has no room.
LIMIT = 900

#: The code that each job runs with.
CODES = {
    'pw': 'pw',
    'potential': 'pp',
    'basis': 'hamlr',
    'reconstruct': 'hamlr',
    'train': 'hamlr',
    'predict': 'hamlr',
}

#: The shell that starts the executable sets the limit of the size of a file, in units of 1024 bytes. Python must not
#: write bytecode then: it does not notice that only a part was written, and stumbles over it in later runs.
SIZE_LIMIT = 'export PYTHONDONTWRITEBYTECODE=1\nulimit -f 4'

#: Latin-1 and null characters, on both streams, as old module systems write them.
ODD_BYTES = "printf 'Module f\\374r \\377\\376\\000\\n' | tee /dev/stderr"

_numbers = count()


def make_code(computer: orm.Computer, label: str, prepend_text: str, append_text: str = '') -> orm.InstalledCode:
    """Return a code on a cluster that is this machine, with commands before and after each run."""
    name, plugin = EXECUTABLES[label]
    return orm.InstalledCode(
        label=f'{label}-{next(_numbers)}',
        computer=computer,
        filepath_executable=str(find_executable(name)),
        default_calc_job_plugin=plugin,
        prepend_text=prepend_text,
        append_text=append_text,
    ).store()


def submit_job(drill: Drill, job: str, codes: dict, faulty: orm.Code) -> orm.WorkChainNode:
    """Submit the work chain that runs a kind of job with a code that is not as it should be."""
    if job == 'train':
        return drill.submit_training(code=faulty, waits=False)
    if job == 'predict':
        return drill.submit_prediction(faulty)
    # One reference after the other, for they share the room.
    return drill.submit_dataset(
        2, codes={**codes, CODES[job]: faulty}, generates_basis=job == 'basis', max_concurrent=orm.Int(1)
    )


def fill_disk(job: str, drill: Drill) -> orm.WorkChainNode:
    """The file system is full from just before the executable starts until it has ended."""
    with drill.mount_small() as (codes, _, _):
        computer = codes['hamlr'].computer
        ballast = f'{computer.get_workdir()}/ballast'
        faulty = make_code(computer, CODES[job], f'cat /dev/zero > {ballast} 2> /dev/null', f'rm {ballast}')
        node = submit_job(drill, job, codes, faulty)
        wait_until(lambda: node.is_terminated, 'the work chain ends', LIMIT, 0.5)
    return node


def fill_disk_of_training(drill: Drill) -> orm.WorkChainNode:
    """The file system fills up while the network trains, when it has written checkpoints."""
    with drill.mount_small() as (codes, fill, _):
        node = drill.submit_training(code=codes['hamlr'])
        fill()
        wait_until(lambda: node.is_terminated, 'the work chain ends', LIMIT, 0.5)
    return node


def limit_size(job: str, drill: Drill) -> orm.WorkChainNode:
    """No file may be larger than 4 kB."""
    faulty = make_code(drill.codes['hamlr'].computer, CODES[job], SIZE_LIMIT)
    return submit_job(drill, job, drill.codes, faulty)


def write_odd_bytes(label: str, drill: Drill) -> orm.WorkChainNode:
    """What runs before the executable prints bytes that are not UTF-8."""
    faulty = make_code(drill.codes['hamlr'].computer, label, ODD_BYTES)
    return drill.submit_dataset(2, codes={**drill.codes, label: faulty}, generates_basis=True)


def break_checkpoints(number: int, drill: Drill) -> orm.WorkChainNode:
    """The last checkpoint, or the last and the best, loses its second half before the training is killed."""
    node = drill.submit_training()
    drill.signal_training(signal.SIGSTOP)
    for path in drill.find_checkpoints(node)[:number]:
        with path.open('r+b') as stream:
            stream.truncate(path.stat().st_size // 2)
    drill.signal_training(signal.SIGKILL)
    return node


#: Title, cause, what must be said, and a process of another package that aiida-core leaves excepted.
FILE_FAULTS: dict[str, tuple[str, Callable] | tuple[str, Callable, str] | tuple[str, Callable, str, str]] = {
    **{
        # What Quantum ESPRESSO and its parsers say is theirs.
        f'full-{job}': (f'file system full when {job} runs', partial(fill_disk, job), 'disk' * (code == 'hamlr'))
        for job, code in CODES.items()
    },
    'full-training': ('file system full after the first checkpoints', fill_disk_of_training, 'disk'),
    **{f'limit-{job}': (f'no file above 4 kB when {job} runs', partial(limit_size, job)) for job in CODES},
    'broken-checkpoint': ('last checkpoint truncated', partial(break_checkpoints, 1), 'resuming from'),
    'broken-checkpoints': ('last and best checkpoint truncated', partial(break_checkpoints, 2), 'damaged checkpoint'),
    'odd-bytes': ('bytes that are not UTF-8 on both streams of `hamlr`', partial(write_odd_bytes, 'hamlr')),
    'odd-bytes-pw': ('such bytes on the streams of `pw.x`', partial(write_odd_bytes, 'pw'), '', 'PwCalculation'),
}
