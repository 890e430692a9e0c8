"""Fine-tuning: a training that starts from a trained model, keeps its settings, and may add elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers

from aiida_hamlr.electronic.distances import join_distances
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import element_of_label
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.irreps.shells import ShellSlots
from aiida_hamlr.model.sections import Section
from aiida_hamlr.model.training.data_identity import DataIdentity

#: Modules of each part that `training.freeze` names.
PARTS = {
    'embeddings': (
        'network.embedding',
        'network.edge_embedding',
        'network.pair_embedding',
        'network.field_weights',
        'network.moment_weights',
    ),
    'messages': ('network.layers', 'network.norm'),
    'attention': ('network.attention',),
    'onsite': ('network.onsite',),
    'pairs': ('network.pairs',),
    'long_range': ('long_range',),
}

#: Parts with weights of every element: frozen, a new element could not be learned.
OF_ELEMENTS = ('embeddings', 'onsite')

#: Atomic numbers of the noble gases, where the groups of the periodic table begin again.
_NOBLE = (0, 2, 10, 18, 36, 54, 86)


@dataclass(frozen=True)
class Parent:
    """A trained model from which a training starts."""

    predictor: Predictor
    path: str

    @classmethod
    def read(cls, path: str | Path) -> Parent:
        """Read a model folder.

        Raises
        ------
        ValueError
            If it is no model folder, or damaged.
        """
        return cls(load_model(path), str(path))

    @property
    def model(self) -> HamiltonianModel:
        """The trained network."""
        return self.predictor.model

    @property
    def record(self) -> dict:
        """What the new model says of this one: identity, digest and data, plain JSON values."""
        description = self.predictor.description
        return {key: description.get(key) for key in ('identity', 'sha256', 'data_hash')}

    @property
    def response(self) -> dict:
        """What the parent says of its response, entries of a summary; empty without response."""
        description = self.predictor.description
        return {
            key: description[key] for key in ('response', 'response_elements', 'response_reason') if key in description
        }

    def adopt(self, config: ModelConfig, settings: TrainingConfig) -> ModelConfig:
        """Return the settings of the parent's network, after a check of those that the user gives.

        Raises
        ------
        ValueError
            If one differs from the parent's, or the precision does.
        """
        found = _contradiction(config, self.model.config)
        if found is not None:
            name, given, known = found
            raise ValueError(
                f'model.{name}: {given!r}, but {known!r} in the parent {self.path}; leave it out, or train a new model'
            )
        precision = str(self.model.dtype).removeprefix('torch.')
        if 'precision' in settings.model_fields_set and settings.precision != precision:
            raise ValueError(
                f'training.precision: {settings.precision}, but {precision} in the parent {self.path}; leave it out'
            )
        return self.model.config

    def extend(self, common: DataIdentity) -> DataIdentity:
        """Return what the new files and the parent have in common: the orbitals of all elements of both.

        Raises
        ------
        ValueError
            If orbitals, pseudopotentials, functional or gauge differ between files and parent.
        """
        predictor, description = self.predictor, self.predictor.description
        for element, species in common.basis.items():
            known = predictor.basis.get(element)
            if known is not None and known.content_hash != species.content_hash:
                raise ValueError(
                    f'basis of {element}: the parent {self.path} was trained with {known.content_hash[:12]}, the files '
                    f'have {species.content_hash[:12]}; make them with the basis in the folder of the parent'
                )
            text = predictor.pseudopotentials.get(element)
            if text is not None and common.pseudopotentials.get(element, text) != text:
                raise ValueError(f'pseudopotential of {element}: differs between the files and the parent {self.path}')
        for name in ('functional', 'gauge'):
            known, found = description.get(name), getattr(common, name)
            if known != found:
                raise ValueError(f'{name}: {found} in the files, but {known} in the parent {self.path}')
        known, warnings = description.get('ecutrho_Ry'), common.warnings
        if known and common.ecutrho and abs(known - common.ecutrho) > 1e-3 * known:
            text = f'ecutrho (Ry) differs between the files, {common.ecutrho:g}, and the parent {self.path}, {known:g}'
            warnings = (*warnings, text)
        return replace(
            common,
            basis=Basis({**predictor.basis, **common.basis}),
            pseudopotentials={**predictor.pseudopotentials, **common.pseudopotentials},
            distances=join_distances(common.distances, description.get('distances')),
            warnings=warnings,
        )

    def new_elements(self, model: HamiltonianModel) -> list[str]:
        """Species of a model that the parent does not know."""
        return [label for label in model.slots.species if label not in self.model.slots.species]

    def child(self, shells: Mapping[str, Sequence[int]]) -> HamiltonianModel:
        """Return the network with the parent's weights, for its elements and perhaps more.

        Weights of a new element start as those of the first of the parent's elements in the same group of the periodic
        table, or at random.

        Parameters
        ----------
        shells : mapping of str to sequence of int
            Angular momenta of the shells of all species, those of the parent among them.

        Raises
        ------
        ValueError
            If a new element has orbitals of higher angular momentum than those of the parent.
        """
        old = self.model
        if ShellSlots(shells).max_degree > old.slots.max_degree:
            raise ValueError(
                f'the new elements have orbitals with l = {ShellSlots(shells).max_degree}, the parent {self.path} only '
                f'up to {old.slots.max_degree}, and the width of its network follows from that; train a new model'
            )
        new = HamiltonianModel(shells, old.config, old.pair_cutoff, old.n_neighbours)
        new = new.double() if old.dtype == torch.float64 else new
        state, given = new.state_dict(), old.state_dict()
        index = _Indices(old.slots, new.slots)
        for name, value in state.items():
            index.copy(name, given[name], value)
        new.load_state_dict(state)
        return new

    def join_charges(self, model: HamiltonianModel, fitted: np.ndarray) -> np.ndarray:
        """Charges (n_species,), e: the parent's, and of new elements fitted ones moved by one constant to these."""
        theirs = self.model.long_range.species_charge.detach().double().numpy()
        own = _Indices(self.model.slots, model.slots).own.numpy()
        charges = fitted + theirs.mean() - fitted[own].mean()
        charges[own] = theirs
        return charges

    def keep_tables(self, model: HamiltonianModel):
        """Take back the parent's tables in a model whose own were fitted to the new files.

        The fit is left to what the parent never saw: pairs of elements and elements without a scale.
        """
        index, old, new = _Indices(self.model.slots, model.slots), self.model.normalisation, model.normalisation
        with torch.no_grad():
            for names, rows in (
                (('two_body', 'pair_scale'), index.kinds),
                (('onsite_mean', 'onsite_scale'), index.own),
            ):
                seen = getattr(old, names[1]).flatten(1).abs().sum(1) > 0
                for name in names:
                    source, target = getattr(old, name)[seen], getattr(new, name)
                    target[rows[seen]] = index.widened(name, source, target[rows[seen]])


