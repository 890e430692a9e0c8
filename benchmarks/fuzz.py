"""Damaged files of all formats, and damaged folders that jobs have left: what becomes of them.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py --mutations 3000 > fuzz.json

damages whole files in as many ways, each read in a process of its own with bounded time and memory, and prints a table
on standard error. A mutation is

refused
    in one line that names the file, or with a documented exit code,
whole
    if what is read is what was written,
other
    if something else is read: a file without a digest may be another sound file,
silent
    if something else is read although the file has a digest,
traceback, hang, crash
    if the reader ends in any other way.

The exit status is 1 if any is silent, a traceback, a hang or a crash.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase.build import bulk

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'tests'), str(ROOT / 'tests/io'), str(ROOT / 'benchmarks')]

from _report import report  # noqa: E402
from test_fuzz import (  # noqa: E402
    BASIS,
    basis_content,
    hamiltonian,
    hamiltonian_content,
    ion_xml,
    orb,
    pao,
)

from aiida_hamlr.electronic.bands.band_structure import Bands  # noqa: E402
from aiida_hamlr.electronic.bands.properties import Properties  # noqa: E402
from aiida_hamlr.electronic.matrices.description import (  # noqa: E402
    description_path,
    read_description,
    write_described,
)
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian  # noqa: E402
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential  # noqa: E402
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential  # noqa: E402
from aiida_hamlr.io.bases import read_basis  # noqa: E402
from aiida_hamlr.io.qe import read_filplot, read_scf_xml  # noqa: E402
from aiida_hamlr.jobs.config import load_config  # noqa: E402
from aiida_hamlr.jobs.inputs import read_frames  # noqa: E402
from aiida_hamlr.jobs.schemas import TrainConfig  # noqa: E402
from aiida_hamlr.model.config import ModelConfig  # noqa: E402
from aiida_hamlr.model.files import read_model, write_model  # noqa: E402
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel  # noqa: E402
from aiida_hamlr.model.training.checkpoints import find_damage  # noqa: E402

#: Longest time of one reader, s, and most memory that it may take besides that of this program, bytes.
SECONDS, MEMORY = 60, 4 * 2**30

#: Exit statuses of the processes that read, by what became of the mutation.
STATUSES = {'whole': 0, 'refused': 10, 'other': 11, 'traceback': 12}

BAD = ('silent', 'traceback', 'hang', 'crash')


@dataclass(frozen=True)
class Format:
    """Files of one kind.

    Parameters
    ----------
    name : str
        In the table.
    folder : Path
        With the whole files.
    file : str
        The one that is damaged, relative to the folder.
    read : callable
        From the folder to what was read, in a form that can be compared.
    has_digest : bool
        Whether the content is protected.
    """

    name: str
    folder: Path
    file: str
    read: Callable[[Path], object]
    has_digest: bool


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
        return 'hang' if os.WTERMSIG(status) == signal.SIGALRM else 'crash'
    found = {value: key for key, value in STATUSES.items()}.get(os.WEXITSTATUS(status), 'crash')
    return 'silent' if found == 'other' and item.has_digest else found


def _read(item: Format, folder: Path, expected, log: Path) -> int:
    """Read; return what became of it as an exit status."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    sys.stdout = sys.stderr = open(os.devnull, 'w')
    try:
        found = item.read(folder)
    except ValueError as error:
        if '\n' not in str(error) and Path(item.file).name in str(error):
            return STATUSES['refused']
        log.write_text(f'{item.name}: the message does not name the file, or has several lines: {error}')
        return STATUSES['traceback']
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        log.write_text(f'{item.name}: {type(error).__name__}: {error}')
        return STATUSES['traceback']
    return STATUSES['refused' if found is REFUSED else 'whole' if found == expected else 'other']


#: What readers give that refuse otherwise than with an exception.
REFUSED = object()


