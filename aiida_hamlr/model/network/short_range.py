"""The short-range network: H - H0 from the surroundings of atoms and pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from aiida_hamlr.model import keys
from aiida_hamlr.model.irreps.shells import ShellSlots
from aiida_hamlr.model.irreps.wigner import DenseWigner
from aiida_hamlr.model.network.attention import ReciprocalAttention, Waves
from aiida_hamlr.model.network.h0_features import H0OfAtoms, added, h0_in_frame
from aiida_hamlr.model.network.layers import (
    AtomLinear,
    AtomNetwork,
    DegreeLinear,
    DegreeNorm,
    EdgeNetwork,
    Features,
    Widths,
    bessel_basis,
    envelope,
    from_frame,
    to_frame,
)

N_SPECIES_EMBEDDING = 16

#: Unit of the field in the features, V/Å: the field of a frozen phonon of some 0.03 Å in a polar crystal. Stored
#: weights belong to it.
FIELD_UNIT = 0.05

#: Edges or pairs at once on a CPU without gradient: their features stay in its cache and take no more memory for a
#: larger structure.
BLOCK = 512


@dataclass
class NetworkOutput:
    """Output of the network for a graph, in the scale of the normalised targets.

    ``onsite`` (N, n_onsite) and ``pairs`` (P, n_columns) in the layouts' order; ``invariants`` (N, c) of the atoms;
    from ``source_invariants`` (N, c) and polar ``source_vectors`` (N, 3, c') the long range has its sources.
    """

    onsite: torch.Tensor
    pairs: torch.Tensor
    invariants: torch.Tensor
    source_invariants: torch.Tensor
    source_vectors: torch.Tensor


@dataclass
class Edges:
    """Some edges, along which messages go.

    ``receiver`` and ``sender`` (E,) atoms, ``wigner`` dense matrices into the bond frames, ``radial`` (E, n) functions
    of the length and the elements, ``weight`` (E,) envelope, ``h0`` what `h0_in_frame` gives, empty without H0.
    """

    receiver: torch.Tensor
    sender: torch.Tensor
    wigner: tuple[torch.Tensor, torch.Tensor]
    radial: torch.Tensor
    weight: torch.Tensor
    h0: list[torch.Tensor]


def _blocks(n: int, device: torch.device) -> list[slice]:
    """What is done at once of n edges or pairs, at least one slice: all with gradient or on a GPU."""
    in_blocks = device.type == 'cpu' and not torch.is_grad_enabled()
    size = BLOCK if in_blocks else max(1, n)
    return [slice(start, start + size) for start in range(0, max(1, n), size)]


def hidden_widths(width: int, top: int) -> list[int]:
    """Channels of a hidden layer in the bond frame: fewer for higher |m|, where there are fewer l."""
    per_m = [max(8, round(width * (1 - 0.75 * m / top) / 8) * 8) for m in range(top + 1)]
    return [per_m[0], max(per_m[1] // 4, 8), *per_m[1:]]


def message_inputs(widths: Widths, first: bool) -> list[int]:
    """Channels by |m| of the features that a message is made of; in the first layer those of both ends, m = 0 alone."""
    return [2 * widths.scalars] + [0] * (widths.max_degree + 1) if first else widths.frame


class MessageLayer(nn.Module):
    """Sums messages over the neighbours and updates the atoms.

    Parameters
    ----------
    widths : Widths
        Of the features.
    hidden, n_radial, radial_hidden : int
        See `EdgeNetwork`.
    n_neighbours : float
        Mean number of neighbours within the message cutoff.
    first : bool
        Of the first layer all that is known of the atoms is their element.
    h0_widths : list of int, optional
        Numbers of components of H0 by |m|; without them messages do not see it.
    """

    def __init__(
        self,
        widths: Widths,
        hidden: int,
        n_radial: int,
        radial_hidden: int,
        n_neighbours: float,
        first: bool,
        h0_widths: list[int] | None = None,
    ):
        super().__init__()
        self.widths, self.is_first, self.sees_h0 = widths, first, h0_widths is not None
        inputs, outputs = message_inputs(widths, first), widths.frame
        middle = hidden_widths(hidden, widths.max_degree)
        if not first:
            self.norm = DegreeNorm(widths)
        if h0_widths is not None:
            inputs = added(inputs, h0_widths)
        elif first:
            # Only m = 0 exists.
            inputs, outputs, middle = inputs[:1], outputs[:1], [hidden]
        self.edges = EdgeNetwork(inputs, middle, outputs, n_radial, radial_hidden)
        self.scale = n_neighbours**-0.5
        self.linear, self.norm_atoms, self.atoms = AtomLinear(widths), DegreeNorm(widths), AtomNetwork(widths)

    def forward(self, features: Features, blocks: Iterable[Edges]) -> tuple[Features, Features]:
        """Features of the atoms after one round of messages along all edges, some at a time.

        The second ones are those before what each atom makes of its own.
        """
        sent = features if self.is_first else self.norm(features)
        sums = Features(*(torch.zeros_like(x) for x in (features.scalars, features.natural, features.unnatural)))
        for edges in blocks:
            sums = sums.with_rows(self._messages(sent, edges), edges.receiver)
        gathered = features + self.linear(sums)
        return gathered + self.atoms(self.norm_atoms(gathered)), gathered

    def _messages(self, features: Features, edges: Edges) -> Features:
        weight = edges.weight * self.scale
        h0 = edges.h0 if self.sees_h0 else []
        if not self.is_first:
            pieces = to_frame(features[edges.sender], edges.wigner, self.widths.max_degree, h0)
        else:
            both = [features.scalars[edges.receiver], features.scalars[edges.sender]]
            pieces = [torch.cat([*both, *h0[:1]], dim=1), *h0[1:]]
            if not h0:
                (piece,) = self.edges(pieces, edges.radial)
                return self._rotate_axial(piece * weight[:, None], edges.wigner)
            pieces += [weight.new_zeros(len(weight), 2, 0)] * (self.widths.max_degree + 2 - len(pieces))
        pieces = self.edges(pieces, edges.radial)
        # in place: what they were is not needed for the gradient
        pieces = [piece.mul_(weight[:, None] if piece.dim() == 2 else weight[:, None, None]) for piece in pieces]
        return from_frame(pieces, edges.wigner, self.widths)

    def _rotate_axial(self, piece, wigner) -> Features:
        widths, n_edges = self.widths, len(piece)
        n_degrees = widths.max_degree + 1
        scalars, axial = piece.split([widths.scalars, n_degrees * widths.natural], dim=1)
        natural = torch.bmm(wigner[0][:, :n_degrees].transpose(1, 2), axial.view(n_edges, n_degrees, widths.natural))
        return Features(scalars, natural, None)


class OnsiteHead(nn.Module):
    """Components of the on-site blocks, with separate weights for every element."""

    def __init__(self, widths: Widths, slots: ShellSlots):
        super().__init__()
        layout, top = slots.onsite, 2 * slots.max_degree
        self.n_species = len(slots.species)
        self.atoms = AtomNetwork(widths)
        natural_rows = [l for l in widths.natural_degrees if l <= top]
        unnatural_rows = [l for l in widths.unnatural_degrees if l < top]
        self.n_rows = [len(natural_rows), len(unnatural_rows)]
        self.n_slots = [max(len(group) for group in groups) for groups in (layout.natural, layout.unnatural)]
        self.natural = DegreeLinear(natural_rows, widths.natural, self.n_species * self.n_slots[0])
        self.unnatural = DegreeLinear(unnatural_rows, widths.unnatural, self.n_species * self.n_slots[1])
        self.invariant = nn.Linear(widths.scalars, self.n_species * self.n_slots[0])
        position = []
        for n, component in layout.columns:
            channel = layout.channels[n]
            if channel.natural:
                row, slot = channel.degree**2 + component, layout.natural[channel.degree].index(n)
                position.append(row * self.n_slots[0] + slot)
            else:
                row, slot = channel.degree**2 - 1 + component, layout.unnatural[channel.degree].index(n)
                position.append(self.n_rows[0] * self.n_slots[0] + row * self.n_slots[1] + slot)
        self.register_buffer('position', torch.tensor(position), persistent=False)

    def forward(self, features: Features, species: torch.Tensor) -> torch.Tensor:
        """(N, n_onsite) components, from the features and elements (N,) of the atoms."""
        features = features + self.atoms(features)
        n_atoms = len(species)
        atom = torch.arange(n_atoms, device=species.device)
        natural = self.natural(features.natural[:, : self.n_rows[0]])
        natural = torch.cat([natural[:, :1] + self.invariant(features.scalars)[:, None], natural[:, 1:]], dim=1)
        unnatural = self.unnatural(features.unnatural[:, : self.n_rows[1]])
        parts = [
            x.reshape(n_atoms, rows, self.n_species, slots)[atom, :, species].reshape(n_atoms, -1)
            for x, rows, slots in zip((natural, unnatural), self.n_rows, self.n_slots, strict=True)
        ]
        return torch.cat(parts, dim=1)[:, self.position]


class ShortRangeNetwork(nn.Module):
    """Message passing over atoms, then a head for pairs and one for the atoms themselves.

    Cost O(L^3) per edge; linear in the number of atoms.

    Parameters
    ----------
    slots : ShellSlots
        Elements and shells.
    config : ModelConfig
        Widths and cutoffs.
    pair_cutoff : float
        Distance beyond which blocks of H - H0 are zero, Å.
    n_neighbours : float
        Mean number of neighbours within the message cutoff.
    """

    def __init__(self, slots: ShellSlots, config, pair_cutoff: float, n_neighbours: float):
        super().__init__()
        n_species, top = len(slots.species), max(2, 2 * slots.max_degree)
        short, attention = config.short_range, config.attention
        unnatural = short.unnatural_channels if slots.max_degree > 0 else 1
        self.widths = Widths(top, short.scalar_channels, short.natural_channels, unnatural)
        self.n_species, self.n_bessel = n_species, short.radial_basis
        self.message_cutoff, self.pair_cutoff = short.message_cutoff, pair_cutoff
        n_radial = short.radial_basis + N_SPECIES_EMBEDDING
        self.wigner = DenseWigner(top)
        self.embedding = nn.Embedding(n_species, short.scalar_channels)
        self.edge_embedding = nn.Embedding(n_species**2, N_SPECIES_EMBEDDING)
        self.pair_embedding = nn.Embedding(n_species**2, N_SPECIES_EMBEDDING)
        self.h0_widths = slots.pairs.widths if short.h0_features else None
        # H0 reaches beyond the message cutoff: layers from which the sources are made do not see it.
        first_h0 = config.long_range.source_layers or 0
        self.layers = nn.ModuleList(
            MessageLayer(
                self.widths,
                short.hidden_channels,
                n_radial,
                short.radial_hidden,
                n_neighbours,
                n == 0,
                self.h0_widths if n >= first_h0 else None,
            )
            for n in range(short.layers)
        )
        self.field_weights = None
        if config.long_range.field_features:
            self.field_weights = nn.Parameter(torch.zeros(n_species, self.widths.natural))
        self.moment_weights = nn.Parameter(torch.randn(n_species, self.widths.scalars)) if config.magnetic else None
        # After every layer, and in the end for the on-site blocks.
        self.h0_atoms = nn.ModuleList(
            H0OfAtoms(self.widths, slots) for _ in range(short.layers if short.h0_features else 0)
        )
        self.norm = DegreeNorm(self.widths)
        self.source_layers = config.long_range.source_layers
        self.source_norm = None if self.source_layers is None else nn.LayerNorm(self.n_invariants)
        self.onsite = OnsiteHead(self.widths, slots)
        outputs = slots.pairs.widths + [0] * (top + 2 - len(slots.pairs.widths))
        self.pairs = EdgeNetwork(
            added(self.widths.times(2).frame, self.h0_widths or []),
            hidden_widths(short.pair_channels, top),
            outputs,
            n_radial,
            short.radial_hidden,
        )
        # After every layer, so that the next one combines it with the directions of the bonds.
        self.wave_cutoff, self.n_wave_basis = attention.cutoff, attention.basis
        self.attention = nn.ModuleList(
            ReciprocalAttention(self.widths, attention.heads, attention.channels, attention.basis)
            for _ in range(short.layers if config.has_attention else 0)
        )

    @property
    def n_invariants(self) -> int:
        """Number of invariant features of an atom."""
        return self.widths.scalars + self.widths.natural

    @property
    def n_vectors(self) -> int:
        """Number of polar vectors of an atom."""
        return self.widths.natural

    def forward(self, graph) -> NetworkOutput:
        """Outputs for a graph, without gradient on a CPU in blocks of edges and of pairs."""
        features, source_invariants, source_vectors = self._features(graph)
        blocks = _blocks(len(graph[keys.PAIR_LENGTH]), features.scalars.device)
        pairs = torch.cat([self._pairs(features, graph, block) for block in blocks])
        onsite = self.onsite(features, graph[keys.SPECIES])
        return NetworkOutput(onsite, pairs, features.invariants, source_invariants, source_vectors)

    def _pairs(self, features: Features, graph, block: slice) -> torch.Tensor:
        """Components of some of the pairs."""
        species = graph[keys.SPECIES]
        first, second = graph[keys.PAIR_INDEX][:, block]
        radial = torch.cat(
            [
                bessel_basis(graph[keys.PAIR_LENGTH][block], self.pair_cutoff + 0.1, self.n_bessel),
                self.pair_embedding(self.n_species * species[first] + species[second]),
            ],
            dim=1,
        )
        one, other = features[first], features[second]
        both = Features(
            torch.cat([one.scalars, other.scalars], dim=1),
            torch.cat([one.natural, other.natural], dim=2),
            torch.cat([one.unnatural, other.unnatural], dim=2),
        )
        wigner = self.wigner(graph[keys.PAIR_WIGNER][block])
        h0 = self._h0(graph, keys.PAIR_H0_INPUT, block)
        pieces = self.pairs(to_frame(both, wigner, self.widths.max_degree, h0), radial)
        return torch.cat([piece.flatten(1) for piece in pieces], dim=1)

    def _edges(self, graph, block: slice) -> Edges:
        """Some of the edges of a graph."""
        species, length = graph[keys.SPECIES], graph[keys.EDGE_LENGTH][block]
        receiver, sender = graph[keys.EDGE_INDEX][:, block]
        embedding = self.edge_embedding(self.n_species * species[receiver] + species[sender])
        radial = torch.cat([bessel_basis(length, self.message_cutoff, self.n_bessel), embedding], dim=1)
        wigner = self.wigner(graph[keys.EDGE_WIGNER][block])
        h0 = self._h0(graph, keys.EDGE_H0_INPUT, block)
        return Edges(receiver, sender, wigner, radial, envelope(length, self.message_cutoff), h0)

    def _h0(self, graph, key: str, block: slice) -> list[torch.Tensor]:
        """Components of H0 of some of the edges or pairs by |m|; none without H0."""
        return [] if self.h0_widths is None else h0_in_frame(graph[key][block], self.h0_widths)

    def atoms(self, graph) -> Features:
        """Features of the atoms after message passing."""
        return self._features(graph)[0]

    def _features(self, graph) -> tuple[Features, torch.Tensor, torch.Tensor]:
        """Features of the atoms after message passing; invariants and vectors for the sources of the long range."""
        species = graph[keys.SPECIES]
        scalars = self.embedding(species)
        if self.moment_weights is not None:
            scalars = scalars + graph[keys.MOMENT][:, None] * self.moment_weights[species]
        natural = scalars.new_zeros(len(species), len(self.widths.natural_degrees), self.widths.natural)
        if self.field_weights is not None:
            field = (graph[keys.FIELD] / FIELD_UNIT).to(scalars.dtype)
            vectors = field[:, :, None] * self.field_weights[species][:, None]
            natural = torch.cat([natural[:, :1], vectors, natural[:, 4:]], dim=1)
        unnatural = scalars.new_zeros(len(species), len(self.widths.unnatural_degrees), self.widths.unnatural)
        features = Features(scalars, natural, unnatural)
        waves = Waves.of(graph, self.wave_cutoff, self.n_wave_basis, scalars.dtype) if self.attention else None
        blocks = _blocks(len(graph[keys.EDGE_LENGTH]), scalars.device)
        # all at once they serve every layer; in blocks they are made again, since they take more than the features
        edges = [self._edges(graph, blocks[0])] if len(blocks) == 1 else None
        sources = None
        for n, layer in enumerate(self.layers):
            features, gathered = layer(features, edges or (self._edges(graph, block) for block in blocks))
            if n + 1 == self.source_layers:
                # Before attention, which sees the whole structure. The vectors stay as long as they are: dipoles are
                # linear in displacements.
                sources = self.source_norm(features.invariants), gathered.vectors
            if self.h0_atoms:
                features = features + self.h0_atoms[n](graph[keys.ONSITE_H0_INPUT], species)
            if waves is not None:
                features = self.attention[n](features, waves)
        features = self.norm(features)
        return features, *(sources or (features.invariants, features.vectors))
