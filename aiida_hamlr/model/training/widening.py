"""From a network to one with more elements and shells: where each weight and each row of a table belongs."""

from __future__ import annotations

import torch
from ase.data import atomic_numbers

from aiida_hamlr.electronic.species import element_of_label
from aiida_hamlr.model.irreps.shells import ShellSlots
from aiida_hamlr.model.network.layers import Widths
from aiida_hamlr.model.network.short_range import message_inputs

#: Atomic numbers of the noble gases, where the groups of the periodic table begin again.
_NOBLE = (0, 2, 10, 18, 36, 54, 86)


class Widening:
    """Where weights and tables of elements and shells of one network are in another one that has more of both.

    Parameters
    ----------
    old, new : ShellSlots
        Of both networks; the new one has all species of the old one.
    widths : Widths
        Of the features, the same in both.

    Attributes
    ----------
    own : (n_old,) tensor
        Place of each old species among the new ones.
    kinds : (n_old^2,) tensor
        Place of each ordered pair of old species among the new pairs.
    """

    def __init__(self, old: ShellSlots, new: ShellSlots, widths: Widths):
        self.old, self.new, self.widths = old, new, widths
        self.own = torch.tensor([new.species.index(label) for label in old.species])
        n_old, n_new = len(old.species), len(new.species)
        #: Row of every ordered pair of elements.
        self.kinds = (n_new * self.own[:, None] + self.own[None, :]).flatten()
        twins = [self._twin(label) for label in new.species]
        #: For every element of the new network that of the old one whose weights it starts with, or -1.
        self.twins = torch.tensor(twins)
        both = self.twins[:, None] * n_old + self.twins[None, :]
        self.kind_twins = torch.where((self.twins[:, None] < 0) | (self.twins[None, :] < 0), -1, both).flatten()
        self.n_old, self.n_new = n_old, n_new

    def _twin(self, label: str) -> int:
        if label in self.old.species:
            return self.old.species.index(label)
        same = [n for n, other in enumerate(self.old.species) if _group(other) == _group(label)]
        return same[0] if same else -1

    def copy(self, name: str, source: torch.Tensor, target: torch.Tensor):
        """Copy a tensor ``source`` of the old state into the one of the same name, ``target``, of the new state.

        What the old network has nothing for, new elements without a twin and their tables, keeps its value.
        """
        if name.split('.')[0] in ('normalisation', 'h0_normalisation', 'edge_h0_normalisation'):
            rows = self.kinds if name.endswith(('two_body', 'pair_scale')) else self.own
            target[rows] = self.widened(name.split('.')[1], source, target[rows])
        elif name.startswith('network.h0_atoms.'):
            self._copy_h0_of_atoms(name, source, target)
        elif source.shape != target.shape and ('.first.maps.' in name or '.radial.' in name):
            self._copy_edge_inputs(name, source, target)
        elif name.startswith(('network.onsite.natural', 'network.onsite.unnatural', 'network.onsite.invariant')):
            self._copy_onsite(name, source, target)
        elif name.startswith('network.pairs.second.maps.'):
            rows = self._pair_rows[int(name.split('.')[4])]
            target[rows] = source
        elif name.endswith(('edge_embedding.weight', 'pair_embedding.weight')):
            chosen = self.kind_twins >= 0
            target[chosen] = source[self.kind_twins[chosen]]
        elif name == 'network.embedding.weight' or self._is_of_elements(name):
            chosen = self.twins >= 0
            target[chosen] = source[self.twins[chosen]]
        else:
            target.copy_(source)

    @staticmethod
    def _is_of_elements(name: str) -> bool:
        return name in ('network.field_weights', 'network.moment_weights') or name in (
            f'long_range.{part}'
            for part in ('species_charge', 'species_factor', 'species_root', 'identified', 'dipole_weights')
        )

    @property
    def _channel_of(self):
        """Function that gives the number of an old channel of some layout in the new one."""
        slot = {}
        for index, degree in enumerate(self.old.degrees):
            count = self.old.degrees[:index].count(degree)
            slot[index] = [n for n, l in enumerate(self.new.degrees) if l == degree][count]

        def find(channel, channels):
            wanted = (slot[channel.first], slot[channel.second], channel.degree)
            return next(n for n, c in enumerate(channels) if (c.first, c.second, c.degree) == wanted)

        return find

    @property
    def _pair_rows(self) -> list[torch.Tensor]:
        """Rows of the outputs for pairs, for every piece of the bond frame."""
        old, new, moved = self.old.pairs, self.new.pairs, self._moved('pairs').tolist()

        def pieces(layout):
            natural = [n for n, c in enumerate(layout.channels) if c.natural]
            unnatural = [n for n, c in enumerate(layout.channels) if not c.natural]
            result = [natural, unnatural]
            for m in range(1, 2 * layout.slots.max_degree + 1):
                result.append([n for group in (natural, unnatural) for n in group if layout.channels[n].degree >= m])
            return result

        return [
            torch.tensor([theirs.index(moved[n]) for n in ours], dtype=torch.long)
            for ours, theirs in zip(pieces(old), pieces(new), strict=True)
        ]

    def _copy_h0_of_atoms(self, name: str, source: torch.Tensor, target: torch.Tensor):
        """Weights of the on-site blocks of H0: slots of channels times elements and features."""
        natural, is_linear = '.unnatural' not in name, '.scalars.' in name
        ours, theirs = ((slots.onsite.natural if natural else slots.onsite.unnatural) for slots in (self.old, self.new))
        find = self._channel_of
        # The weights of linear layers have the outputs first.
        old = source.unflatten(0, (self.n_old, -1)) if is_linear else source.unflatten(-1, (self.n_old, -1))
        new = target.unflatten(0, (self.n_new, -1)) if is_linear else target.unflatten(-1, (self.n_new, -1))
        known = self.twins >= 0
        if source.dim() == 1:
            new[known] = old[self.twins[known]]
            return
        first = 0 if natural else 1
        for degree in [0] if is_linear else range(first, len(ours)):
            for place, channel in enumerate(ours[degree]):
                column = theirs[degree].index(find(self.old.onsite.channels[channel], self.new.onsite.channels))
                if is_linear:
                    new[known, :, column] = old[self.twins[known], :, place]
                else:
                    new[degree - first, column, known] = old[degree - first, place, self.twins[known]]

    def _copy_edge_inputs(self, name: str, source: torch.Tensor, target: torch.Tensor):
        """Weights of the inputs of edges or pairs: in every piece of the frame features, then components of H0."""
        if '.first.maps.' in name:
            rows = self._pair_rows[int(name.split('.')[-2])]
            n_features = source.shape[1] - len(rows)
            target[:, :n_features] = source[:, :n_features]
            target[:, n_features + rows] = source[:, n_features:]
            return
        if name.startswith('network.pairs.'):
            features = self.widths.times(2).frame
        else:
            features = message_inputs(self.widths, name.startswith('network.layers.0.'))
        # Components of H0 end at a lower |m| than the features.
        beyond = len(features) - len(self.new.pairs.widths)
        all_rows = [*self._pair_rows, *[torch.zeros(0, dtype=torch.long)] * beyond]
        places, start = [], 0
        for n_features, rows, width in zip(features, all_rows, self.new.pairs.widths + [0] * beyond, strict=True):
            places += [torch.arange(start, start + n_features), start + n_features + rows]
            start += n_features + width
        n_inputs = sum(map(len, places))
        target[torch.cat(places)] = source[:n_inputs]
        target[start:] = source[n_inputs:]

    def _copy_onsite(self, name: str, source: torch.Tensor, target: torch.Tensor):
        """Outputs of the on-site blocks: elements times slots of channels."""
        natural = '.unnatural' not in name
        ours, theirs = ((slots.onsite.natural if natural else slots.onsite.unnatural) for slots in (self.old, self.new))
        n_ours, n_theirs = max(map(len, ours)), max(map(len, theirs))
        find = self._channel_of
        is_linear = name.startswith('network.onsite.invariant')
        # The weights of linear layers have the outputs first.
        old = (source if is_linear else source.movedim(-1, 0)).unflatten(0, (self.n_old, n_ours))
        new = (target if is_linear else target.movedim(-1, 0)).unflatten(0, (self.n_new, n_theirs))
        degrees = [0] if is_linear else range(len(ours))
        first = 0 if natural else 1
        for degree in degrees:
            for place, channel in enumerate(ours[degree]):
                number = find(self.old.onsite.channels[channel], self.new.onsite.channels)
                column = theirs[degree].index(number)
                for element, twin in enumerate(self.twins.tolist()):
                    if twin < 0:
                        continue
                    if is_linear:
                        new[element, column] = old[twin, place]
                    else:
                        new[element, column, degree - first] = old[twin, place, degree - first]

    def widened(self, name: str, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Rows of a table in the columns of the new network; columns that the old one lacks are those of ``target``."""
        result = target.clone()
        if name == 'onsite_linear':
            moved = self._moved('onsite')
            result[:, moved[:, None], moved] = source
        else:
            result[..., self._columns('onsite' if name.startswith('onsite') else 'pairs')] = source
        return result

    def _columns(self, which: str) -> torch.Tensor:
        old, new, moved = getattr(self.old, which), getattr(self.new, which), self._moved(which).tolist()
        place = {tuple(column): n for n, column in enumerate(new.columns)}
        return torch.tensor([place[(moved[column[0]], *column[1:])] for column in old.columns])

    def _moved(self, which: str) -> torch.Tensor:
        """Number of every old channel of a layout in the new one."""
        old, new, find = getattr(self.old, which), getattr(self.new, which), self._channel_of
        return torch.tensor([find(channel, new.channels) for channel in old.channels])


def _group(label: str) -> int:
    """Number of electrons of an element beyond the last noble gas, filled d and f shells of the p block left out."""
    number = atomic_numbers[element_of_label(label)]
    core = max(noble for noble in _NOBLE if noble < number)
    electrons = number - core
    for filled, first in ((24, 54), (10, 18)):
        if core >= first and electrons > filled + 2:
            return electrons - filled
    return electrons
