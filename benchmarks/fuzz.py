"""Damaged files of all formats, and damaged folders that jobs have left: what becomes of them.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py --mutations 3000 --json fuzz.json

damages whole files in as many ways, each read in a process with bounded time and memory, and prints a table on standard
error. With pw.x, pp.x and ph.x the files of Quantum ESPRESSO are included, alone and as what a Hamiltonian is made of.
``--json`` is written after every format; the same command continues where it was interrupted. A mutation is

refused
    in one line that names the file, or with a documented exit code,
whole
    if what is read is what was written; of a reference, if its levels are those of whole files to 2 meV,
other
    if something else is read: a file without a digest may be another sound file,
silent
    if something else is read although a digest covers the content, or other files tell what it must be,
traceback, hang, crash
    if the reader ends in any other way.

The exit status is 1 if any is silent, a traceback, a hang or a crash.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'tests'), str(ROOT / 'benchmarks')]

from _report import report  # noqa: E402
from fuzz_formats import (  # noqa: E402
    REFUSED,
    Format,
    cp2k_formats,
    exchange_formats,
    foreign_formats,
    model_formats,
    our_formats,
    qe_formats,
    retrieved_formats,
)

#: Processor time of one reader, s, the longest that it may wait, s, and most memory that it may take besides that of
#: this program, bytes.
SECONDS, LONGEST, MEMORY = 60, 1800, 4 * 2**30

#: Exit statuses of the processes that read, by what became of the mutation.
STATUSES = {'whole': 0, 'refused': 10, 'other': 11, 'traceback': 12}

BAD = ('silent', 'traceback', 'hang', 'crash')


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Cut, flip bits, drop, repeat, overwrite, exchange numbers or append."""
    kind = generator.choice(
        ['cut', 'flip', 'flip', 'flip', 'drop', 'repeat', 'zero', 'noise', 'digit', 'append', 'empty']
    )
    start, length = generator.randrange(len(data)), generator.randint(1, 200)
    if kind == 'empty':
        return b''
    if kind == 'cut':
        return data[:start]
    if kind == 'append':
        return data + generator.randbytes(length)
    changed = bytearray(data)
    if kind == 'flip':
        for _ in range(generator.randint(1, 4)):
            changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    elif kind == 'digit':
        digits = [index for index in range(start, min(start + 2000, len(data))) if 48 <= data[index] < 58]
        for index in generator.sample(digits, min(3, len(digits))):
            changed[index] = 48 + generator.randrange(10)
    else:
        middle = {
            'drop': b'',
            'repeat': 2 * data[start : start + length],
            'zero': bytes(len(data[start : start + length])),
            'noise': generator.randbytes(length),
        }[kind]
        changed[start : start + length] = middle
    return bytes(changed)


def outcome(item: Format, mutated: bytes, expected, scratch: Path, log: Path) -> str:
    """Read a folder with a damaged file in a process of its own."""
    folder = scratch / 'folder'
    shutil.copytree(item.folder, folder)
    (folder / item.file).write_bytes(mutated)
    child = os.fork()
    if child == 0:
        os._exit(_read(item, folder, expected, log))
    _, status = os.waitpid(child, 0)
    shutil.rmtree(folder)
    if os.WIFSIGNALED(status):
        return 'hang' if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM) else 'crash'
    found = {value: key for key, value in STATUSES.items()}.get(os.WEXITSTATUS(status), 'crash')
    return 'silent' if found == 'other' and item.is_protected else found