def make_formats(folder: Path) -> Iterator[Format]:
    """Write whole files of all formats."""

    def place(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    whole = hamiltonian()
    at = place('hamiltonian')
    write_described(whole, at / 'hamiltonian.h5')
    yield Format(
        'hamiltonian.h5',
        at,
        'hamiltonian.h5',
        lambda f: hamiltonian_content(Hamiltonian.read(f / 'hamiltonian.h5')),
        True,
    )
    name = description_path('hamiltonian.h5').name
    yield Format(name, at, name, _read_description, True)
    at = place('basis')
    BASIS.write(at / 'Si.basis.h5')
    yield Format('El.basis.h5', at, 'Si.basis.h5', lambda f: basis_content(read_basis(f / 'Si.basis.h5')), True)
    at = place('bands')
    kpoints = np.linspace(0, 0.5, 30).reshape(10, 3)
    Bands(kpoints, np.arange(40.0).reshape(1, 10, 4), ('G', *[''] * 8, 'X')).write(at / 'bands.h5')
    yield Format('bands.h5', at, 'bands.h5', lambda f: repr(vars(Bands.read(f / 'bands.h5'))), True)
    at = place('properties')
    Properties(['Al', 'As'], np.eye(3)[:2], charges=np.array([0.5, -0.5])).write(at / 'properties.h5')
    yield Format('properties.h5', at, 'properties.h5', lambda f: repr(vars(Properties.read(f / 'properties.h5'))), True)
    yield from make_models(place('models'))
    at = place('texts')
    (at / 'H.upf').write_text(make_pseudopotential('H').text)
    for name, make in (('Si.ion.xml', ion_xml), ('Si.orb', orb), ('Si.pao', pao)):
        (at / name).write_text(make())
    yield Format('UPF', at, 'H.upf', lambda f: Pseudopotential.read(f / 'H.upf').text, False)
    for name in ('Si.ion.xml', 'Si.orb', 'Si.pao'):
        selection = 's1p1' if name.endswith('.pao') else None
        yield Format(name[2:], at, name, lambda f, n=name, s=selection: basis_content(read_basis(f / n, s)), False)
    at = place('structures')
    bulk('AlAs', 'zincblende', a=5.66, cubic=True).write(at / 'a.extxyz')
    (at / 'train.yaml').write_text(TRAIN)
    yield Format(
        'structure (extxyz)',
        at,
        'a.extxyz',
        lambda f: [repr(x) + str(x.positions) for x in read_frames(f / 'a.extxyz')],
        False,
    )
    yield Format(
        'train.yaml',
        at,
        'train.yaml',
        lambda f: load_config(f / 'train.yaml', TrainConfig).model_dump_json(exclude={'output'}),
        False,
    )
    yield from make_runs(place('runs'))


def _read_description(folder: Path):
    path = folder / description_path('hamiltonian.h5').name
    return read_description(path.read_bytes().decode(errors='replace'), path.name)


TRAIN = """data: {train: [train/*.h5], validation: [valid/*.h5]}
model:
  variant: lr
  message_cutoff: 5.0
  layers: 2
training:
  max_epochs: 500
  seed: 0
output: run/
"""


def make_models(folder: Path) -> Iterator[Format]:
    """Write a model of today and one of version 1, and a checkpoint."""
    import torch

    channels = ('scalar_channels', 'natural_channels', 'unnatural_channels', 'radial_basis', 'radial_hidden')
    config = ModelConfig(variant='lr', hidden_channels=8, pair_channels=8, **dict.fromkeys(channels, 4))
    model = HamiltonianModel({'Si': [0, 1]}, config, 4.0, 10.0)
    texts = {'Si': make_pseudopotential('Si').text}
    write_model(folder / 'model', model, model.state_dict(), hamiltonian().basis, texts, {'ecutrho_Ry': 60.0})
    shutil.copytree(ROOT / 'tests/model/fixtures/format_1/model', folder / 'old')

    def read(at: Path):
        read, description, basis, texts = read_model(at)
        weights = {name: value.numpy().tobytes() for name, value in read.state_dict().items()}
        return weights, description, {e: basis_content(b) for e, b in basis.items()}, texts

    for name in ('model.json', 'model.safetensors', 'basis/Si.basis.h5', 'pseudos/Si.upf'):
        yield Format(f'model folder: {name}', folder / 'model', name, read, True)
    for name in ('model.json', 'model.safetensors'):
        yield Format(f'model of version 1: {name}', folder / 'old', name, read, False)
    (folder / 'checkpoints').mkdir()
    torch.save({'state_dict': model.state_dict(), 'step': 3}, folder / 'checkpoints/last.ckpt')

    def resume(at: Path):
        if find_damage(at / 'last.ckpt') is not None:
            return REFUSED
        found = torch.load(at / 'last.ckpt', weights_only=True)
        return {name: value.numpy().tobytes() for name, value in found['state_dict'].items()}, found['step']

    yield Format('last.ckpt', folder / 'checkpoints', 'last.ckpt', resume, False)


def make_runs(folder: Path) -> Iterator[Format]:
    """Copy files of Quantum ESPRESSO from those of the tests, as far as they are there."""
    files = sorted((ROOT / 'tests/io').rglob('*.xml')) + sorted((ROOT / 'tests/io').rglob('*.filplot'))
    for kind, read in (('.xml', read_scf_xml), ('.filplot', read_filplot)):
        found = [path for path in files if path.suffix == kind and path.stat().st_size < 2_000_000]
        if found:
            shutil.copy(found[0], folder / found[0].name)
            name = found[0].name
            yield Format(
                f'Quantum ESPRESSO {kind}',
                folder,
                name,
                lambda f, r=read, n=name: repr(vars(r(f / n)))[:100_000].replace(str(f), ''),
                False,
            )


@contextmanager
def temporary_profile() -> Iterator[None]:
    """Load an AiiDA profile that lives in memory."""
    from aiida.manage.configuration import profile_context
    from aiida.storage.sqlite_temp import SqliteTempBackend

    with tempfile.TemporaryDirectory() as repository:
        profile = SqliteTempBackend.create_profile('fuzz', filepath=repository)
        with profile_context(profile, allow_switch=True):
            yield


def make_retrieved(folder: Path) -> Iterator[Format]:
    """Write what jobs leave behind; needs a profile."""
    from aiida import orm
    from aiida.common.links import LinkType
    from aiida.plugins import CalculationFactory, ParserFactory

    from aiida_hamlr.data.basis import BasisData
    from aiida_hamlr.data.model import ModelData

    computer = orm.Computer('fuzz', 'localhost', transport_type='core.local', scheduler_type='core.direct').store()
    whole = hamiltonian()
    structure = orm.StructureData(ase=whole.atoms).store()
    basis = BasisData.from_basis(whole.basis).store()
    model = ModelData.from_folder(folder.parent / 'models/model').store()
    summary = json.dumps({'command': 'x', 'mae_meV': 3.5, 'failed': [], 'list': [1.5, None]})
    shared = {'hamlr.status': '0\n', 'summary.json': summary, '_scheduler-stderr.txt': 'warning: nothing\n'}
    jobs = {
        'reconstruct': {'basis': basis},
        'predict': {'structures__a': structure, 'model': model},
        'train': {},
        'basis': {'pseudos__Si': structure},
    }
    for job, inputs in jobs.items():
        at = folder / job
        at.mkdir(parents=True)
        for name, text in shared.items():
            (at / name).write_text(text)
        left = whole if job == 'reconstruct' else hamiltonian()
        if job == 'reconstruct':
            left.write(at / 'hamiltonian.h5')
        elif job == 'predict':
            left.attributes = replace(left.attributes, origin='predicted')
            left = Hamiltonian(left.atoms, left.basis, left.pattern, left.matrices, {}, left.attributes)
            (at / 'predictions/a').mkdir(parents=True)
            left.write(at / 'predictions/a/hamiltonian.h5')
            shutil.copy(folder.parent / 'bands/bands.h5', at / 'predictions/a/bands.h5')
        elif job == 'train':
            (at / 'metrics.csv').write_text('epoch,step,train_mae_meV,validation_mae_meV\n0,10,5.0,\n1,20,4.0,6.0\n')
            shutil.copytree(folder.parent / 'models/model', at / 'model')
        else:
            shutil.copy(folder.parent / 'basis/Si.basis.h5', at / 'Si.basis.h5')
        codes = {code.status for code in CalculationFactory(f'hamlr.{job}').exit_codes.values()}

        def read(f: Path, job=job, inputs=inputs, codes=codes):
            node = orm.CalcJobNode(computer=computer, process_type=f'aiida.calculations:hamlr.{job}')
            node.set_option('resources', {'num_machines': 1})
            node.set_option('output_filename', 'hamlr.out')
            node.set_option('scheduler_stderr', '_scheduler-stderr.txt')
            for label, value in inputs.items():
                node.base.links.add_incoming(value, link_type=LinkType.INPUT_CALC, link_label=label)
            node.store()
            retrieved = orm.FolderData(tree=str(f))
            retrieved.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='retrieved')
            retrieved.store()
            results, parsed = ParserFactory(f'hamlr.{job}').parse_from_node(
                node, store_provenance=False, retrieved_temporary_folder=str(f)
            )
            if not parsed.is_finished or parsed.exit_status not in codes | {0}:
                raise RuntimeError(f'exit status {parsed.exit_status}')
            return _contents(results) if parsed.exit_status == 0 else REFUSED

        digested = ('.h5', '.json', '.safetensors', '.upf')
        for path in sorted(path for path in at.rglob('*') if path.is_file()):
            name = str(path.relative_to(at))
            protected = name.endswith(digested) and name != 'summary.json'
            yield Format(f'retrieved of {job}: {name}', at, name, read, protected)


