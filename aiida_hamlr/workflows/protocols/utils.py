"""What the builders of all work chains share: protocols, their overrides, and the options of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from importlib import resources
from pathlib import Path

from aiida import orm
from aiida.engine import CalcJob
from aiida.engine.processes.builder import ProcessBuilderNamespace
from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin, recursive_merge
from plumpy import PortNamespace

from aiida_hamlr.jobs.config import describe_unknown_key

__all__ = (
    'StrictProtocolMixin',
    'check_keys',
    'copy_inputs',
    'count_tasks',
    'get_protocol_path',
    'load_codes',
    'recursive_options',
    'remove_inputs',
    'request_gpus',
    'set_within',
    'take_settings',
    'with_moments',
    'without_relaxation',
)


class StrictProtocolMixin(ProtocolMixin):
    """Protocols that refuse overrides which the work chain does not know."""

    @classmethod
    def _validate_override_keys(cls, overrides):
        check_keys(overrides, cls.spec().inputs, cls._load_protocol_file()['meta_inputs_schema'] or {})


def check_keys(inputs: Mapping, namespace: PortNamespace, others: Mapping | None = None, where: str = 'overrides'):
    """Check that all inputs are known to a namespace.

    :param inputs: nested inputs.
    :param namespace: the input ports of a process.
    :param others: further known keys, nested like the inputs.
    :param where: name of the inputs in error messages.
    :raises ValueError: if a key is unknown; the message gives the nearest known one.
    """
    if not namespace and not others:
        return  # Labels chosen by the user.
    others = others or {}
    known = set(namespace) | set(others)
    for key, value in inputs.items():
        if key not in known:
            raise ValueError(describe_unknown_key(key, where, known))
        port, more = namespace.get(key), others.get(key)
        if isinstance(value, Mapping) and (isinstance(port, PortNamespace) or more):
            check_keys(value, PortNamespace() if port is None else port, more, f'{where}.{key}')


def copy_inputs(source: ProcessBuilderNamespace, target: ProcessBuilderNamespace):
    """Copy the inputs of a builder into another one that has these inputs, too; both may be incomplete."""
    for name, value in source.items():
        if isinstance(value, ProcessBuilderNamespace):
            copy_inputs(value, target[name])
        elif value is not None:
            target[name] = value


def get_protocol_path(name: str) -> Path:
    """Return the path of a protocol file of the package."""
    return Path(str(resources.files('aiida_hamlr.workflows.protocols') / name))


def load_codes(*codes: orm.AbstractCode | str | None) -> list[orm.AbstractCode | None]:
    """Return codes, those given by a label loaded."""
    return [orm.load_code(code) if isinstance(code, str) else code for code in codes]


def take_settings(settings: Mapping, **defaults) -> tuple:
    """Return the values of keyword arguments that a builder was given besides those of all builders.

    :param settings: the keyword arguments.
    :param defaults: the names that there are, with the value of each that is not given.
    :returns: the values in the order of the defaults.
    :raises ValueError: if there is another name; the message gives the nearest known one.
    """
    for name in settings:
        if name not in defaults:
            raise ValueError(describe_unknown_key(name, 'the arguments of the builder', defaults))
    return tuple((defaults | dict(settings)).values())


def set_within(overrides: Mapping, path: Sequence[str], /, **values) -> dict:
    """Return overrides with some values below the keys of a path."""
    if not path:
        return {**overrides, **values}
    key, *rest = path
    return {**overrides, key: set_within(overrides.get(key) or {}, rest, **values)}


def with_moments(overrides: Mapping | None, moments: Mapping | None, *path: str) -> dict | None:
    """Return overrides of predictions of magnets, which start from the moments of their references.

    :param overrides: overrides of the work chain; moments among them take precedence.
    :param moments: starting moments by kind or element, Bohr magnetons.
    :param path: keys of the parameters of `hamlr.predict` in the overrides.
    """
    if not moments:
        return overrides
    overrides = overrides or {}
    given = reduce(lambda part, key: part.get(key) or {}, path, overrides)
    return overrides if 'magnetic_moments' in given else set_within(overrides, path, magnetic_moments=dict(moments))


def without_relaxation(parameters: Mapping, given: Mapping) -> dict:
    """Return parameters of an scf run of pw.x without the thresholds of a relaxation, which it ignores.

    The protocol of pw.x scales one of them with the number of atoms. References of one study would have other inputs,
    and not be found again, whenever the study gets structures of another size.

    :param parameters: namelists of pw.x.
    :param given: inputs of the work chain of pw.x from protocol and overrides; thresholds among them stay.
    """
    control = given.get('pw', {}).get('parameters', {}).get('CONTROL', {})
    dropped = {'etot_conv_thr', 'forc_conv_thr'} - set(control)
    kept = {key: value for key, value in parameters['CONTROL'].items() if key not in dropped}
    return {**parameters, 'CONTROL': kept}


def recursive_options(
    inputs: dict, options: dict | None, code: orm.AbstractCode, set_default_resources, mpi: bool = True
) -> dict:
    """Return the options of a job: those of the protocol and its overrides, updated with those shared by all jobs.

    :param code: code of the job; if it is set up with or without MPI, the shared option `withmpi` is ignored.
    :param mpi: whether the code is an MPI program; if not, a shared request for MPI is ignored, and the job asks for
        one task on each machine, not for the default of the computer, unless the options say how many.
    :raises ValueError: if an option is unknown.
    """
    shared = dict(options or {})
    check_keys(shared, CalcJob.spec().inputs['metadata']['options'], where='options')
    if code.with_mpi is not None or (not mpi and shared.get('withmpi')):
        shared.pop('withmpi', None)
    merged = recursive_merge(inputs.get('metadata', {}).get('options', {}), shared)
    merged = set_default_resources(merged, code.computer.scheduler_type)
    resources = merged.get('resources', {})
    if not mpi and 'num_machines' in resources and 'tot_num_mpiprocs' not in resources:
        resources.setdefault('num_mpiprocs_per_machine', 1)
    return merged


def count_tasks(resources: Mapping) -> int:
    """Return the number of tasks on each machine that resources ask for, ignoring the default of the computer."""
    n_machines = resources.get('num_machines', 1)
    return resources.get('num_mpiprocs_per_machine', resources.get('tot_num_mpiprocs', n_machines) // n_machines)


def remove_inputs(builder: ProcessBuilderNamespace, paths: Iterable[str]):
    """Remove inputs, given by their paths, that a work chain excludes where it exposes those of another one."""
    for path in paths:
        *names, last = path.split('.')
        namespace = builder
        for name in names:
            namespace = namespace[name]
        namespace.pop(last, None)


def request_gpus(options: dict, gpus: int, scheduler_type: str) -> dict:
    """Return the options of a job with a line that asks SLURM for GPUs, unless the options have such a line.

    :raises ValueError: if the number is not positive.
    """
    if gpus < 1:
        raise ValueError(f'`gpus` must be positive, not {gpus}')
    lines = options.get('custom_scheduler_commands', '')
    if scheduler_type != 'core.slurm' or 'gpu' in lines.lower():
        return options
    return {**options, 'custom_scheduler_commands': f'{lines}\n#SBATCH --gres=gpu:{gpus}'.lstrip('\n')}
