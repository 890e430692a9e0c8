"""Structure nodes and the structures that computations take: the names of kinds are the labels of species.

See :mod:`aiida_hamlr.electronic.species`. A kind is a species of its own if a pseudopotential, orbitals or a model are
given for its name; else it is one of its element, as the sublattices of an antiferromagnet are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from aiida.orm import StructureData, TrajectoryData
from aiida.orm.nodes.data.structure import Kind
from ase import Atoms

from aiida_hamlr.electronic.magnetism import moments_of_species
from aiida_hamlr.electronic.species import element_of_label, labelled_atoms, normalise_label, species_labels

__all__ = (
    'choose_species',
    'elements_of_kinds',
    'find_kind_problem',
    'find_missing_species',
    'get_atoms',
    'get_frame',
    'moments_of_kinds',
    'name_pseudos',
    'select_pseudos',
    'structure_from_atoms',
)


def find_kind_problem(structure: StructureData) -> str | None:
    """Return which kind of a structure has a name that is no label of a species, or nothing."""
    for kind in structure.kinds:
        try:
            right = normalise_label(kind.name) == kind.name and element_of_label(kind.name) == kind.symbol
        except ValueError:
            right = False
        if not right:
            return (
                f'the kind {kind.name!r} of {kind.symbol}: name it by the chemical symbol, with digits, letters, _ or '
                f'- behind it if there are several, as in {kind.symbol}1'
            )
    return None


def elements_of_kinds(node: StructureData | TrajectoryData) -> dict[str, str]:
    """Return the chemical symbol of every kind, by its name."""
    if isinstance(node, TrajectoryData):
        return {name: element_of_label(name) for name in sorted(set(node.symbols))}
    return {kind.name: kind.symbol for kind in node.kinds}


def choose_species(node: StructureData | TrajectoryData, given: Collection[str]) -> dict[str, str]:
    """Return the species of every kind, by its name: the name itself if something is given for it, or its element.

    :param given: species for which there are pseudopotentials.
    """
    return {name: name if name in given else element for name, element in elements_of_kinds(node).items()}


def find_missing_species(nodes, given: Collection[str]) -> list[str]:
    """Return the kinds of some structures for which nothing is given, neither by their name nor by their element."""
    species = set().union(*(choose_species(node, given).items() for node in nodes))
    return sorted(name for name, chosen in species if chosen not in given)


def get_atoms(structure: StructureData, given: Collection[str] | None = None) -> Atoms:
    """Return cell, positions and species of a structure; the names of its kinds are the labels of the species.

    :param given: species for which there are pseudopotentials; kinds with other names are species of their element.
    """
    species = choose_species(structure, structure.get_kind_names() if given is None else given)
    return labelled_atoms(
        [species[site.kind_name] for site in structure.sites],
        positions=[site.position for site in structure.sites],
        cell=structure.cell,
        pbc=structure.pbc,
    )


def structure_from_atoms(atoms: Atoms) -> StructureData:
    """Return a new node of a structure; labels of species become the names of the kinds."""
    labels = species_labels(atoms)
    if labels == atoms.get_chemical_symbols():
        return StructureData(ase=atoms)
    structure = StructureData(cell=atoms.cell.tolist(), pbc=atoms.pbc.tolist())
    for label, symbol, position in zip(labels, atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True):
        structure.append_atom(position=position, symbols=symbol, name=label)
    return structure


def moments_of_kinds(structures: Iterable[StructureData], moments: Mapping[str, float]) -> dict[str, float]:
    """Return the starting moment of every kind of some structures, in Bohr magnetons.

    :param moments: starting moments of kinds or elements; what is given for a kind takes precedence, others have zero.
    :raises ValueError: if a name is neither a kind nor an element of the structures.
    """
    kinds = {kind.name: kind.symbol for structure in structures for kind in structure.kinds}
    unknown = sorted(set(moments) - set(kinds) - set(kinds.values()))
    if unknown:
        raise ValueError(
            f'a starting moment is given for {", ".join(unknown)}, but the kinds of the structure are '
            f'{", ".join(sorted(kinds))}; name a kind, or an element for all its kinds'
        )
    return dict(zip(kinds, moments_of_species(list(kinds), moments).tolist(), strict=True))


def get_frame(trajectory: TrajectoryData, index: int) -> StructureData:
    """Return one structure of a trajectory as a new node; its symbols are names of kinds."""
    kinds = elements_of_kinds(trajectory).items()
    return trajectory.get_step_structure(
        index, custom_kinds=[Kind(name=name, symbols=symbol) for name, symbol in kinds]
    )


def select_pseudos(pseudos: Mapping, node: StructureData) -> dict:
    """Return the pseudopotentials of the species of a structure, out of those that are given."""
    return {label: pseudos[label] for label in sorted(set(choose_species(node, pseudos).values()))}


def name_pseudos(pseudos: Mapping, structure: StructureData, named: Collection[str]) -> dict:
    """Return pseudopotentials by species, from those by kind.

    :param pseudos: one for every kind of the structure.
    :param named: kinds that are species of their own; others are if the kinds of their element have different ones.
    """
    different = {
        kind.symbol
        for kind in structure.kinds
        for other in structure.kinds
        if other.symbol == kind.symbol and pseudos[other.name].md5 != pseudos[kind.name].md5
    }
    return {
        kind.name if kind.name in named or kind.symbol in different else kind.symbol: pseudos[kind.name]
        for kind in structure.kinds
    }
