"""Reference Hamiltonians of named structures through the work chain `hamlr.reference`, kept in one folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from aiida import load_profile, orm
from aiida.common.exceptions import NotExistent
from aiida.engine import run_get_node
from aiida.manage.configuration import create_profile, get_config, reset_config
from aiida.manage.configuration.settings import AiiDAConfigDir
from aiida.plugins import CalculationFactory, WorkflowFactory
from ase import Atoms

from aiida_hamlr.cli.database import allow_concurrent_reading, database_path
from aiida_hamlr.cli.installation import create_codes, create_localhost, create_pseudo_family
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.io.qe import check_same_structure

#: Of the profile, of the family of pseudopotentials, and of the node of the basis.
LABEL = 'references'

JOB_OPTIONS = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False}


@dataclass(frozen=True)
class References:
    """Makes reference Hamiltonians in one folder, with one set of pseudopotentials, one basis and one k density.

    The AiiDA profile of the runs is in the folder too; it has no broker, so that there is no service to start.

    Parameters
    ----------
    folder : path
    elements : tuple of str
    ecutwfc : float
        Ry.
    kpoints_distance : float
        Largest distance of k-points along a reciprocal vector, 1/Å (with 2 pi).
    kpoints_offset : three float
        Offset of the mesh, 0 or 0.5 steps along each axis.
    basis : mapping
        ``size``, ``recipe`` and ``cutoff_radius`` (bohr) of `hamlr basis`.
    pseudos : mapping of str to path
        UPF files of some elements; the others are made from the published GTH parameters (LDA).
    system, electrons : mapping
        What else stands in these namelists of pw.x.
    conduction_bands : int
        Empty bands of the runs, for the check of the Hamiltonians.
    """

    folder: Path
    elements: tuple[str, ...]
    ecutwfc: float
    kpoints_distance: float
    kpoints_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    basis: Mapping = field(default_factory=lambda: {'size': 'dzp', 'recipe': 'plain', 'cutoff_radius': 8.0})
    pseudos: Mapping[str, Path] = field(default_factory=dict)
    system: Mapping = field(default_factory=dict)
    electrons: Mapping = field(default_factory=lambda: {'mixing_mode': 'local-TF', 'mixing_beta': 0.7})
    conduction_bands: int = 4

    def make(self, structures: Mapping[str, Atoms]) -> dict[str, Path]:
        """Make ``<name>.h5`` of every structure that has none yet.

        Progress goes to standard error. What fails, an scf cycle that did not converge for example, gets no file, but
        a line in ``failures.json``; it is tried again in the next call.

        Returns
        -------
        dict of str to path
            Files of those that did not fail, in the order of ``structures``.

        Raises
        ------
        ValueError
            If the folder was made with other settings, or a file of that name belongs to another structure.
        """
        self._check_settings()
        paths = {name: self.folder / f'{name}.h5' for name in structures}
        missing = {}
        for name, path in paths.items():
            if path.exists():
                check_structure(path, structures[name])
            else:
                missing[name] = structures[name]
        failures = self._failures()
        for number, (name, atoms) in enumerate(missing.items(), start=1):
            start = time.perf_counter()
            reason = self._make_one(name, atoms)
            said = f'{time.perf_counter() - start:.0f} s' if reason is None else f'FAILED: {reason}'
            print(f'{number} of {len(missing)}: {name}, {len(atoms)} atoms, {said}', file=sys.stderr, flush=True)
            failures.pop(name, None)
            if reason is not None:
                failures[name] = reason
            self._write('failures.json', failures)
        return {name: path for name, path in paths.items() if path.exists()}

    def _make_one(self, name: str, atoms: Atoms) -> str | None:
        """Write the file of one structure; why there is none, or nothing."""
        builder = WorkflowFactory('hamlr.reference').get_builder_from_protocol(
            self._codes['pw'],
            self._codes['hamlr'],
            orm.StructureData(ase=atoms),
            overrides={
                'clean_workdir': True,
                'conduction_bands': self.conduction_bands,
                'kpoints_offset': list(self.kpoints_offset),
                'scf': {
                    'pseudo_family': LABEL,
                    'kpoints_distance': self.kpoints_distance,
                    'kpoints_force_parity': False,
                    'pw': {
                        'parameters': {
                            'SYSTEM': {'ecutwfc': self.ecutwfc, 'ecutrho': 4 * self.ecutwfc, **self.system},
                            'ELECTRONS': dict(self.electrons),
                        }
                    },
                },
            },
            options=JOB_OPTIONS,
            basis=self._basis_node,
        )
        builder.metadata.label = name
        outputs, node = run_get_node(builder)
        if not node.is_finished_ok:
            return ' '.join(str(node.exit_message or node.exception or 'no result').split())
        path = self.folder / f'{name}.h5'
        temporary = path.with_suffix('.part')
        outputs['hamiltonian'].export(temporary)
        temporary.replace(path)
        return None

    @property
    def _settings(self) -> dict:
        """What all files of the folder have in common, as JSON gives it back."""
        settings = {key: value for key, value in asdict(self).items() if key != 'folder'}
        settings['pseudos'] = {element: Path(path).read_text() for element, path in self.pseudos.items()}
        return json.loads(json.dumps(settings))

    def _check_settings(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / 'settings.json'
        if not path.exists():
            self._write(path.name, self._settings)
        known = json.loads(path.read_text())
        changed = sorted(key for key, value in self._settings.items() if known.get(key) != value)
        if changed:
            raise ValueError(f'{self.folder}: made with another {changed[0]}; remove the folder or take another one')

    def _failures(self) -> dict[str, str]:
        path = self.folder / 'failures.json'
        return json.loads(path.read_text()) if path.exists() else {}

    def _write(self, name: str, content: dict):
        temporary = self.folder / f'{name}.part'
        temporary.write_text(json.dumps(content, indent=1) + '\n')
        temporary.replace(self.folder / name)

    @cached_property
    def _codes(self) -> dict[str, orm.InstalledCode]:
        """The codes, in the profile of the folder, which is loaded, and with the pseudopotentials."""
        load_own_profile(self.folder / 'aiida')
        folder = self.folder / 'pseudos'
        folder.mkdir(exist_ok=True)
        for element in self.elements:
            path = folder / f'{element}.upf'
            if element in self.pseudos:
                shutil.copyfile(self.pseudos[element], path)
            else:
                path.write_text(make_pseudopotential(element).text)
        create_pseudo_family(folder, LABEL, ecutwfc=self.ecutwfc)
        return create_codes(create_localhost(), prepend_text='export OMP_NUM_THREADS=1')

    @cached_property
    def _basis_node(self):
        """The orbitals of all elements, made once by `hamlr.basis`."""
        with suppress(NotExistent):
            return orm.load_node(label=LABEL)
        builder = CalculationFactory('hamlr.basis').get_builder()
        builder.code = self._codes['hamlr']
        builder.pseudos = orm.load_group(LABEL).get_pseudos(elements=self.elements)
        builder.parameters = orm.Dict(dict(self.basis))
        builder.metadata.options = JOB_OPTIONS
        outputs, node = run_get_node(builder)
        if not node.is_finished_ok:
            raise ValueError(f'no basis: {node.exit_message}')
        outputs['basis'].label = LABEL
        return outputs['basis']


def check_structure(path: Path, atoms: Atoms):
    """Check that a file is that of a structure.

    Raises
    ------
    ValueError
        If it is of another one.
    """
    try:
        check_same_structure(atoms, Hamiltonian.read(path, ()).atoms)
    except ValueError as error:
        raise ValueError(f'{path}: of another structure ({error}); remove it or take another folder') from error


def load_own_profile(folder: Path):
    """Load the AiiDA profile of a folder, and make it if there is none."""
    folder.mkdir(exist_ok=True)
    os.environ['AIIDA_PATH'] = str(folder.resolve())
    AiiDAConfigDir.set(folder.resolve() / '.aiida')
    reset_config()
    config = get_config(create=True)
    if LABEL not in config.profile_names:
        create_profile(
            config, name=LABEL, email='references@localhost', storage_backend='core.sqlite_dos', storage_config={}
        )
        config.set_default_profile(LABEL, overwrite=True)
        config.set_option('runner.poll.interval', 1)
        config.store()
        # It may be looked at while references are made.
        allow_concurrent_reading(database_path(config.get_profile(LABEL)))
    load_profile(LABEL)
