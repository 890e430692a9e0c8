"""Pseudopotentials as nodes: of fractional valence, from folders, and fully relativistic ones of a family."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida_pseudo.data.pseudo.pseudo import PseudoPotentialData
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_pseudo.groups.family.pseudo import PseudoPotentialFamily

from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.species import element_of_label

__all__ = ('FractionalUpfData', 'create_upf', 'has_spin_orbit', 'load_family', 'load_siblings', 'read_upf_folder')


class FractionalUpfData(UpfData):
    """A UPF file whose valence need not be an integer, as of the hydrogens that cap the surfaces of polar slabs.

    `UpfData` of aiida-pseudo takes integers only. Whatever takes an `UpfData` takes this node too, pw.x included.
    """

    def set_file(self, source: str | Path | BinaryIO, filename: str | None = None, **kwargs):
        """Set the file, and the element and the valence that it names.

        :raises ValueError: if it is no UPF file, or damaged.
        """
        source = self.prepare_source(source)
        PseudoPotentialData.set_file(self, source, filename, **kwargs)
        source.seek(0)
        content = parse_upf(source.read().decode('utf-8'), self.filename)
        self.element = content.element
        self.z_valence = content.z_valence

    @property
    def z_valence(self) -> float | None:
        """Return the charge of the ion."""
        return self.base.attributes.get(self._key_z_valence, None)

    @z_valence.setter
    def z_valence(self, value: float):
        if not value > 0:
            raise ValueError(f'`{value}` is not a positive number')
        self.base.attributes.set(self._key_z_valence, float(value))


def create_upf(source: str | Path | BinaryIO, filename: str | None = None) -> UpfData:
    """Return the node of a UPF file that is in the database, or a new one: `UpfData`, or `FractionalUpfData`.

    :raises ValueError: if it is no UPF file, or damaged.
    """
    source = UpfData.prepare_source(source)
    content = parse_upf(source.read().decode('utf-8'), filename or getattr(source, 'name', 'UPF file'))
    source.seek(0)
    node_type = UpfData if content.z_valence.is_integer() else FractionalUpfData
    return node_type.get_or_create(source, filename)


def load_family(label: str) -> PseudoPotentialFamily:
    """Return the family of pseudopotentials with a label.

    :raises ValueError: if no group has this label, or the group is no family of pseudopotentials.
    """
    try:
        group = orm.load_group(label)
    except NotExistent as error:
        raise ValueError(f'no family {label}; see aiida-pseudo list') from error
    if not isinstance(group, PseudoPotentialFamily):
        raise ValueError(f'{label}: a group that is no family of pseudopotentials')
    return group


def has_spin_orbit(node: UpfData) -> bool:
    """Return whether a pseudopotential is fully relativistic."""
    from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

    return Pseudopotential.from_text(node.get_content(), node.filename).has_spin_orbit


def load_siblings(family: str, labels: Iterable[str]) -> dict[str, UpfData]:
    """Return the fully relativistic pseudopotentials of a family by species label.

    :raises ValueError: if there is no such family, it lacks an element, or a pseudopotential is scalar-relativistic.
    """
    elements = {label: element_of_label(label) for label in sorted(labels)}
    found = load_family(family).get_pseudos(elements=sorted(set(elements.values())))
    scalar = [element for element, node in sorted(found.items()) if not has_spin_orbit(node)]
    if scalar:
        raise ValueError(
            f'the pseudopotentials of {", ".join(scalar)} in {family} are scalar-relativistic; give a family such as '
            'PseudoDojo FR'
        )
    return {label: found[element] for label, element in elements.items()}


def read_upf_folder(folder: str | Path, measure: bool = True) -> dict[str, tuple[UpfData, float | None]]:
    """Return the pseudopotentials of a folder by element, not stored, with the plane-wave cutoff that each needs, Ry.

    :param measure: whether to measure the cutoffs; else they are None.
    :raises ValueError: if there is no UPF file, one is not supported, or two are of one element.
    """
    from aiida_hamlr.electronic.integrals.orbital_cutoff import suggested_cutoff
    from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

    found: dict[str, tuple[UpfData, float | None]] = {}
    for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() == '.upf'):
        pseudo = Pseudopotential.read(path)
        if pseudo.element in found:
            raise ValueError(
                f'{path}: a second pseudopotential of {pseudo.element}, besides {found[pseudo.element][0].filename}; '
                'move one of them away'
            )
        try:
            node = UpfData(path)
        except ValueError as error:
            raise ValueError(f'{path}: {error}; species of fractional charge are given with --pseudo') from error
        found[pseudo.element] = node, suggested_cutoff(pseudo) if measure else None
    if not found:
        raise ValueError(f'{folder}: no UPF files (*.upf)')
    return found
