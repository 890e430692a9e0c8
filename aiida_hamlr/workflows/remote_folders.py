"""Remote folders of jobs: whether their files are still there, and removing them at the end."""

from __future__ import annotations

from collections.abc import Sequence

from aiida import orm

from aiida_hamlr.data.connections import CONNECTION_ERRORS

__all__ = ('clean_called_folders', 'has_files', 'is_usable')


def is_usable(folder: orm.RemoteData, needed: Sequence[str]) -> bool:
    """Return whether a remote folder still has its files.

    :param needed: patterns of files, relative to the folder, that the next step reads.
    """
    if folder.is_cleaned:
        return False
    # Only a folder from the cache can be old; looking at the computer costs a connection.
    creator = folder.creator
    return creator is None or not creator.base.caching.is_created_from_cache or has_files(folder, needed)


def has_files(folder: orm.RemoteData, needed: Sequence[str]) -> bool:
    """Return whether a remote folder has files; if its computer cannot be reached, they count as existing.

    :param needed: patterns of files, relative to the folder.
    """
    try:
        with folder.computer.get_transport() as transport:
            return all(transport.glob(f'{folder.get_remote_path()}/{pattern}') for pattern in needed)
    except CONNECTION_ERRORS:
        return True  # Unknown; the next job tries again until the connection is back.


def clean_called_folders(node: orm.WorkChainNode, also_failed: bool = False) -> list[int]:
    """Clean the remote folders of all calculation jobs that a work chain called; return the jobs' identifiers.

    Folders of failed processes are kept, to be inspected or to resume from. Folders of jobs from the cache belong to
    the earlier runs and are kept, too. Jobs whose product is the folder itself are invalidated for the cache.

    :param also_failed: whether to clean the folders of failed processes, too, because another one did their work.
    """
    cleaned = []
    for child in node.called:
        if not (child.is_finished_ok or also_failed):
            continue
        for called in (child, *child.called_descendants):
            if not isinstance(called, orm.CalcJobNode) or called.base.caching.is_created_from_cache:
                continue
            try:
                folder = called.outputs.remote_folder
                if folder.is_cleaned:
                    continue
                folder._clean()
            except (*CONNECTION_ERRORS, KeyError, AttributeError):
                continue
            if called.process_type in ('aiida.calculations:quantumespresso.pw', 'aiida.calculations:hamlr.potential'):
                called.base.caching.is_valid_cache = False
            cleaned.append(called.pk)
    return cleaned
