"""Errors of predicted components, after the one constant per structure that no physics depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from aiida_hamlr.model import keys
from aiida_hamlr.model.config import LossConfig
from aiida_hamlr.model.hamiltonian_model import Components
from aiida_hamlr.model.irreps.shells import ShellSlots


@dataclass
class Errors:
    """Sums over the elements of every structure, meV (B,), and their numbers.

    ``onsite`` and ``pairs`` sum |error| over both directions of the predicted blocks, the penalties a function of it;
    ``neglected`` is |H - H0| where the model predicts zero; ``shift`` is the fitted constant. ``weights`` are those of
    the structures in all means, see `structure_weights`.
    """

    onsite: torch.Tensor
    pairs: torch.Tensor
    onsite_penalty: torch.Tensor
    pair_penalty: torch.Tensor
    neglected: torch.Tensor
    shift: torch.Tensor
    n_onsite: torch.Tensor
    n_pairs: torch.Tensor
    n_all: torch.Tensor
    weights: torch.Tensor

    def loss(self, onsite_weight: float) -> torch.Tensor:
        """Mean penalty of the predicted elements, those of on-site blocks counted more often."""
        penalty = self.pair_penalty + onsite_weight * self.onsite_penalty
        return self._mean(penalty / (self.n_pairs + self.n_onsite))

    def _mean(self, values: torch.Tensor) -> torch.Tensor:
        return weighted_mean(values, self.weights)

    def summary(self) -> dict[str, float]:
        """Mean absolute errors: all stored elements, those of the predicted blocks, and on-site."""
        return {
            'mae_meV': float(self._mean((self.onsite + self.pairs + self.neglected) / self.n_all)),
            'mae_predicted_meV': float(self._mean((self.onsite + self.pairs) / (self.n_onsite + self.n_pairs))),
            'mae_onsite_meV': float(self._mean(self.onsite / self.n_onsite)),
        }


def irrep_weights(slots: ShellSlots, weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n_onsite,) and (n_columns,) of the components, given those of L = 0, 1, ...; 1 for higher L."""
    onsite, pairs = slots.onsite, slots.pairs
    degree_of_channel = {
        channel: degree
        for channels in (onsite.natural, onsite.unnatural)
        for degree, members in enumerate(channels)
        for channel in members
    }
    onsite_degrees = np.array([degree_of_channel[channel] for channel in onsite.column_channel])
    pair_degrees = np.array([channel.degree for channel in pairs.channels])[pairs.column_channel]
    table = np.ones(2 * slots.max_degree + 1)
    known = min(len(weights), len(table))
    table[:known] = weights[:known]
    return table[onsite_degrees], table[pair_degrees]


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of values (B,), a scalar."""
    weights = weights.to(values.dtype)
    return weights @ values / weights.sum()


def structure_weights(graph) -> torch.Tensor:
    """(B,) weights: one half for each spin of a magnetic structure, which counts like one without moments then."""
    other = _other_spin(graph)
    return 1.0 - 0.5 * (other != torch.arange(len(other), device=other.device))


def _other_spin(graph) -> torch.Tensor:
    """(B,) index of the other spin of a magnetic structure, of structures without moments their own."""
    structure = graph[keys.BATCH]
    own = torch.arange(len(graph[keys.N_ALL]), device=structure.device)
    if keys.OTHER_SPIN not in graph:
        return own
    return own.index_copy(0, structure, structure[graph[keys.OTHER_SPIN]])


def _of_both_spins(values: torch.Tensor, graph) -> torch.Tensor:
    """Sums (B,) over the two spins of the magnetic structures, which have one constant together."""
    return values + values[_other_spin(graph)] if keys.OTHER_SPIN in graph else values


class ComponentErrors(nn.Module):
    """Errors after H -> H + c S with the c of every structure that minimises the squared error.

    Parameters
    ----------
    multiplicity : (n_onsite,) array
        How often a component of an on-site block occurs in it.
    loss : str
        Penalty of an error e, meV: 'mae' is abs(e), 'mse' is e^2, 'huber' is e^2 / (2 delta) up to delta and
        abs(e) - delta / 2 beyond.
    huber_delta : float
        meV.
    onsite_weights, pair_weights : arrays of shape (n_onsite,) and (n_columns,), optional
        Weight of every component in the penalties; 1 by default.
    """

    def __init__(
        self, multiplicity, loss: str = 'mae', huber_delta: float = 1.0, onsite_weights=None, pair_weights=None
    ):
        super().__init__()
        for name, values in (('onsite_weights', onsite_weights), ('pair_weights', pair_weights)):
            tensor = None if values is None else torch.as_tensor(values, dtype=torch.get_default_dtype())
            self.register_buffer(name, tensor, persistent=False)
        self.loss, self.huber_delta = loss, huber_delta
        weights = torch.as_tensor(multiplicity, dtype=torch.get_default_dtype())
        self.register_buffer('multiplicity', weights, persistent=False)

    @classmethod
    def of(cls, slots: ShellSlots, config: LossConfig) -> ComponentErrors:
        """Return the errors of a model's components, with the penalty and the weights of the settings."""
        weights = irrep_weights(slots, config.irrep_weights) if config.irrep_weights else ()
        return cls(slots.onsite.multiplicity, config.penalty, config.huber_delta, *weights)

    def penalty(self, error: torch.Tensor) -> torch.Tensor:
        """Penalty of every error (meV)."""
        if self.loss == 'mse':
            return error.square()
        if self.loss == 'huber':
            return (
                nn.functional.huber_loss(error, torch.zeros_like(error), reduction='none', delta=self.huber_delta)
                / self.huber_delta
            )
        return error.abs()

    def forward(self, predicted: Components, graph) -> Errors:
        """Return the errors of the predicted components of all structures of a graph, after the fitted constants."""
        onsite = 1e3 * (predicted.onsite - graph[keys.ONSITE_TARGET])
        pairs = 1e3 * (predicted.pairs - graph[keys.PAIR_TARGET])
        onsite_overlap, pair_overlap = graph[keys.ONSITE_OVERLAP], graph[keys.PAIR_OVERLAP]
        atom_structure = graph[keys.BATCH]
        pair_structure = atom_structure[graph[keys.PAIR_INDEX][0]]
        zeros = onsite.new_zeros(len(graph[keys.N_ALL]))

        def total(atoms, blocks):
            return (
                zeros.index_add(0, atom_structure, atoms.sum(1)),
                zeros.index_add(0, pair_structure, blocks.sum(1)),
            )

        weighted = self.multiplicity * onsite_overlap
        numerator = total(weighted * onsite, 2.0 * pair_overlap * pairs)
        denominator = total(weighted * onsite_overlap, 2.0 * pair_overlap.square())
        numerator, denominator = (_of_both_spins(sum(parts), graph) for parts in (numerator, denominator))
        shift = -numerator / denominator
        onsite = onsite + shift[atom_structure][:, None] * onsite_overlap
        pairs = pairs + shift[pair_structure][:, None] * pair_overlap
        sums = total(self.multiplicity * onsite.abs(), 2.0 * pairs.abs())
        penalties = sums
        if self.loss != 'mae' or self.onsite_weights is not None:
            onsite_penalty, pair_penalty = self.multiplicity * self.penalty(onsite), 2.0 * self.penalty(pairs)
            if self.onsite_weights is not None:
                onsite_penalty, pair_penalty = self.onsite_weights * onsite_penalty, self.pair_weights * pair_penalty
            penalties = total(onsite_penalty, pair_penalty)
        return Errors(
            *sums,
            *penalties,
            1e3 * graph[keys.NEGLECTED],
            shift,
            graph[keys.N_ONSITE],
            graph[keys.N_PAIRS],
            graph[keys.N_ALL],
            structure_weights(graph),
        )
