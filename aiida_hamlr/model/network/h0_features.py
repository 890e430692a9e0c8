"""H0 as a feature of atoms, messages and pairs."""

from __future__ import annotations

from itertools import zip_longest

import torch
from torch import nn

from aiida_hamlr.model.irreps.shells import ShellSlots
from aiida_hamlr.model.network.layers import DegreeLinear, Features, Widths


class H0OfAtoms(nn.Module):
    """Linear map from the on-site blocks of H0 to features of the atoms, with separate weights for every element.

    Parameters
    ----------
    widths : Widths
        Of the features.
    slots : ShellSlots
        Elements and shells.
    """

    def __init__(self, widths: Widths, slots: ShellSlots):
        super().__init__()
        layout = slots.onsite
        self.n_species = len(slots.species)
        self.linear = nn.ModuleDict()
        column = {place: n for n, place in enumerate(layout.columns)}
        for kind, groups, channels, degrees in (
            ('natural', layout.natural, widths.natural, range(widths.max_degree + 1)),
            ('unnatural', layout.unnatural, widths.unnatural, range(1, widths.max_degree)),
        ):
            groups = [groups[l] if l < len(groups) else [] for l in degrees]
            n_slots = max(1, *map(len, groups))
            # Where there is no such component, a column of zeros behind all others.
            rows = [
                [column[group[n], m] if n < len(group) else len(layout) for n in range(n_slots)]
                for l, group in zip(degrees, groups, strict=True)
                for m in range(2 * l + 1)
            ]
            self.register_buffer(f'{kind}_columns', torch.tensor(rows).reshape(-1, n_slots), persistent=False)
            linear = DegreeLinear(getattr(widths, f'{kind}_degrees'), n_slots, self.n_species * channels)
            with torch.no_grad():
                for weight, group in zip(linear.weight, groups, strict=True):
                    # As wide as it would be without the zeros.
                    weight *= (n_slots / max(1, len(group))) ** 0.5
            self.linear[kind] = linear
        self.scalars = nn.Linear(len(layout.natural[0]), self.n_species * widths.scalars)
        self.register_buffer(
            'scalar_columns', torch.tensor([column[n, 0] for n in layout.natural[0]]), persistent=False
        )

    def forward(self, onsite: torch.Tensor, species: torch.Tensor) -> Features:
        """Features of the atoms from the components (N, n_onsite) of their blocks and their elements (N,)."""
        n_atoms = len(species)
        atom = torch.arange(n_atoms, device=species.device)
        padded = torch.cat([onsite, onsite.new_zeros(n_atoms, 1)], dim=1)
        parts = [self.scalars(onsite[:, self.scalar_columns]).reshape(n_atoms, self.n_species, -1)[atom, species]]
        for kind, linear in self.linear.items():
            columns = getattr(self, f'{kind}_columns')
            found = linear(padded[:, columns.flatten()].reshape(n_atoms, *columns.shape))
            parts.append(found.reshape(n_atoms, len(columns), self.n_species, -1)[atom, :, species])
        return Features(*parts)


def h0_in_frame(components: torch.Tensor, widths: list[int]) -> list[torch.Tensor]:
    """Components of H0 by |m|, as :mod:`layers` has features in the bond frames.

    Parameters
    ----------
    components : (P, n_columns) tensor
        In the order of `PairLayout`.
    widths : list of int
        Those of the layout.
    """
    first, second, *rest = components.split([*widths[:2], *(2 * width for width in widths[2:])], dim=1)
    return [first, second, *(part.reshape(len(part), 2, -1) for part in rest)]


def added(first: list[int], second: list[int]) -> list[int]:
    """Widths of features by |m| that stand one behind the other."""
    return [one + other for one, other in zip_longest(first, second, fillvalue=0)]
