"""Structures that commands are given: files that ASE reads, nodes and groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

__all__ = ('MomentsOfFiles', 'load_named_structures', 'load_source', 'load_structures')


class MomentsOfFiles:
    """Starting moments that the files of one command have, which structure nodes do not hold.

    Atoms of one element with different moments become kinds: ``Mn1`` and ``Mn2`` of an antiferromagnet. A kind means
    the same moment in all files.

    :param given: moments of the command line by kind or element; if there are any, those of the files do not count.
    """

    def __init__(self, given: Mapping[str, float] | None = None):
        self.given = dict(given or {})
        self.by_kind: dict[str, float] = {}

    def name_kinds(self, atoms):
        """Give the atoms of a file the labels of their kinds."""
        from aiida_hamlr.electronic.magnetism import label_moments

        if not self.given:
            label_moments(atoms, self.by_kind)

    @property
    def moments(self) -> dict[str, float]:
        """Moments by kind or element, Bohr magnetons: those given, or those of the files."""
        return self.given or dict(self.by_kind)


def load_structures(arguments, moments: MomentsOfFiles | None = None) -> dict:
    """Return structure nodes by label (`s0`, `s1`, ...), from nodes and groups and from files that ASE reads.

    :param moments: takes the starting moments of the files.
    """
    structures = list(_read_structures(arguments, moments).values())
    width = len(str(max(len(structures) - 1, 0)))
    return {f's{index:0{width}d}': structure for index, structure in enumerate(structures)}


def load_named_structures(arguments, moments: MomentsOfFiles | None = None) -> dict:
    """Return structure nodes by a label that tells where they are from, with the arguments of `load_structures`.

    It is the label of the node, or the name of the file or of the group, with the number of the frame or of the node in
    the group if there are several, or the formula with the PK of the node.
    """
    return _read_structures(arguments, moments)


def link_label(text: str, taken) -> str:
    """Return a text as a label of a link, made of letters, digits and single underscores, other than those taken."""
    label = re.sub(r'[\W_]+', '_', text, flags=re.ASCII).strip('_') or 'structure'
    label = f's{label}' if label[0].isdigit() else label
    number, unique = 1, label
    while unique in taken:
        number += 1
        unique = f'{label}_{number}'
    return unique


def _read_structures(arguments, moments: MomentsOfFiles | None) -> dict:
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_hamlr.data.structures import structure_from_atoms
    from aiida_hamlr.jobs.inputs import check_structure, read_frames

    structures: dict = {}
    moments = MomentsOfFiles() if moments is None else moments

    def add(name, node):
        structures[link_label(name, structures)] = node

    for argument in arguments:
        try:
            if Path(argument).is_file():
                frames = read_frames(Path(argument))
                width = len(str(len(frames) - 1))
                for index, atoms in enumerate(frames):
                    check_structure(atoms, argument)
                    moments.name_kinds(atoms)
                    node = structure_from_atoms(atoms)
                    node.label = Path(argument).stem + (f'_{index:0{width}d}' if len(frames) > 1 else '')
                    add(node.label, node)
                continue
            try:
                node = orm.load_node(argument)
            except NotExistent:
                node = orm.load_group(argument)
        except (NotExistent, ValueError, OSError) as error:
            raise click.BadParameter(
                f'{argument}: not a file that ASE reads as structures, a structure node, or a group of these ({error})'
            ) from error
        nodes = list(node.nodes) if isinstance(node, orm.Group) else [node]
        if not nodes or not all(isinstance(entry, orm.StructureData) for entry in nodes):
            raise click.BadParameter(f'{argument}: {"not a structure" if nodes else "an empty group"}')
        for index, entry in enumerate(nodes):
            in_group = f'{node.label}_{index}' if isinstance(node, orm.Group) else ''
            add(entry.label or in_group or f'{entry.get_formula("hill")}_{entry.pk}', entry)
    return structures


def load_source(arguments, group: str | None, moments: MomentsOfFiles | None = None):
    """Return what a screening takes its structures from: a group, or structures by label.

    :param arguments: as of `load_structures`; if it is one group, this is returned.
    :param group: label of a group to put the structures into, which is returned then.
    :param moments: takes the starting moments of the files.
    """
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent
    from aiida.common.hashing import make_hash

    if group is None and len(arguments) == 1 and not Path(arguments[0]).is_file():
        try:
            return orm.load_group(arguments[0])
        except (NotExistent, MultipleObjectsError, ValueError):
            pass
    structures = load_structures(arguments, moments)
    if group is None:
        return structures
    target, _ = orm.Group.collection.get_or_create(label=group)
    known = {make_hash(node.base.attributes.all) for node in target.nodes if isinstance(node, orm.StructureData)}
    for node in structures.values():
        content = make_hash(node.base.attributes.all)
        if node.pk is None and content in known:
            continue
        known.add(content)
        target.add_nodes(node if node.is_stored else node.store())
    return target
