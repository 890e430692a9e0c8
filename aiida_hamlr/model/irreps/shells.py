"""Orbital blocks as irreducible components: Clebsch-Gordan tables and the order of the network's outputs.

A block between a shell l1 and a shell l2 is the sum over L = |l1 - l2| ... l1 + l2 of components of angular momentum L
and parity (-1)^(l1 + l2): ``block[m1, m2] = sum_LM coupling(l1, l2, L)[M, m1, m2] x_L[M]``, an orthonormal
change of basis. A component is called natural if its parity is (-1)^L, as that of a spherical harmonic, and unnatural
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from aiida_hamlr.electronic.orbitals.basis import LARGEST_ANGULAR_MOMENTUM
from aiida_hamlr.model.irreps.clebsch_gordan import coupling


@dataclass(frozen=True)
class Channel:
    """One irreducible component of the block between two shell slots."""

    first: int
    second: int
    degree: int
    natural: bool


class ShellSlots:
    """The shells of several elements on common slots, so that one output layer serves all pairs of elements.

    Slot ``(l, k)`` holds the k-th shell of angular momentum l of every element that has one; the slots that an element
    does not have are left out of its blocks, which keep their exact shapes.

    Parameters
    ----------
    shells : mapping of str to sequence of int
        Angular momentum of every shell of every element, in the order of the basis.

    Raises
    ------
    ValueError
        If an element has no shells, or one beyond `LARGEST_ANGULAR_MOMENTUM`.
    """

    def __init__(self, shells: Mapping[str, Sequence[int]]):
        self.shells = {element: tuple(int(l) for l in momenta) for element, momenta in shells.items()}
        for element, momenta in self.shells.items():
            if not momenta or min(momenta) < 0 or max(momenta) > LARGEST_ANGULAR_MOMENTUM:
                raise ValueError(
                    f'{element}: angular momenta {momenta}; only 0 to {LARGEST_ANGULAR_MOMENTUM} can be coupled'
                )
        self.species = tuple(self.shells)
        self.max_degree = max(max(momenta) for momenta in self.shells.values())
        counts = [max(momenta.count(l) for momenta in self.shells.values()) for l in range(self.max_degree + 1)]
        slots = [(l, k) for l, count in enumerate(counts) for k in range(count)]
        #: Angular momentum of every slot.
        self.degrees = tuple(l for l, _ in slots)
        #: Slot of every shell, by element.
        self.slot_of_shell = {
            element: tuple(slots.index((l, momenta[:n].count(l))) for n, l in enumerate(momenta))
            for element, momenta in self.shells.items()
        }

    def n_orbitals(self, element: str) -> int:
        """Number of orbitals of one atom of the element."""
        return sum(2 * l + 1 for l in self.shells[element])

    def shell_of_slot(self, element: str) -> dict[int, tuple[int, slice]]:
        """Angular momentum and orbitals of the slots that the element has."""
        result, offset = {}, 0
        for slot, l in zip(self.slot_of_shell[element], self.shells[element], strict=True):
            result[slot] = (l, slice(offset, offset + 2 * l + 1))
            offset += 2 * l + 1
        return result

    def _channels(self, symmetric: bool) -> list[Channel]:
        channels = []
        for a, la in enumerate(self.degrees):
            for b, lb in enumerate(self.degrees):
                if symmetric and b < a:
                    continue
                for degree in range(abs(la - lb), la + lb + 1):
                    if symmetric and a == b and degree % 2:
                        continue
                    channels.append(Channel(a, b, degree, (la + lb + degree) % 2 == 0))
        return channels

    @cached_property
    def pairs(self) -> PairLayout:
        """Order of the components of the blocks between two atoms."""
        return PairLayout(self, self._channels(symmetric=False))

    @cached_property
    def onsite(self) -> OnsiteLayout:
        """Order of the components of the blocks of one atom with itself."""
        return OnsiteLayout(self, self._channels(symmetric=True))


class PairLayout:
    """Components of the block of a pair in its bond frame, in the order in which the network gives them.

    The order is m = 0 natural, m = 0 unnatural, then for every m > 0 all 'cosine' columns and all 'sine' columns. The
    pair (+m, -m) of a natural component is (cosine, sine); that of an unnatural one, which a mirror plane through the
    bond turns into its negative, is stored as (-m, minus +m). One real matrix then acts on all channels of one m, the
    same for cosine and sine, and the network is equivariant under rotations and reflections.
    """

    def __init__(self, slots: ShellSlots, channels: list[Channel]):
        self.slots, self.channels = slots, channels
        columns, self.widths = [], []
        natural = [n for n, c in enumerate(channels) if c.natural]
        unnatural = [n for n, c in enumerate(channels) if not c.natural]
        for group in (natural, unnatural):
            self.widths.append(len(group))
            columns += [(n, channels[n].degree, 1.0) for n in group]
        for m in range(1, 2 * slots.max_degree + 1):
            plain = [n for n in natural if channels[n].degree >= m]
            twisted = [n for n in unnatural if channels[n].degree >= m]
            self.widths.append(len(plain) + len(twisted))
            columns += [(n, channels[n].degree + m, 1.0) for n in plain]
            columns += [(n, channels[n].degree - m, 1.0) for n in twisted]
            columns += [(n, channels[n].degree - m, 1.0) for n in plain]
            columns += [(n, channels[n].degree + m, -1.0) for n in twisted]
        #: Channel, component and sign of every column.
        self.columns = columns
        #: (n_columns,) channel of every column.
        self.column_channel = np.array([n for n, _, _ in columns])
        #: (n_columns,) whether the column is non-zero for a function of the two atoms' distance alone.
        self.is_two_body = np.arange(len(columns)) < self.widths[0]

    def __len__(self):
        return len(self.columns)

    @cache  # noqa: B019 - one layout per model
    def transform(self, first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
        """Columns that a pair of elements has, and the (n, rows, columns) orthonormal tensors that belong to them."""
        rows, cols = self.slots.shell_of_slot(first), self.slots.shell_of_slot(second)
        shape = (self.slots.n_orbitals(first), self.slots.n_orbitals(second))
        selected, tensors = [], []
        for index, (n, component, sign) in enumerate(self.columns):
            channel = self.channels[n]
            if channel.first in rows and channel.second in cols:
                (la, row), (lb, col) = rows[channel.first], cols[channel.second]
                tensor = np.zeros(shape)
                tensor[row, col] = sign * coupling(la, lb, channel.degree)[component]
                selected.append(index)
                tensors.append(tensor)
        return np.array(selected), np.array(tensors)


class OnsiteLayout:
    """Components of the symmetric block of an atom with itself: shell pairs a <= b, and even L only for a = b."""

    def __init__(self, slots: ShellSlots, channels: list[Channel]):
        self.slots, self.channels = slots, channels
        degrees = range(2 * slots.max_degree + 1)
        self.natural = [[n for n, c in enumerate(channels) if c.natural and c.degree == l] for l in degrees]
        self.unnatural = [[n for n, c in enumerate(channels) if not c.natural and c.degree == l] for l in degrees]
        self.columns = [(n, m) for n, c in enumerate(channels) for m in range(2 * c.degree + 1)]
        #: (n_onsite,) channel of every column.
        self.column_channel = np.array([n for n, _ in self.columns])
        #: (n_onsite,) whether the column is invariant, the only ones that may have a mean.
        self.is_scalar = np.array([channels[n].degree == 0 for n, _ in self.columns])
        #: (n_onsite,) how often the component occurs in the block: twice for two different shells.
        self.multiplicity = np.array([1.0 if channels[n].first == channels[n].second else 2.0 for n, _ in self.columns])

    def __len__(self):
        return len(self.columns)

    @cache  # noqa: B019 - one layout per model
    def transform(self, element: str) -> tuple[np.ndarray, np.ndarray]:
        """Columns that an element has, and the (n, orbitals, orbitals) symmetric tensors that belong to them."""
        shells, size = self.slots.shell_of_slot(element), self.slots.n_orbitals(element)
        selected, tensors = [], []
        for index, (n, component) in enumerate(self.columns):
            channel = self.channels[n]
            if channel.first in shells and channel.second in shells:
                (la, row), (lb, col) = shells[channel.first], shells[channel.second]
                tensor = np.zeros((size, size))
                tensor[row, col] = coupling(la, lb, channel.degree)[component]
                tensor[col, row] = tensor[row, col].T
                selected.append(index)
                tensors.append(tensor)
        return np.array(selected), np.array(tensors)
