"""Set up the computer, the codes and the pseudopotentials that the work chains need."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import NotExistent

__all__ = (
    'EXECUTABLES',
    'create_codes',
    'create_localhost',
    'create_measured_family',
    'create_pseudo_family',
    'find_codes',
    'find_executable',
)

#: Name of the executable and default calculation of each code, by the label of the code.
EXECUTABLES = {
    'pw': ('pw.x', 'quantumespresso.pw'),
    'pp': ('pp.x', 'quantumespresso.pp'),
    'hamlr': ('hamlr', 'hamlr.train'),
}

#: Labels of the codes that are optional.
OPTIONAL = ('pp',)

#: Seconds between two looks at the jobs of the local computer. A look costs some 0.1 CPU s for each job, on the cores
#: that the jobs run on.
POLL_INTERVAL = 2.0

HOW_TO_INSTALL = {
    'pw.x': 'install Quantum ESPRESSO: apt-get install quantum-espresso, or conda install -c conda-forge qe',
    'hamlr': 'it is part of this package: pip install aiida-hamlr',
}


def create_localhost(label: str = 'localhost', workdir: str | Path | None = None) -> orm.Computer:
    """Return the local computer, which is created if it does not exist.

    :param workdir: folder where jobs run; by default a folder beside the storage of the profile.
    """
    try:
        return orm.load_computer(label)
    except NotExistent:
        pass
    if workdir is None:
        from aiida.manage.configuration import get_config, get_profile

        workdir = Path(get_config().dirpath) / 'scratch' / get_profile().name
    workdir = Path(workdir).absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    computer = orm.Computer(
        label=label,
        hostname='localhost',
        description='this machine',
        transport_type='core.local',
        scheduler_type='core.direct',
        workdir=str(workdir),
    ).store()
    computer.set_minimum_job_poll_interval(POLL_INTERVAL)
    computer.set_default_mpiprocs_per_machine(1)
    computer.configure(safe_interval=0.0, use_login_shell=False)
    return computer


def find_executable(name: str) -> Path:
    """Return the path of an executable on this machine: beside the Python interpreter, or on the PATH.

    :raises ValueError: if it is not found; the message says how to install it.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise ValueError(f'{name} was not found; {HOW_TO_INSTALL.get(name, "install it")}')
    return Path(found)


def find_codes(computer: orm.Computer) -> dict[str, orm.InstalledCode]:
    """Return those of the codes pw, pp and hamlr that a computer has, by label."""
    codes = {}
    for label in EXECUTABLES:
        with suppress(NotExistent):
            codes[label] = orm.load_code(f'{label}@{computer.label}')
    return codes


def create_codes(
    computer: orm.Computer, paths: Mapping[str, str | Path] | None = None, prepend_text: str = ''
) -> dict[str, orm.InstalledCode]:
    """Return the codes pw, pp and hamlr of a computer; missing ones are created, pp only if pp.x is installed.

    A code whose executable is gone from the local computer, as after an environment was moved, or is not at the path
    that is given, counts as missing: it gets the label `<label>-<pk>`, is hidden, and stays in the provenance.

    :param paths: paths of executables on the computer by ``pw``, ``pp`` and ``hamlr``; for the local computer,
        executables that are not given are searched for.
    :param prepend_text: commands before every run, for example ``module load``.
    :raises ValueError: if an executable is not found.
    """
    paths = dict(paths or {})
    unknown = sorted(set(paths) - set(EXECUTABLES))
    if unknown:
        raise ValueError(f'unknown code {unknown[0]!r}; known are {", ".join(EXECUTABLES)}')
    codes, found = {}, find_codes(computer)
    for label, (name, plugin) in EXECUTABLES.items():
        path, known = paths.get(label), found.get(label)
        if known is not None and _is_current(known, path):
            codes[label] = known
            continue
        try:
            if path is None and computer.transport_type != 'core.local':
                raise ValueError(f'give the path of {name} on {computer.label} with --{label}')
            path = path or find_executable(name)
        except ValueError:
            if label in OPTIONAL:
                continue
            raise
        if known is not None:
            known.label, known.is_hidden = f'{label}-{known.pk}', True
        codes[label] = orm.InstalledCode(
            label=label,
            computer=computer,
            filepath_executable=str(path),
            default_calc_job_plugin=plugin,
            prepend_text=prepend_text,
        ).store()
    return codes


def _is_current(code: orm.InstalledCode, path: str | Path | None) -> bool:
    """Whether the executable of a code is at a path, if one is given, and on the local computer is there at all."""
    known = Path(code.filepath_executable)
    if path is not None:
        return known == Path(path)
    is_seen = code.computer.transport_type == 'core.local' and not isinstance(code, orm.ContainerizedCode)
    return not is_seen or not known.is_absolute() or known.is_file()


def create_pseudo_family(folder: str | Path, label: str, ecutwfc: float, ecutrho: float | None = None):
    """Return the family with a label; if it does not exist, it is created from the UPF files in a folder.

    :param ecutwfc: recommended wavefunction cutoff of all elements in Ry.
    :param ecutrho: recommended cutoff of the density in Ry; by default four times ``ecutwfc``, as norm-conserving
        pseudopotentials need.
    """
    from aiida_pseudo.data.pseudo.upf import UpfData
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    try:
        return orm.load_group(label)
    except NotExistent:
        pass
    family = CutoffsPseudoPotentialFamily.create_from_folder(Path(folder), label, pseudo_type=UpfData)
    cutoffs = {'cutoff_wfc': float(ecutwfc), 'cutoff_rho': float(ecutrho or 4 * ecutwfc)}
    family.set_cutoffs({element: cutoffs for element in family.elements}, 'standard', unit='Ry')
    return family


def create_measured_family(folder: Path, label: str, ecutwfc: float | None = None) -> dict[str, float]:
    """Create a family of the UPF files in a folder, with cutoffs measured on the orbitals of the free atoms.

    :param ecutwfc: cutoff of all elements, Ry, instead of measured ones.
    :returns: cutoff of the wave functions by element, Ry.
    :raises ValueError: if the label is taken, the folder has no UPF file, a file is not supported, or two files are of
        one element; nothing is stored.
    """
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    from aiida_hamlr.data.upf import read_upf_folder

    if orm.QueryBuilder().append(orm.Group, filters={'label': label}).count():
        raise ValueError(f'a group {label!r} exists; choose another label, or delete it: verdi group delete {label}')
    found = read_upf_folder(folder, measure=ecutwfc is None)
    cutoffs = {element: float(ecutwfc or cutoff) for element, (_, cutoff) in found.items()}
    family = CutoffsPseudoPotentialFamily(label=label).store()
    family.add_nodes([node.store() for node, _ in found.values()])
    recommended = {element: {'cutoff_wfc': cutoff, 'cutoff_rho': 4 * cutoff} for element, cutoff in cutoffs.items()}
    family.set_cutoffs(recommended, 'standard', unit='Ry')
    return cutoffs