def freeze(model: HamiltonianModel, parts: Sequence[str], new_elements: Sequence[str]):
    """Let some parts of a network keep their weights.

    Raises
    ------
    ValueError
        If the network has no such part, nothing is left to train, or a new element could not be learned.
    """
    for part in parts:
        members = [p for name, p in model.named_parameters() if name.startswith(PARTS[part])]
        if not members:
            raise ValueError(f'training.freeze: {part}: a model of variant {model.config.variant} has no such part')
        if part in OF_ELEMENTS and new_elements:
            raise ValueError(
                f'training.freeze: {part}: holds weights of every element, but {", ".join(new_elements)} is new; leave '
                'it out'
            )
        for parameter in members:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError('training.freeze: all parts are frozen, which leaves nothing to train')


def _contradiction(given: Section, known: Section, prefix: str = '') -> tuple[str, object, object] | None:
    """Name of a setting that is given and differs from the known one, with both values; None if all agree."""
    for name in sorted(given.model_fields_set):
        one, other = getattr(given, name), getattr(known, name)
        if isinstance(one, Section):
            found = _contradiction(one, other, f'{prefix}{name}.')
            if found is not None:
                return found
        elif one is not None and one != other:
            return prefix + name, one, other
    return None


def _group(label: str) -> int:
    """Number of electrons of an element beyond the last noble gas, filled d and f shells of the p block left out."""
    number = atomic_numbers[element_of_label(label)]
    core = max(noble for noble in _NOBLE if noble < number)
    electrons = number - core
    for filled, first in ((24, 54), (10, 18)):
        if core >= first and electrons > filled + 2:
            return electrons - filled
    return electrons


class _Indices:
    """Where weights and tables of elements and shells of one network are in another one that has more of both."""

    def __init__(self, old: ShellSlots, new: ShellSlots):
        self.old, self.new = old, new
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
        """Copy a tensor of the state; tables are left to :meth:`Parent.keep_tables` but for the parent's elements."""
        if name.startswith('normalisation.'):
            rows = self.kinds if name.endswith(('two_body', 'pair_scale')) else self.own
            target[rows] = self.widened(name.removeprefix('normalisation.'), source, target[rows])
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
        old, new, find = self.old.pairs, self.new.pairs, self._channel_of
        moved = [find(channel, new.channels) for channel in old.channels]

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
        columns = self._columns('onsite' if name.startswith('onsite') else 'pairs')
        result = target.clone()
        result[..., columns] = source
        return result

    def _columns(self, which: str) -> torch.Tensor:
        old, new, find = getattr(self.old, which), getattr(self.new, which), self._channel_of
        moved = [find(channel, new.channels) for channel in old.channels]
        place = {tuple(column): n for n, column in enumerate(new.columns)}
        return torch.tensor([place[(moved[column[0]], *column[1:])] for column in old.columns])
