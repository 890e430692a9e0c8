"""Options that commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import reusable
from aiida_hamlr.cli.structures import MomentsOfFiles
from aiida_hamlr.jobs.cli_options import NUMBER

if TYPE_CHECKING:
    from aiida import orm

__all__ = ('Settings', 'combine', 'load_overrides')

PW = reusable('-X', '--pw', type=types.CODE, default='pw@localhost', help='Code of pw.x.')
PP = reusable(
    '-Y',
    '--pp',
    type=types.CODE,
    help='Code of pp.x, to write the potential; by default `hamlr` computes it from the density.',
)
HAMLR = reusable('-Z', '--hamlr', type=types.CODE, default='hamlr@localhost', help='Code of the `hamlr` executable.')
FAMILY = reusable('-F', '--pseudo-family', type=types.FAMILY, help='Label of the pseudopotential family.')
PSEUDOS = reusable(
    '--pseudo',
    'pseudos',
    multiple=True,
    metavar='KIND=UPF',
    help='UPF file or node for a kind of the structures in place of the family, as in H1=H.1.25.upf; repeatable.',
)
METAL = reusable(
    '--metal/--insulator', default=None, help='Smeared or fixed occupations in pw.x; by default fixed ones.'
)
SPIN = reusable(
    '--spin',
    'moments',
    multiple=True,
    metavar='KIND=MOMENT',
    help='Collinear spin, with the initial magnetic moment of a kind, or of all kinds of an element, in Bohr magnetons '
    'as in Fe1=2.5; repeatable. Others have zero. By default the starting moments that the files hold (ASE). Moments '
    'imply --metal unless --insulator is given.',
)
MOMENTS = reusable(
    '--spin',
    'moments',
    multiple=True,
    metavar='KIND=MOMENT',
    help='Starting moment of a kind, or of all kinds of an element, in Bohr magnetons as in Fe1=2.5, as for the '
    'references of the model; repeatable. Others have zero. By default the starting moments that the files hold (ASE).',
)
SPIN_ORBIT = reusable(
    '--spin-orbit',
    is_flag=True,
    help='Spin-orbit coupling in pw.x, without magnetization; needs a family of fully relativistic pseudopotentials.',
)
SPINORS = reusable(
    '--spin-orbit',
    is_flag=True,
    help='Add the spin-orbit part of the pseudopotentials, of which nothing is learned: bands are those of spinors.',
)
SIBLINGS = reusable(
    '--spin-orbit-family',
    type=types.FAMILY,
    help='Family with the fully relativistic versions of the pseudopotentials of the model, if these are '
    'scalar-relativistic. Implies --spin-orbit.',
)
AXIS = reusable(
    '--magnetization-axis',
    nargs=3,
    type=NUMBER,
    metavar='X Y Z',
    help='With spin-orbit coupling: where positive moments of magnetic structures point, Cartesian; by default z.',
)
BASIS = reusable(
    '-B',
    '--basis',
    type=types.NodeType('hamlr.basis'),
    help='Basis node; if not given, orbitals are generated first.',
)
PROTOCOL = reusable(
    '-p',
    '--protocol',
    type=click.Choice(['fast', 'balanced', 'stringent']),
    default='balanced',
    show_default=True,
    help='Accuracy and cost of all steps.',
)
OVERRIDES = reusable(
    '-O',
    '--overrides',
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='YAML file with inputs that override the protocol.',
)
CONVERGE = reusable(
    '--converge',
    is_flag=True,
    default=None,
    help='Search the smallest ecutwfc with a cutoff error below 10 meV, one run of pw.x for each cutoff; give the one '
    'found to all references of a study.',
)
SEED = reusable('-s', '--seed', type=int, help='Seed of all random numbers; by default as in the overrides, or 0.')
DAEMON = reusable('-d', '--daemon', is_flag=True, help='Submit to the daemon instead of running here and waiting.')
WALLTIME = reusable(
    '-w', '--max-wallclock-seconds', type=int, default=1800, show_default=True, help='Wall-time of each job in seconds.'
)
MACHINES = reusable(
    '-m', '--max-num-machines', type=int, default=1, show_default=True, help='Number of machines of each job.'
)
WITH_MPI = reusable(
    '-i',
    '--with-mpi',
    is_flag=True,
    default=None,
    help='Run pw.x and pp.x with MPI; by default as their codes are set up, or without.',
)
CUSTOM = reusable(
    '--scheduler-commands', help='Lines for the head of the job script, for example "#SBATCH --gres=gpu:1".'
)
COMMITTEE = reusable(
    '-C',
    '--committee',
    multiple=True,
    type=types.NodeType('hamlr.model'),
    help='A further model of the same elements and orbitals, for example of another seed; the spread of predictions is '
    'an uncertainty. Repeatable.',
)
STASH = reusable(
    '--stash-folder',
    metavar='PATH',
    help='Keep the Hamiltonians in this folder of the computer instead of copying them into the repository.',
)
CLEAN = reusable(
    '-x', '--clean-workdir', is_flag=True, default=None, help='Clean the remote folders of the jobs at the end.'
)

OUTPUTS = reusable(
    '--outputs',
    metavar='NAMES',
    help='What to compute of each Hamiltonian, separated by commas: gap, bands, dos, projections, masses, charges, '
    'profile or layers. Of predictions, `hamiltonian` keeps the Hamiltonian too; by default hamiltonian,bands. Of '
    'references, by default nothing.',
)

#: What the work chains that run pw.x share; all of them get the options of jobs.
DFT = (PW, PP, HAMLR, FAMILY, PSEUDOS, METAL, SPIN, SPIN_ORBIT, BASIS, PROTOCOL, OVERRIDES, STASH)
_JOB = (WALLTIME, MACHINES, WITH_MPI, CUSTOM, DAEMON)


@dataclass
class Settings:
    """Values of the options that commands share; an option that a command does not have keeps its default here."""

    pw: orm.AbstractCode | None = None
    pp: orm.AbstractCode | None = None
    hamlr: orm.AbstractCode | None = None
    pseudo_family: str | None = None
    pseudos: tuple[str, ...] = ()
    metal: bool | None = None
    moments: tuple[str, ...] = ()
    spin_orbit: bool = False
    spin_orbit_family: str | None = None
    magnetization_axis: tuple[float, float, float] | None = None
    basis: orm.Data | None = None
    protocol: str | None = None
    overrides: Path | None = None
    committee: tuple[orm.Data, ...] = ()
    stash_folder: str | None = None
    seed: int | None = None
    clean_workdir: bool | None = None
    converge: bool | None = None
    outputs: str | None = None
    max_wallclock_seconds: int = 1800
    max_num_machines: int = 1
    with_mpi: bool | None = None
    scheduler_commands: str | None = None
    daemon: bool = False

    @cached_property
    def starting_moments(self) -> MomentsOfFiles:
        """Starting moments by kind or element; those of files are known once these were read."""
        return MomentsOfFiles(read_moments(self.moments))

    def job_options(self, code) -> dict:
        """Return ``metadata.options`` of the jobs.

        :param code: the code that `--with-mpi` is about; `hamlr` is no MPI program and does not follow it.
        :raises click.BadParameter: if the code is set up for the opposite.
        """
        options = {
            'resources': {'num_machines': self.max_num_machines},
            'max_wallclock_seconds': self.max_wallclock_seconds,
        }
        if code.with_mpi is None:
            options['withmpi'] = bool(self.with_mpi)
        elif self.with_mpi is not None and self.with_mpi != code.with_mpi:
            raise click.BadParameter(
                f'code {code.label} is set up with `with_mpi` {code.with_mpi}; leave the option out',
                param_hint='--with-mpi',
            )
        if self.scheduler_commands:
            options['custom_scheduler_commands'] = self.scheduler_commands.replace('\\n', '\n')
        return options

    def committee_models(self) -> dict | None:
        """Return the models that the predictions are compared with by label, if there are any."""
        return {f'model_{index}': node for index, node in enumerate(self.committee, 1)} or None

    def stashed(self, overrides: dict) -> dict:
        """Return overrides of a work chain whose Hamiltonians stay on the computer if `--stash-folder` is given."""
        if self.stash_folder is None:
            return overrides
        return {**overrides, 'storage': 'remote', 'stash_folder': self.stash_folder}

    def with_outputs(self, overrides: dict, *path: str) -> dict:
        """Return overrides with the names that `--outputs` gives, if it is given.

        :param path: keys of the parameters in which they belong.
        """
        if self.outputs is None:
            return overrides
        return _set_within(overrides, path, outputs=[name.strip() for name in self.outputs.split(',') if name.strip()])

    def with_spin_orbit(self, overrides: dict, *path: str) -> dict:
        """Return overrides of predictions with spin-orbit coupling, if the command line asks for it.

        :param path: keys of the parameters in which they belong.
        """
        if self.spin_orbit or self.spin_orbit_family:
            overrides = _set_within(overrides, path, spin_orbit=True)
        if self.magnetization_axis:
            overrides = _set_within(overrides, path, magnetization_axis=list(self.magnetization_axis))
        return overrides

    def with_moments(self, overrides: dict, *path: str) -> dict:
        """Return overrides of predictions with the starting moments that the command line or the files give.

        :param path: keys of the parameters in which they belong.
        """
        if not self.starting_moments.moments:
            return overrides
        return _set_within(overrides, path, magnetic_moments=self.starting_moments.moments)

    def siblings(self, models) -> dict | None:
        """Return the pseudopotentials of `--spin-orbit-family` by species of the models, if it is given.

        :raises click.BadParameter: if the family lacks an element, or its pseudopotentials have no spin-orbit part.
        """
        if self.spin_orbit_family is None:
            return None
        from aiida_hamlr.data.upf import load_siblings

        try:
            return load_siblings(self.spin_orbit_family, {label for model in models for label in model.species})
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint='--spin-orbit-family') from error

    def of_references(self, overrides: dict) -> dict:
        """Return overrides of a reference, with the pseudopotentials and the storage that the command line gives."""
        if self.pseudo_family is not None:
            overrides = {**overrides, 'scf': {**overrides.get('scf', {}), 'pseudo_family': self.pseudo_family}}
        return self.stashed(overrides)

    def dft_arguments(self) -> dict:
        """Return the keyword arguments, but the overrides, of the builders of work chains that run pw.x."""
        return {
            'protocol': self.protocol,
            'options': self.job_options(self.pw),
            'basis': self.basis,
            'pp_code': self.pp,
            'pseudos': load_pseudos(self.pseudos),
            **self._electronic_types(),
        }

    def _electronic_types(self) -> dict:
        """Return the electronic type, the spin type and the initial moments that the command line or the files give."""
        from aiida_quantumespresso.common.types import ElectronicType, SpinType

        moments = self.starting_moments.moments
        metal = bool(moments) if self.metal is None else self.metal
        found = {'electronic_type': ElectronicType.METAL if metal else ElectronicType.INSULATOR}
        if self.spin_orbit and moments:
            raise click.BadParameter('excludes --spin, and starting moments in files', param_hint='--spin-orbit')
        if self.spin_orbit:
            found['spin_type'] = SpinType.SPIN_ORBIT
        if moments:
            found |= {'spin_type': SpinType.COLLINEAR, 'initial_magnetic_moments': moments}
        return found

    def hamlr_arguments(self) -> dict:
        """Return the keyword arguments, but the overrides, of the builders of work chains that run only `hamlr`."""
        return {'protocol': self.protocol, 'options': self.job_options(self.hamlr)}


def _set_within(overrides: dict, path: Sequence[str], **values) -> dict:
    """Return overrides with some values below the keys of a path; what it needs is not loaded for a help text."""
    from aiida_hamlr.workflows.protocols.utils import set_within

    return set_within(overrides, path, **values)


def combine(*options):
    """Return a decorator that adds options, and those of all jobs.

    Their values come as one argument of the command, `settings`: an instance of `Settings`.
    """

    def decorate(command):
        @wraps(command)
        def gather(**values):
            shared = {field.name: values.pop(field.name) for field in fields(Settings) if field.name in values}
            return command(settings=Settings(**shared), **values)

        for option in reversed((*options, *_JOB)):
            gather = option()(gather)
        return gather

    return decorate


def load_overrides(path: Path | None) -> dict:
    """Return the content of a file of overrides."""
    from aiida_hamlr.jobs.yaml_files import read_yaml

    if path is None:
        return {}
    try:
        return read_yaml(path)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def read_moments(arguments) -> dict[str, float]:
    """Return initial magnetic moments by kind, from arguments such as ``Fe1=2.5``."""
    moments = {}
    for argument in arguments:
        kind, _, value = argument.partition('=')
        try:
            moments[kind] = NUMBER.convert(value, None, None)
        except click.BadParameter as error:
            raise click.BadParameter(
                f'{argument}: give a kind and its moment, as in Fe1=2.5', param_hint='--spin'
            ) from error
    return moments


def load_pseudos(arguments) -> dict:
    """Return pseudopotentials by kind, from arguments such as ``H1=H.1.25.upf`` or ``H1=PK``."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_hamlr.data.upf import create_upf

    pseudos = {}
    for argument in arguments:
        kind, separator, source = argument.partition('=')
        try:
            if not separator:
                raise ValueError('give a kind and a UPF file or node, as in H1=H.1.25.upf')
            pseudos[kind] = create_upf(source) if Path(source).is_file() else orm.load_node(source)
        except (NotExistent, ValueError) as error:
            raise click.BadParameter(f'{argument}: {error}', param_hint='--pseudo') from error
    return pseudos
