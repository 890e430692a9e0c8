"""Random draws of the structures that an active learning starts with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from aiida import orm
from aiida.common.hashing import make_hash

__all__ = ('draw', 'draw_parts')


def draw(structures: Iterable[orm.StructureData], seed: int, number: int | None = None) -> list[orm.StructureData]:
    """Return structures drawn at random: equal ones in any profile, and much the same ones if there are some more.

    :param seed: of the draw.
    :param number: how many; all if there are fewer, or without it.
    """

    def place(node: orm.StructureData) -> bytes:
        return hashlib.sha256(f'{seed} {make_hash(node.base.attributes.all)}'.encode()).digest()

    return sorted(structures, key=place)[:number]


def draw_parts(
    structures: Iterable[orm.StructureData],
    seed: int,
    numbers: Mapping[str, int],
    get_species: Callable[[orm.StructureData], set[str]],
    known: Iterable[str] = (),
) -> dict[str, list[orm.StructureData]]:
    """Return structures drawn at random to test, to validate and to train on, with every species among the last.

    A model predicts only species that it was trained on. If those drawn to train on lack some, structures that have
    them take the place of others; this can be more than were asked for.

    :param seed: of the draw.
    :param numbers: how many to draw for ``test``, ``validation`` and ``train``, in this order.
    :param get_species: returns the species of a structure.
    :param known: species that are trained on already.
    """
    order = draw(structures, seed)
    n_held_out = numbers['test'] + numbers['validation']
    needed, seen = [], set(known)
    # Those drawn to test and to validate stay, unless only they have the species.
    for node in [*order[n_held_out:], *order[:n_held_out]]:
        species = get_species(node)
        if species - seen:
            needed.append(node)
            seen |= species
    taken = {node.uuid for node in needed}
    left = [node for node in order if node.uuid not in taken]
    n_more = max(0, numbers['train'] - len(needed))
    return {
        'test': left[: numbers['test']],
        'validation': left[numbers['test'] : n_held_out],
        'train': [*needed, *left[n_held_out : n_held_out + n_more]],
    }
