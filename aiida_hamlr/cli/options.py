"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click
from aiida.cmdline.params import types
from aiida.cmdline.params.options import OverridableOption

__all__ = ('combine', 'job_options', 'load_overrides', 'load_structures')

PW = OverridableOption('-X', '--pw', type=types.CodeParamType(), default='pw@localhost', help='Code of pw.x.')
PP = OverridableOption(
    '-Y', '--pp', type=types.CodeParamType(), help='Code of pp.x, to let it make the potential from the density.'
)
HAMLR = OverridableOption(
    '-Z', '--hamlr', type=types.CodeParamType(), default='hamlr@localhost', help='Code of the `hamlr` executable.'
)
FAMILY = OverridableOption('-F', '--pseudo-family', help='Label of the family of pseudopotentials.')
BASIS = OverridableOption(
    '-B',
    '--basis',
    type=types.DataParamType(sub_classes=('aiida.data:hamlr.basis',)),
    help='Basis node; if not given, orbitals are generated.',
)
PROTOCOL = OverridableOption(
    '-p',
    '--protocol',
    type=click.Choice(['fast', 'balanced', 'stringent']),
    default='balanced',
    show_default=True,
    help='How much care to take.',
)
OVERRIDES = OverridableOption(
    '-O',
    '--overrides',
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='YAML file with inputs that override those of the protocol.',
)
SEED = OverridableOption(
    '-s', '--seed', type=int, help='Seed of all random numbers; by default that of the overrides, or 0.'
)
DAEMON = OverridableOption(
    '-d', '--daemon', is_flag=True, help='Submit to the daemon instead of running and waiting here.'
)
WALLTIME = OverridableOption(
    '-w', '--max-wallclock-seconds', type=int, default=1800, show_default=True, help='Wall-time of each job.'
)
MACHINES = OverridableOption(
    '-m', '--max-num-machines', type=int, default=1, show_default=True, help='Number of nodes of each job.'
)
WITH_MPI = OverridableOption(
    '-i',
    '--with-mpi',
    is_flag=True,
    default=None,
    help='Run pw.x and pp.x with MPI; by default as their codes say, or without.',
)
CUSTOM = OverridableOption(
    '--scheduler-commands', help='Lines for the head of the job script, as "#SBATCH --gres=gpu:1".'
)
STASH = OverridableOption(
    '--stash-folder',
    metavar='PATH',
    help='Leave the Hamiltonians in this folder of the computer instead of copying them into the repository.',
)
CLEAN = OverridableOption(
    '-x', '--clean-workdir', is_flag=True, default=None, help='Clean the remote folders at the end.'
)

_JOB = (WALLTIME, MACHINES, WITH_MPI, CUSTOM, DAEMON)


def combine(*options):
    """Return a decorator that adds options, and those of all jobs."""

    def decorate(command):
        for option in reversed((*options, *_JOB)):
            command = option()(command)
        return command

    return decorate


def job_options(code, max_wallclock_seconds, max_num_machines, with_mpi, scheduler_commands) -> dict:
    """Return ``metadata.options`` of the jobs.

    :param code: what the option for MPI is about; that of `hamlr`, which is no MPI program, does not follow it.
    """
    options = {'resources': {'num_machines': max_num_machines}, 'max_wallclock_seconds': max_wallclock_seconds}
    if code.with_mpi is None:
        options['withmpi'] = bool(with_mpi)
    elif with_mpi is not None and with_mpi != code.with_mpi:
        raise click.BadParameter(
            f'code {code.label} is set up with `with_mpi` {code.with_mpi}', param_hint='--with-mpi'
        )
    if scheduler_commands:
        options['custom_scheduler_commands'] = scheduler_commands.replace('\\n', '\n')
    return options


def load_overrides(path: Path | None) -> dict:
    """Return the content of a file of overrides."""
    import yaml

    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise click.BadParameter(f'{path}: not valid YAML: {error}') from error
    if not isinstance(content, dict):
        raise click.BadParameter(f'{path}: not a mapping')
    return content


def load_structures(arguments) -> dict:
    """Return structure nodes by label, of identifiers of nodes and of groups, and of files that ASE reads."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_hamlr.data.structures import structure_from_atoms
    from aiida_hamlr.jobs.inputs import check_structure, read_frames

    structures = []
    for argument in arguments:
        try:
            if Path(argument).is_file():
                for atoms in read_frames(Path(argument)):
                    check_structure(atoms, argument)
                    structures.append(structure_from_atoms(atoms))
                continue
            try:
                node = orm.load_node(argument)
            except NotExistent:
                node = orm.load_group(argument)
        except (NotExistent, ValueError, OSError) as error:
            raise click.BadParameter(
                f'{argument}: neither a file of structures nor a node nor a group of them ({error})'
            ) from error
        nodes = list(node.nodes) if isinstance(node, orm.Group) else [node]
        if not nodes or not all(isinstance(entry, orm.StructureData) for entry in nodes):
            raise click.BadParameter(f'{argument}: {"not a structure" if nodes else "an empty group"}')
        structures += nodes
    width = len(str(max(len(structures) - 1, 0)))
    return {f's{index:0{width}d}': structure for index, structure in enumerate(structures)}
