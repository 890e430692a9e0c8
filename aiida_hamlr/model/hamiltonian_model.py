"""The whole model: normalised short-range network plus the long-range channel."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from aiida_hamlr.model import keys
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.graph_builder import GraphBuilder
from aiida_hamlr.model.irreps.frames import PAIRS_AT_ONCE
from aiida_hamlr.model.irreps.normalisation import SWITCH_WIDTH, H0Normalisation, Normalisation, in_units, switch
from aiida_hamlr.model.irreps.shells import ShellSlots
from aiida_hamlr.model.long_range.blocks import Action, component_blocks
from aiida_hamlr.model.long_range.channel import LongRangeChannel, ResponseChannel, Sources
from aiida_hamlr.model.network.short_range import NetworkOutput, ShortRangeNetwork


@dataclass
class Components:
    """Prediction for a graph.

    ``onsite`` (N, n_onsite) and ``pairs`` (P, n_columns) are components of H - H0, eV, in the order of the layouts of
    :mod:`shells`; ``sources`` and ``action`` those of the long range, None without it; ``invariants`` (N, c) the
    invariant features of the atoms.
    """

    onsite: torch.Tensor
    pairs: torch.Tensor
    sources: Sources | None = None
    action: Action | None = None
    invariants: torch.Tensor | None = None


def even_in_spin(features: torch.Tensor, graph) -> torch.Tensor:
    """Mean of the features (N, ...) of the atoms over both spins: charges are the same for both."""
    if keys.OTHER_SPIN not in graph:
        return features
    return 0.5 * (features + features[graph[keys.OTHER_SPIN]])


def kinds_of(graph, index: str, n_species: int) -> np.ndarray:
    """(P,) ``n_species * i + j`` of the elements of the pairs or edges whose atoms are ``graph[index]``."""
    first, second = graph[keys.SPECIES].numpy()[graph[index].numpy()]
    return n_species * first + second


class HamiltonianModel(nn.Module):
    """H - H0 of a graph; of a magnetic structure H of both spins, as two structures, see `join_spins`.

    Parameters
    ----------
    shells : dict of str to list of int
        Angular momenta of the shells of every element, in the order of the basis.
    config : ModelConfig
    pair_cutoff : float
        Å.
    n_neighbours : float
        Mean number of neighbours within the message cutoff.
    """

    def __init__(self, shells: dict, config: ModelConfig, pair_cutoff: float, n_neighbours: float):
        super().__init__()
        self.slots, self.config = ShellSlots(shells), config
        self.pair_cutoff, self.n_neighbours = float(pair_cutoff), float(n_neighbours)
        self.network = ShortRangeNetwork(self.slots, config, self.pair_cutoff, self.n_neighbours)
        self.normalisation = Normalisation(self.slots, self.pair_cutoff)
        self.h0_normalisation = self.edge_h0_normalisation = None
        if config.short_range.h0_features:
            # H0 does not end at either cutoff.
            self.h0_normalisation = H0Normalisation(self.slots, self.pair_cutoff + SWITCH_WIDTH)
            self.edge_h0_normalisation = Normalisation(self.slots, config.short_range.message_cutoff + SWITCH_WIDTH)
        self.long_range = None
        if config.has_long_range:
            arguments = {
                'n_species': len(self.slots.species),
                'n_invariants': self.network.n_invariants,
                'multipole_order': config.long_range.multipole_order,
                'width': config.long_range.kernel_width,
                'environment': config.long_range.environment_charges,
                'accuracy': config.long_range.accuracy,
                'bonds': config.long_range.neutrality == 'bonds',
                'n_vectors': self.network.n_vectors if config.long_range.permanent_dipoles else 0,
            }
            if config.has_response:
                self.long_range = ResponseChannel(**arguments, output_width=config.long_range.output_width)
            else:
                self.long_range = LongRangeChannel(**arguments)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        return self.network.embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.network.embedding.weight.device

    @property
    def builder(self) -> GraphBuilder:
        """Builder of graphs for this model."""
        return GraphBuilder(
            self.slots.species,
            self.network.widths.max_degree,
            self.config.short_range.message_cutoff,
            self.pair_cutoff,
            self.dtype,
            self.config.attention.cutoff if self.config.has_attention else None,
            self.config.has_long_range and self.config.long_range.neutrality == 'bonds',
            bool(self.config.magnetic),
        )

    def normalise(self, graph):
        """Store in a graph the two-body part, the scales and the switch of the pairs, and H0 as the network sees it."""
        kinds = kinds_of(graph, keys.PAIR_INDEX, len(self.slots.species))
        lengths = graph[keys.PAIR_LENGTH].double().numpy()
        graph[keys.PAIR_SWITCH] = torch.as_tensor(switch(lengths, self.pair_cutoff), dtype=self.dtype)
        for key in (keys.PAIR_BASELINE, keys.PAIR_SCALE):
            graph[key] = torch.empty(len(lengths), len(self.slots.pairs), dtype=self.dtype)
        # in slices: in double precision the components of all pairs take several times what is kept of them
        for start in range(0, len(lengths), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            baseline, scale = self.normalisation.pairs(kinds[part], lengths[part])
            graph[keys.PAIR_BASELINE][part] = torch.as_tensor(baseline)
            graph[keys.PAIR_SCALE][part] = torch.as_tensor(scale)
        if self.h0_normalisation is not None:
            self._normalise_h0(graph)

    def _normalise_h0(self, graph):
        tables, species = self.h0_normalisation, graph[keys.SPECIES].numpy()
        onsite = tables.onsite_input(species, graph[keys.ONSITE_H0].double().numpy())
        graph[keys.ONSITE_H0_INPUT] = torch.as_tensor(onsite, dtype=self.dtype)
        graph[keys.ONSITE_BASELINE] = torch.as_tensor(tables.onsite_baseline(species, onsite), dtype=self.dtype)
        for table, name, source, index, length in (
            (tables, keys.PAIR_H0_INPUT, keys.PAIR_H0, keys.PAIR_INDEX, keys.PAIR_LENGTH),
            (self.edge_h0_normalisation, keys.EDGE_H0_INPUT, keys.EDGE_H0, keys.EDGE_INDEX, keys.EDGE_LENGTH),
        ):
            kinds, lengths = kinds_of(graph, index, len(self.slots.species)), graph[length].double().numpy()
            graph[name] = torch.empty_like(graph[source])
            for start in range(0, len(lengths), PAIRS_AT_ONCE):
                part = slice(start, start + PAIRS_AT_ONCE)
                found = in_units(graph[source][part].double().numpy(), *table.pairs(kinds[part], lengths[part]))
                graph[name][part] = torch.as_tensor(found)

    def short_range(self, graph) -> tuple[Components, NetworkOutput]:
        """Short-range part of a graph, and the output of the network with the features of the atoms.

        The graph holds the field at the atoms if the model has ``field_features``.
        """
        output = self.network(graph)
        species, norm = graph[keys.SPECIES], self.normalisation
        mean, scale = norm.onsite_mean.to(self.dtype)[species], norm.onsite_scale.to(self.dtype)[species]
        onsite = mean + scale * output.onsite
        if self.h0_normalisation is not None:
            onsite = onsite + graph[keys.ONSITE_BASELINE]
        pairs = graph[keys.PAIR_BASELINE] + graph[keys.PAIR_SCALE] * output.pairs
        return Components(onsite, pairs, invariants=output.invariants), output

    def short_range_and_action(self, graph) -> Components:
        """Short-range components, and the sources of the long range with their action on the orbitals.

        Parameters
        ----------
        graph : mapping of str to tensor
            Of one structure or of a batch, by the names of :mod:`keys`; after the channel's ``store``, if there is one.
        """
        graph = self._with_field(graph)
        components, output = self.short_range(graph)
        if self.long_range is None:
            return components
        invariants, vectors = (even_in_spin(x, graph) for x in (output.source_invariants, output.source_vectors))
        sources = self.long_range.sources(invariants, graph, vectors)
        return replace(components, sources=sources, action=self.long_range(sources, graph))

    def _with_field(self, graph):
        """The graph with the field at the atoms, if the network sees it."""
        if self.config.long_range.field_features:
            sources = self.long_range.sources_of_elements(graph)
            graph = copy.copy(graph)
            graph[keys.FIELD] = self.long_range.potentials(sources, graph)[1]
        return graph

    def invariants(self, graph) -> torch.Tensor:
        """(N, c) invariant features of the atoms, from which the blocks are made."""
        return self.network.atoms(self._with_field(graph)).invariants

    def forward(self, graph) -> Components:
        """All of H - H0 in components, for a graph that holds those of the overlap."""
        components = self.short_range_and_action(graph)
        if components.action is None:
            return components
        onsite, pairs = component_blocks(components.action, graph)
        return replace(components, onsite=components.onsite + onsite, pairs=components.pairs + pairs)

    def blocks_of_elements(self, graph) -> tuple[torch.Tensor, torch.Tensor]:
        """Long-range components, on-site and of the pairs, eV, if all atoms had the charges of their elements alone."""
        return component_blocks(self.long_range(self.long_range.sources_of_elements(graph), graph), graph)
