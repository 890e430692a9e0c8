"""Fine-tuning: a training that starts from a trained model, keeps its settings, and may add elements."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from aiida_hamlr.electronic.distances import join_distances
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.model.config import ModelConfig, TrainingConfig
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.irreps.normalisation import Normalisation
from aiida_hamlr.model.irreps.shells import ShellSlots
from aiida_hamlr.model.sections import Section
from aiida_hamlr.model.training.data_identity import DataIdentity
from aiida_hamlr.model.training.widening import Widening

#: Modules of each part that `training.freeze` names.
PARTS = {
    'embeddings': (
        'network.embedding',
        'network.edge_embedding',
        'network.pair_embedding',
        'network.field_weights',
        'network.moment_weights',
        'network.h0_atoms',
    ),
    'messages': ('network.layers', 'network.norm'),
    'attention': ('network.attention',),
    'onsite': ('network.onsite',),
    'pairs': ('network.pairs',),
    'long_range': ('long_range',),
}

#: Parts with weights of every element: frozen, a new element could not be learned.
OF_ELEMENTS = ('embeddings', 'onsite')


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

        Warns
        -----
        UserWarning
            If the cutoff of the density does.
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
        known, told = description.get('ecutrho_Ry'), common.warnings
        if known and common.ecutrho and abs(known - common.ecutrho) > 1e-3 * known:
            text = f'ecutrho (Ry) differs between the files, {common.ecutrho:g}, and the parent {self.path}, {known:g}'
            warnings.warn(text, stacklevel=2)
            told = (*told, text)
        return replace(
            common,
            basis=Basis({**predictor.basis, **common.basis}),
            pseudopotentials={**predictor.pseudopotentials, **common.pseudopotentials},
            distances=join_distances(common.distances, description.get('distances')),
            warnings=told,
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
        index = Widening(old.slots, new.slots, old.network.widths)
        for name, value in state.items():
            index.copy(name, given[name], value)
        new.load_state_dict(state)
        return new

    def join_charges(self, model: HamiltonianModel, fitted: np.ndarray) -> np.ndarray:
        """Charges (n_species,), e: the parent's, and of new elements fitted ones moved by one constant to these."""
        theirs = self.model.long_range.species_charge.detach().double().numpy()
        own = Widening(self.model.slots, model.slots, model.network.widths).own.numpy()
        charges = fitted + theirs.mean() - fitted[own].mean()
        charges[own] = theirs
        return charges

    def keep_tables(self, model: HamiltonianModel):
        """Take back the parent's tables in a model whose own were fitted to the new files.

        The fit is left to what the parent never saw: pairs of elements and elements without a scale.
        """
        index = Widening(self.model.slots, model.slots, model.network.widths)
        for name in ('normalisation', 'h0_normalisation', 'edge_h0_normalisation'):
            if getattr(self.model, name) is not None:
                _keep_tables(index, getattr(self.model, name), getattr(model, name))


def _keep_tables(index: Widening, old: Normalisation, new: Normalisation):
    with torch.no_grad():
        for names, rows in (
            (('two_body', 'pair_scale'), index.kinds),
            ([name for name in ('onsite_mean', 'onsite_scale', 'onsite_linear') if hasattr(old, name)], index.own),
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
