"""What the work chains have in common."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from math import ceil
from pathlib import Path

from aiida import orm

from aiida_hamlr.data.remote import CONNECTION_ERRORS

__all__ = ('clean_called_folders', 'count_bands', 'get_protocol_path', 'is_usable', 'recursive_options')


def get_protocol_path(name: str) -> Path:
    """Return the path of a protocol file of the package."""
    return Path(str(resources.files('aiida_hamlr.workflows.protocols') / name))


def recursive_options(inputs: dict, options: dict | None, scheduler_type: str, set_default_resources) -> dict:
    """Return the options of a job: those of the protocol, overridden by those of the user."""
    from aiida_quantumespresso.workflows.protocols.utils import recursive_merge

    merged = recursive_merge(inputs.get('metadata', {}).get('options', {}), options or {})
    return set_default_resources(merged, scheduler_type)


def count_bands(structure: orm.StructureData, valences: dict, system: dict, n_empty: int) -> int:
    """Return how many bands pw.x must compute; with spin, of each spin.

    The majority spin fills half of the sum of electrons and magnetization: the total one if it is fixed, else at most
    what the sites start with.

    :param valences: valence electrons by name of the kind.
    :param system: the namelist SYSTEM.
    :param n_empty: empty bands above the occupied ones.
    """
    system = {key.lower(): value for key, value in system.items()}
    electrons = [valences[site.kind_name] for site in structure.sites]
    excess = 0.0
    if system.get('nspin', 1) == 2:
        starting = system.get('starting_magnetization', {})
        moments = (abs(starting.get(site.kind_name, 0.0)) for site in structure.sites)
        excess = sum(share * number for share, number in zip(moments, electrons, strict=True))
        excess = abs(system.get('tot_magnetization', excess))
    return ceil((sum(electrons) + excess) / 2 - 1e-6) + n_empty


def is_usable(folder: orm.RemoteData, needed: Sequence[str]) -> bool:
    """Return whether a remote folder still has its files.

    :param needed: patterns of files, relative to the folder, that the next step reads.
    """
    if folder.is_cleaned:
        return False
    # Only what the cache gave back can be old; a look at the computer costs a connection.
    creator = folder.creator
    if creator is None or not creator.base.caching.is_created_from_cache:
        return True
    try:
        with folder.computer.get_transport() as transport:
            return all(transport.glob(f'{folder.get_remote_path()}/{pattern}') for pattern in needed)
    except CONNECTION_ERRORS:
        return True  # Nothing is known; the next job tries until the connection is back.


def clean_called_folders(node: orm.WorkChainNode) -> list[int]:
    """Clean the remote folders of all calculation jobs that a work chain called; return the jobs' identifiers.

    What a called process that failed left behind stays, to be looked at and gone on from. Folders of jobs from the
    cache are those of the earlier runs that these were taken from, and stay. The jobs whose product is the folder
    itself can no longer stand in for new ones.
    """
    cleaned = []
    for child in node.called:
        if not child.is_finished_ok:
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
