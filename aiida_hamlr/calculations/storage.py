"""Hamiltonians that stay on the computer: the port `storage`, the stash of AiiDA that keeps the files, and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from aiida import orm
from aiida.common.datastructures import StashMode

from aiida_hamlr.data.hamiltonian import STORAGES, HamiltonianData

__all__ = ('define_storage', 'find_remote_data_problem', 'find_storage_problem', 'is_remote_storage', 'stash_options')


def define_storage(spec, files: str):
    """Define the port `storage` and the exit code of a job whose files were not stashed.

    :param files: the files of the job with their verb, for the help sentence.
    """
    spec.input(
        'storage',
        valid_type=orm.Str,
        default=lambda: orm.Str('repository'),
        validator=validate_storage,
        help=f'Where {files} stored: in the `repository` of AiiDA (default), or `remote`: on the computer, in the '
        'folder '
        'that `metadata.options.stash` names, while the node records path, size and sha256.',
    )
    spec.exit_code(
        330,
        'ERROR_NOT_STASHED',
        message='The Hamiltonian was computed but not stashed: check that the folder of `metadata.options.stash` is '
        'writable, and run again.',
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
    :param folder: absolute path on the computer of a folder that is not cleaned.
    :param files: files to keep, relative to the folder of the job.
    :raises ValueError: if `storage` is unknown, or if it is `remote` and the path is not absolute.
    """
    if storage not in STORAGES:
        raise ValueError(f'`storage` is {storage!r}; known are {", ".join(STORAGES)}')
    if storage == 'repository':
        return {}
    if folder is None or not PurePosixPath(folder).is_absolute():
        raise ValueError(
            '`storage: remote` needs `stash_folder`, the absolute path of a folder on the computer that is not '
            'cleaned, '
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
            '`storage` is remote, so `metadata.options.stash` needs `target_base` (a folder that is not cleaned), '
            f'`stash_mode` copy, and a `source_list` with {", ".join(files)}'
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
        f'{len(elsewhere)} Hamiltonians (for example node {elsewhere[0].pk}) are on computer '
        f'{elsewhere[0].computer.label}, but the code runs on {code.computer.label}: use the work chain '
        'hamlr.train.base, which fetches them, or run hamlr.fetch first'
    )
