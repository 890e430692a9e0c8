"""Distances of neighbours in structures, and whether those of one are among those of others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.neighbour_search import close_atoms

#: Neighbours further apart than this do not count, Å.
REACH = 6.0

#: A distance this much shorter than the shortest, or longer than the longest, of the other structures is unlike them.
SHORTER, LONGER = 0.9, 1.15


def summarise_distances(structures: Iterable[Atoms]) -> dict:
    """Ranges of the distances in some structures, all of them periodic in three dimensions.

    Returns
    -------
    dict
        ``shortest``: the shortest distance between atoms of two elements, Å, by names as ``Al-As``, of pairs that come
        closer than `REACH`; ``nearest``: the largest distance of an atom of an element to its nearest neighbour, Å, at
        most `REACH`.
    """
    shortest, nearest = {}, {}
    for atoms in structures:
        symbols = np.array(atoms.get_chemical_symbols())
        first, second, lengths = _neighbours(atoms)
        names = np.array(['-'.join(sorted(pair)) for pair in zip(symbols[first], symbols[second], strict=True)])
        for name in np.unique(names):
            value = float(lengths[names == name].min())
            shortest[str(name)] = min(value, shortest.get(str(name), np.inf))
        closest = np.full(len(atoms), REACH)
        np.minimum.at(closest, first, lengths)
        for element in np.unique(symbols):
            value = float(closest[symbols == element].max())
            nearest[str(element)] = max(value, nearest.get(str(element), 0.0))
    return {'shortest': dict(sorted(shortest.items())), 'nearest': dict(sorted(nearest.items()))}


def join_distances(one: dict, other: dict | None) -> dict:
    """Ranges of the distances in the structures of two summaries of `summarise_distances`; the second may be None."""
    if not other:
        return one
    result = {}
    for name, choose in (('shortest', min), ('nearest', max)):
        keys = sorted({*one.get(name, {}), *other.get(name, {})})
        result[name] = {
            key: choose(known[name][key] for known in (one, other) if key in known.get(name, {})) for key in keys
        }
    return result


def unusual_distances(atoms: Atoms, known: dict) -> list[str]:
    """Sentences that say where a structure has distances unlike those of other structures.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    known : dict
        As of `summarise_distances` for the others.
    """
    found, sentences = summarise_distances([atoms]), []
    for pair, length in found['shortest'].items():
        limit = known['shortest'].get(pair, REACH)
        if length < SHORTER * limit:
            sentences.append(f'{pair} at {length:.2f} Å, in the training data never below {limit:.2f} Å')
    for element, length in found['nearest'].items():
        limit = known['nearest'].get(element, 0.0)
        if length > LONGER * limit:
            sentences.append(
                f'{element} with its nearest neighbour at {length:.2f} Å, in the training data never beyond '
                f'{limit:.2f} Å'
            )
    return sentences


def _neighbours(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second atom of all pairs closer than `REACH`, and their distances, Å."""
    first, second, _, _, lengths = close_atoms(atoms, REACH)
    return first, second, lengths
