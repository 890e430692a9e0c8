"""What the work chains have in common."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from aiida import orm

__all__ = ('clean_called_folders', 'get_protocol_path', 'is_usable', 'recursive_options')


def get_protocol_path(name: str) -> Path:
    """Return the path of a protocol file of the package."""
    return Path(str(resources.files('aiida_hamlr.workflows.protocols') / name))


def recursive_options(inputs: dict, options: dict | None, scheduler_type: str, set_default_resources) -> dict:
    """Return the options of a job: those of the protocol, overridden by those of the user."""
    from aiida_quantumespresso.workflows.protocols.utils import recursive_merge

    merged = recursive_merge(inputs.get('metadata', {}).get('options', {}), options or {})
    return set_default_resources(merged, scheduler_type)


def is_usable(folder: orm.RemoteData) -> bool:
    """Return whether a remote folder still has its files."""
    if folder.is_cleaned:
        return False
    # Only what the cache gave back can be old; a look at the computer costs a connection.
    creator = folder.creator
    return creator is None or not creator.base.caching.is_created_from_cache or not folder.is_empty


def clean_called_folders(node: orm.WorkChainNode) -> list[int]:
    """Clean the remote folders of all calculation jobs that a work chain called; return the jobs' identifiers.

    The jobs whose product is the folder itself can no longer stand in for new ones.
    """
    cleaned = []
    for called in node.called_descendants:
        if not isinstance(called, orm.CalcJobNode):
            continue
        try:
            called.outputs.remote_folder._clean()
        except (OSError, KeyError, AttributeError):
            continue
        if called.process_type in ('aiida.calculations:quantumespresso.pw', 'aiida.calculations:hamlr.potential'):
            called.base.caching.is_valid_cache = False
        cleaned.append(called.pk)
    return cleaned
