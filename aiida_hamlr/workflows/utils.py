"""What the work chains have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from math import ceil
from pathlib import Path

from aiida import orm
from aiida.engine import CalcJob
from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin, recursive_merge
from plumpy import PortNamespace

from aiida_hamlr.data.connections import CONNECTION_ERRORS
from aiida_hamlr.jobs.config import describe_unknown_key

__all__ = (
    'StrictProtocolMixin',
    'check_keys',
    'clean_called_folders',
    'count_bands',
    'count_tasks',
    'get_protocol_path',
    'has_files',
    'is_usable',
    'recursive_options',
    'request_gpus',
)


class StrictProtocolMixin(ProtocolMixin):
    """Protocols whose overrides may hold nothing that the work chain does not know."""

    @classmethod
    def _validate_override_keys(cls, overrides):
        check_keys(overrides, cls.spec().inputs, cls._load_protocol_file()['meta_inputs_schema'] or {})


def check_keys(inputs: Mapping, namespace: PortNamespace, others: Mapping | None = None, where: str = 'overrides'):
    """Check that inputs are those of a namespace.

    :param inputs: nested inputs.
    :param namespace: the input ports of a process.
    :param others: further keys that are known, nested as the inputs.
    :param where: what errors call the inputs.
    :raises ValueError: if there is another; the message names it and the nearest known one.
    """
    if not namespace and not others:
        return  # Labels of the user's own.
    others = others or {}
    known = set(namespace) | set(others)
    for key, value in inputs.items():
        if key not in known:
            raise ValueError(describe_unknown_key(key, where, known))
        port, more = namespace.get(key), others.get(key)
        if isinstance(value, Mapping) and (isinstance(port, PortNamespace) or more):
            check_keys(value, PortNamespace() if port is None else port, more, f'{where}.{key}')


def get_protocol_path(name: str) -> Path:
    """Return the path of a protocol file of the package."""
    return Path(str(resources.files('aiida_hamlr.workflows.protocols') / name))


def recursive_options(
    inputs: dict, options: dict | None, code: orm.AbstractCode, set_default_resources, mpi: bool = True
) -> dict:
    """Return the options of a job: those of the protocol and its overrides, overridden by those that all jobs share.

    :param code: what it runs; if it is set up with or without MPI, the shared options have no say in it.
    :param mpi: whether what it runs is an MPI program; if not, the shared options cannot make it one.
    :raises ValueError: if there is no such option.
    """
    shared = dict(options or {})
    check_keys(shared, CalcJob.spec().inputs['metadata']['options'], where='options')
    if code.with_mpi is not None or (not mpi and shared.get('withmpi')):
        shared.pop('withmpi', None)
    merged = recursive_merge(inputs.get('metadata', {}).get('options', {}), shared)
    return set_default_resources(merged, code.computer.scheduler_type)


def count_tasks(resources: Mapping) -> int:
    """Return how many tasks on each machine resources ask for by themselves, without the default of a computer."""
    n_machines = resources.get('num_machines', 1)
    return resources.get('num_mpiprocs_per_machine', resources.get('tot_num_mpiprocs', n_machines) // n_machines)


def request_gpus(options: dict, gpus: int, scheduler_type: str) -> dict:
    """Return the options of a job with lines for SLURM that ask for GPUs on each machine, unless they have some.

    :raises ValueError: if the number is not positive.
    """
    if gpus < 1:
        raise ValueError(f'`gpus` must be positive, not {gpus}')
    lines = options.get('custom_scheduler_commands', '')
    if scheduler_type != 'core.slurm' or 'gpu' in lines.lower():
        return options
    return {**options, 'custom_scheduler_commands': f'{lines}\n#SBATCH --gres=gpu:{gpus}'.lstrip('\n')}


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
    return creator is None or not creator.base.caching.is_created_from_cache or has_files(folder, needed)


def has_files(folder: orm.RemoteData, needed: Sequence[str]) -> bool:
    """Look whether a remote folder has files; if its computer cannot be reached, they count as being there.

    :param needed: patterns of files, relative to the folder.
    """
    try:
        with folder.computer.get_transport() as transport:
            return all(transport.glob(f'{folder.get_remote_path()}/{pattern}') for pattern in needed)
    except CONNECTION_ERRORS:
        return True  # Nothing is known; the next job tries until the connection is back.


def clean_called_folders(node: orm.WorkChainNode, also_failed: bool = False) -> list[int]:
    """Clean the remote folders of all calculation jobs that a work chain called; return the jobs' identifiers.

    What a called process that failed left behind stays, to be looked at and gone on from. Folders of jobs from the
    cache are those of the earlier runs that these were taken from, and stay. The jobs whose product is the folder
    itself can no longer stand in for new ones.

    :param also_failed: whether nothing of failed processes is needed any more, for another one did their work.
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
