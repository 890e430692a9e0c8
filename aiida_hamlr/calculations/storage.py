"""Hamiltonians that stay on the computer where they are made: the port, the stash that keeps them, and its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from aiida import orm
from aiida.common.datastructures import StashMode

from aiida_hamlr.data.hamiltonian import STORAGES, HamiltonianData

__all__ = ('define_storage', 'find_remote_data_problem', 'find_storage_problem', 'is_remote_storage', 'stash_options')


def define_storage(spec, files: str):
    """Define the port `storage` and the exit code of a job whose files were not stashed.

    :param files: what the job makes, as it is called in the help sentence.
    """
    spec.input(
        'storage',
        valid_type=orm.Str,
        default=lambda: orm.Str('repository'),
        validator=validate_storage,
        help=f'Where {files} to go: `repository`, or `remote`: they stay on the computer, in the folder that '
        '`metadata.options.stash` names, and the node has path, size and sha256.',
    )
    spec.exit_code(
        330,
        'ERROR_NOT_STASHED',
        message='The Hamiltonian was made, but is not in the stash: see whether the folder of `metadata.options.stash` '
        'can be written to, and run again.',
    )


def validate_storage(value, _) -> str | None:
    """Return what is wrong with the port `storage`, or nothing."""
    if value is not None and value.value not in STORAGES:
        return f'`storage` is {value.value!r}; known are {", ".join(STORAGES)}'
    return None


def is_remote_storage(inputs: Mapping) -> bool:
    """Return whether the Hamiltonians of a job with these inputs stay on the computer."""
    return 'storage' in inputs and inputs['storage'].value == 'remote'


def stash_options(storage: str, folder: str | None, files: Sequence[str]) -> dict:
    """Return the option `stash` of a job for a kind of storage.

    :param storage: `repository` or `remote`.
    :param folder: absolute path on the computer of a folder that is kept.
    :param files: what is to be kept, relative to the folder of the job.
    :raises ValueError: if `storage` is unknown, or it is `remote` and there is no absolute path.
    """
    if storage not in STORAGES:
        raise ValueError(f'`storage` is {storage!r}; known are {", ".join(STORAGES)}')
    if storage == 'repository':
        return {}
    if folder is None or not PurePosixPath(folder).is_absolute():
        raise ValueError(
            '`storage: remote` needs `stash_folder`, the absolute path on the computer of a folder that is kept, '
            f'not {folder!r}'
        )
    return {
        'stash': {'target_base': str(folder), 'source_list': list(files), 'stash_mode': StashMode.COPY.value},
    }


def find_storage_problem(inputs: Mapping, files: Sequence[str]) -> str | None:
    """Return why a job cannot leave its files on the computer as its port `storage` says, or nothing."""
    if not is_remote_storage(inputs):
        return None
    stash = inputs.get('metadata', {}).get('options', {}).get('stash') or {}
    missing = sorted(set(files) - set(stash.get('source_list', ())))
    if missing or stash.get('stash_mode') != StashMode.COPY.value:
        return (
            '`storage` is remote, so `metadata.options.stash` must have `target_base`, a folder that is kept, '
            f'`stash_mode` copy, and in `source_list` {", ".join(files)}'
        )
    return None


def find_remote_data_problem(nodes: Sequence[HamiltonianData], code: orm.AbstractCode | None) -> str | None:
    """Return which remote Hamiltonians cannot be linked into a job of the code, or nothing."""
    if code is None or code.computer is None:
        return None
    elsewhere = [node for node in nodes if node.is_remote and node.computer.uuid != code.computer.uuid]
    if not elsewhere:
        return None
    return (
        f'{len(elsewhere)} Hamiltonians, as node {elsewhere[0].pk}, lie on computer {elsewhere[0].computer.label}, but '
        f'the code runs on {code.computer.label}: let the work chain hamlr.train.base fetch them, or run hamlr.fetch'
    )