def _read(item: Format, folder: Path, expected, log: Path) -> int:
    """Read; return what became of it as an exit status."""
    for expired in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(expired, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(LONGEST)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    sys.stdout = sys.stderr = open(os.devnull, 'w')
    try:
        found = item.read(folder)
    except ValueError as error:
        if item.names(str(error)):
            return STATUSES['refused']
        log.write_text(f'{item.name}: the message does not name the file, or has several lines: {error}')
        return STATUSES['traceback']
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        log.write_text(f'{item.name}: {type(error).__name__}: {error}')
        return STATUSES['traceback']
    return STATUSES['refused' if found is REFUSED else 'whole' if found == expected else 'other']


@contextmanager
def temporary_profile() -> Iterator[None]:
    """Load an AiiDA profile that lives in memory."""
    from aiida.manage.configuration import profile_context
    from aiida.storage.sqlite_temp import SqliteTempBackend

    with tempfile.TemporaryDirectory() as repository:
        profile = SqliteTempBackend.create_profile('fuzz', filepath=repository)
        with profile_context(profile, allow_switch=True):
            yield


def make_formats(folder: Path) -> list[Format]:
    """Write whole files of all formats; needs a profile."""
    from aiida import orm

    makers = {
        'ours': our_formats,
        'models': model_formats,
        'foreign': foreign_formats,
        'cp2k': cp2k_formats,
        'exchange': exchange_formats,
        'qe': qe_formats,
    }
    found = []
    for name, make in makers.items():
        if name == 'qe' and None in map(shutil.which, ('pw.x', 'pp.x', 'ph.x')):
            print('without pw.x, pp.x and ph.x files of Quantum ESPRESSO are left out', file=sys.stderr)
            continue
        if name != 'cp2k':
            (folder / name).mkdir()
        found += make(folder / name)
    computer = orm.Computer('fuzz', 'localhost', transport_type='core.local', scheduler_type='core.direct').store()
    return [*found, *retrieved_formats(folder / 'retrieved', computer)]


def main():
    """Damage files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--mutations', type=int, default=3000, help='of all formats together')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='formats whose name contains this')
    parser.add_argument('--json', type=Path, help='where the result goes; standard output by default')
    arguments = parser.parse_args()
    warnings.simplefilter('ignore')
    logging.disable()
    result = _started(arguments)
    with tempfile.TemporaryDirectory() as name, temporary_profile():
        folder, scratch = Path(name) / 'whole', Path(name) / 'scratch'
        folder.mkdir()
        scratch.mkdir()
        formats = [item for item in make_formats(folder) if arguments.only in item.name]
        for index, item in enumerate(formats):
            if item.name not in result['formats']:
                started = time.monotonic()
                number = arguments.mutations * (index + 1) // len(formats) - arguments.mutations * index // len(formats)
                row, problems = run_format(item, number, arguments.seed, scratch)
                result['formats'][item.name] = {'is_protected': item.is_protected, **row}
                result['problems'] += problems
                result['wall_s'] = round(result['wall_s'] + time.monotonic() - started, 1)
                if arguments.json is not None:
                    arguments.json.write_text(json.dumps(result, indent=1) + '\n')
    print_table(result['formats'])
    result['passed'] = not any(row.get(kind) for row in result['formats'].values() for kind in BAD)
    report(result, arguments.json)


def _started(arguments) -> dict:
    """What an interrupted run with the same settings has written, or nothing yet."""
    settings = {'mutations': arguments.mutations, 'seed': arguments.seed, 'only': arguments.only}
    if arguments.json is not None and arguments.json.exists():
        earlier = json.loads(arguments.json.read_text())
        if all(earlier.get(key) == value for key, value in settings.items()) and 'passed' not in earlier:
            return earlier
    return {**settings, 'wall_s': 0.0, 'formats': {}, 'problems': []}


def run_format(item: Format, number: int, seed: int, scratch: Path) -> tuple[Counter, list[str]]:
    """Damage the file of one format; return how often what became of it, and what is wrong."""
    expected, row, problems, log = item.read(item.folder), Counter(), [], scratch / 'log'
    if expected is REFUSED:
        raise RuntimeError(f'{item.name}: the whole file is refused')
    data = (item.folder / item.file).read_bytes()
    for count in range(number):
        generator = random.Random(f'{seed} {item.name} {count}')  # noqa: S311 - no secret
        mutated = data
        while mutated == data:
            mutated = mutate(data, generator)
        found = outcome(item, mutated, expected, scratch, log)
        row[found] += 1
        if found in BAD:
            problems.append(f'{item.name}, mutation {count}: {found}: {log.read_text() if log.exists() else ""}'[:500])
            print(problems[-1], file=sys.stderr, flush=True)
        log.unlink(missing_ok=True)
    return row, problems


def print_table(rows: dict[str, dict]):
    """Print a table in Markdown on standard error."""
    columns = ('refused', 'whole', 'other', *BAD)
    print(f'| file | protected | mutations | {" | ".join(columns)} |', file=sys.stderr)
    print('|' + '---|' * (3 + len(columns)), file=sys.stderr)
    for name, row in rows.items():
        counts = [row.get(column, 0) for column in columns]
        protected = 'yes' if row['is_protected'] else 'no'
        print(f'| {name} | {protected} | {sum(counts)} | {" | ".join(map(str, counts))} |', file=sys.stderr)


if __name__ == '__main__':
    main()