def _contents(results) -> dict:
    """Attributes of nodes by label; storing them must be possible."""
    found = {}
    for label, value in results.items():
        if isinstance(value, dict):
            found |= {f'{label}.{key}': entry for key, entry in _contents(value).items()}
        elif label != 'output_parameters':
            found[label] = json.dumps(value.store().base.attributes.all, sort_keys=True, default=str)
        else:
            value.store()
    return found


def main():
    """Damage files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--mutations', type=int, default=3000, help='of all formats together')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', help='formats whose name contains this')
    parser.add_argument('--json', type=Path, help='where the result goes; standard output by default')
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, temporary_profile():
        folder, scratch = Path(name) / 'whole', Path(name) / 'scratch'
        folder.mkdir()
        scratch.mkdir()
        formats = [*make_formats(folder), *make_retrieved(folder / 'retrieved')]
        formats = [item for item in formats if (arguments.only or '') in item.name]
        rows, problems = {}, []
        for index, item in enumerate(formats):
            rows[item.name] = run_format(item, arguments, index, len(formats), scratch, problems)
    print_table(rows, {item.name: item.has_digest for item in formats})
    bad = sum(row.get(kind, 0) for row in rows.values() for kind in BAD)
    result = {
        'mutations': sum(sum(row.values()) for row in rows.values()),
        'seed': arguments.seed,
        'wall_s': round(time.monotonic() - started, 1),
        'formats': rows,
        'problems': problems,
        'passed': bad == 0,
    }
    report(result, arguments.json)


def run_format(item: Format, arguments, index: int, n_formats: int, scratch: Path, problems: list[str]) -> Counter:
    """Damage the file of one format; return how often what became of it."""
    expected, row, log = item.read(item.folder), Counter(), scratch / 'log'
    if expected is REFUSED:
        raise RuntimeError(f'{item.name}: the whole file is refused')
    data = (item.folder / item.file).read_bytes()
    number = arguments.mutations * (index + 1) // n_formats - arguments.mutations * index // n_formats
    for count in range(number):
        generator = random.Random(f'{arguments.seed} {item.name} {count}')  # noqa: S311 - no secret
        mutated = data
        while mutated == data:
            mutated = mutate(data, generator)
        found = outcome(item, mutated, expected, scratch, log)
        row[found] += 1
        if found in BAD:
            problems.append(f'{item.name}, mutation {count}: {found}: {log.read_text() if log.exists() else ""}'[:500])
            print(problems[-1], file=sys.stderr, flush=True)
        log.unlink(missing_ok=True)
    return row


def print_table(rows: dict[str, Counter], has_digest: dict[str, bool]):
    """Print a table in Markdown on standard error."""
    columns = ('refused', 'whole', 'other', *BAD)
    print(f'| file | digest | mutations | {" | ".join(columns)} |', file=sys.stderr)
    print('|' + '---|' * (3 + len(columns)), file=sys.stderr)
    for name, row in rows.items():
        counts = ' | '.join(str(row.get(column, 0)) for column in columns)
        print(f'| {name} | {"yes" if has_digest[name] else "no"} | {sum(row.values())} | {counts} |', file=sys.stderr)


if __name__ == '__main__':
    main()
