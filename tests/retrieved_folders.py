"""Folders as every kind of job leaves them, and their parsers as readers; needs a profile."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from aiida import orm
from aiida.common.datastructures import StashMode
from aiida.common.links import LinkType
from aiida.plugins import CalculationFactory, ParserFactory
from fuzz_formats import BASIS, REFUSED, bands, hamiltonian, predicted, write_small_model

from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.electronic.matrices.description import description_path, write_described

SUMMARY = json.dumps({'command': 'x', 'mae_meV': 3.5, 'failed': [], 'list': [1.5, None]})
SHARED = {'hamlr.status': '0\n', 'summary.json': SUMMARY, '_scheduler-stderr.txt': 'warning: nothing\n'}
METRICS = 'epoch,step,train_mae_meV,validation_mae_meV\n0,10,5.0,\n1,20,4.0,6.0\n'
PP_OUTPUT = """
     Program POST-PROC v.6.7MaX starts on 29Nov2026 at 10: 0: 0

     Reading xml data from directory:

     Writing data to file  aiida.filplot

     POST-PROC    :      0.50s CPU      0.55s WALL

   JOB DONE.
"""


def _write_shared(at: Path):
    for name, text in SHARED.items():
        (at / name).write_text(text)


def _reconstruct(at: Path, computer) -> dict:
    _write_shared(at)
    hamiltonian().write(at / 'hamiltonian.h5')
    return {'basis': _basis()}


def _reconstruct_remote(at: Path, computer) -> dict:
    _write_shared(at)
    write_described(hamiltonian(), at / 'hamiltonian.h5')
    (at / 'hamiltonian.h5').unlink()
    return {'basis': _basis(), 'storage': orm.Str('remote').store()}


def _predict(at: Path, computer) -> dict:
    _write_shared(at)
    folder = at / 'predictions/a'
    predicted(hamiltonian()).write(folder / 'hamiltonian.h5')
    bands().write(folder / 'bands.h5')
    return {'structures__a': orm.StructureData(ase=hamiltonian().atoms).store(), 'model': _model(at)}


def _train(at: Path, computer) -> dict:
    _write_shared(at)
    (at / 'metrics.csv').write_text(METRICS)
    write_small_model(at / 'model')
    return {}


def _generate(at: Path, computer) -> dict:
    _write_shared(at)
    BASIS.write(at / 'Si.basis.h5')
    # Only the label of the port counts here.
    return {'pseudos__Si': orm.Str('a pseudopotential').store()}


def _potential(at: Path, computer) -> dict:
    (at / 'hamlr.out').write_text(PP_OUTPUT)
    (at / '_scheduler-stderr.txt').write_text('warning: nothing\n')
    return {}


def _fetch(at: Path, computer) -> dict:
    write_described(hamiltonian(), at / 'a.h5')
    description = description_path(at / 'a.h5')
    node = HamiltonianData.from_remote(description, computer, '/remote/a.h5').store()
    description.unlink()
    return {'hamiltonians__a': node}


def _basis() -> BasisData:
    return BasisData.from_basis(hamiltonian().basis).store()


def _model(at: Path) -> ModelData:
    folder = at.with_name(f'{at.name}-model')
    write_small_model(folder)
    node = ModelData.from_folder(folder).store()
    shutil.rmtree(folder)
    return node


#: By name: the entry point, and what writes the folder and returns the inputs of the job.
JOBS: dict[str, tuple[str, Callable[[Path, orm.Computer], dict]]] = {
    'reconstruct': ('hamlr.reconstruct', _reconstruct),
    'reconstruct, remote': ('hamlr.reconstruct', _reconstruct_remote),
    'predict': ('hamlr.predict', _predict),
    'train': ('hamlr.train', _train),
    'basis': ('hamlr.basis', _generate),
    'potential': ('hamlr.potential', _potential),
    'fetch': ('hamlr.fetch', _fetch),
}


def make_job(name: str, at: Path, computer: orm.Computer) -> Callable[[Path], object]:
    """Write the folder of a job; return what parses such a folder and gives the content of the nodes, or `REFUSED`."""
    entry_point, write = JOBS[name]
    inputs = write(at, computer)
    codes = {code.status for code in CalculationFactory(entry_point).exit_codes.values()}

    def read(folder: Path):
        results, node = ParserFactory(entry_point).parse_from_node(
            _make_node(entry_point, folder, computer, inputs),
            store_provenance=False,
            retrieved_temporary_folder=str(folder),
        )
        if not node.is_finished or node.exit_status not in codes | {0}:
            raise AssertionError(f'exit status {node.exit_status} is none of {entry_point}: {node.exit_message}')
        found = _contents(results)
        return found if node.exit_status == 0 else REFUSED

    return read


def _make_node(entry_point: str, folder: Path, computer, inputs: dict) -> orm.CalcJobNode:
    node = orm.CalcJobNode(computer=computer, process_type=f'aiida.calculations:{entry_point}')
    node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
    node.set_option('output_filename', 'hamlr.out')
    node.set_option('scheduler_stderr', '_scheduler-stderr.txt')
    for label, value in inputs.items():
        node.base.links.add_incoming(value, link_type=LinkType.INPUT_CALC, link_label=label)
    node.store()
    retrieved = orm.FolderData(tree=str(folder))
    retrieved.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='retrieved')
    retrieved.store()
    if 'storage' in inputs:
        stash = orm.RemoteStashFolderData(
            stash_mode=StashMode.COPY, target_basepath='/stash', source_list=['hamiltonian.h5'], fail_on_missing=False
        )
        stash.computer = computer
        stash.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='remote_stash')
        stash.store()
    return node


def _contents(results) -> dict:
    """Attributes of nodes by label, which can be stored; of a damaged text other numbers may be read."""
    found = {}
    for label, value in results.items():
        if isinstance(value, dict):
            found |= {f'{label}.{key}': entry for key, entry in _contents(value).items()}
        else:
            attributes = value.store().base.attributes.all
            # Bytes behind the content of a file change its sum, not what it says.
            content = {key: entry for key, entry in attributes.items() if key not in ('size', 'sha256')}
            found[label] = json.dumps(content, sort_keys=True, default=str)
    return found
