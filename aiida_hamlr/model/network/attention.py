"""Attention in reciprocal space between all atoms of a crystal.

The weight of atom j for atom i is a product of queries and keys that are rotated by the phases of plane waves
(the rotary encoding of Su et al., arXiv:2104.09864, with angles k.tau as in Zhong et al., arXiv:2603.20007). Rotating
the pair (q_c, 0) of every query channel by k.tau_i and (k_c, 0) of every key channel by k.tau_j makes their product
q_i.k_j cos(k.(tau_i - tau_j)): only differences of positions enter. A second member of the pairs would add a term with
a sine, odd in k, which the sum over k and -k takes away. Head h gives

    o_i = (1 / n) sum_{k != 0} w(k) f_h(|k|) sum_j (q_i.k_j) cos(k.(tau_i - tau_j)) v_j,    n = Omega k_c^3 / (6 pi^2),

and, from the gradient of the phases, the polar vectors

    p_i = (1 / n) sum_{k != 0} w(k) g_h(|k|) (k / k_c) sum_j (q_i.k_j) sin(k.(tau_j - tau_i)) v_j,

with learned filters f and g, an envelope w that vanishes at k_c with two derivatives, and n the mean number of
k vectors in the sphere. There is no softmax: sums over j come before the product with q_i, as in linear attention
(Katharopoulos et al., arXiv:2006.16236), through one structure factor sum_j k_j v_j^T exp(i k.tau_j) per k as in Ewald
message passing (Kosmala et al., arXiv:2303.04791).

The sum is divided by the volume, neither by a number of atoms nor by weights over the k set, so that it belongs to the
crystal and not to the cell: by Poisson's formula (1 / Omega) sum_k f(k) exp(i k.r) over reciprocal lattice vectors is
sum_R F(r + R), a function F of the distance summed over all images; k = 0, left out, is the mean of F times the mean
density. In a supercell of M cells the structure factor is M times the old one where k is an old vector, and zero where
it is new, since sum_R exp(i k.R) over its cells vanishes; with Omega M times larger nothing changes. A softmax
over k, or weights that depend on the number of k vectors, would see the new ones.

Cost and memory O(N N_k), with N_k = n / 2 vectors in half the sphere: N^2 at a given density, with a small prefactor.
Units: Å, 1/Å.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from aiida_hamlr.model import keys
from aiida_hamlr.model.long_range.ewald import TOLERANCE, half_space_vectors
from aiida_hamlr.model.network.layers import Features, Widths, envelope
from aiida_hamlr.model.padding import Padding


def add_waves(graph, cutoff: float):
    """Store the wave vectors below the cutoff and their weights in a graph of one structure.

    Phases are not stored: they are made anew in every pass, so that a graph stays linear in the atoms.

    Parameters
    ----------
    graph : mapping of str to tensor
        With the cell.
    cutoff : float
        Largest wave number k_c, 1/Å.
    """
    cell = graph[keys.CELL][0]
    # The kernel of this width is negligible from the cutoff on.
    vectors = half_space_vectors(cell, math.sqrt(-2.0 * math.log(TOLERANCE)) / cutoff)
    mean_number = float(torch.linalg.det(cell).abs()) * cutoff**3 / (6 * math.pi**2)
    graph[keys.WAVE_VECTOR] = vectors
    # Twice, for k and -k.
    graph[keys.WAVE_WEIGHT] = 2.0 / mean_number * envelope(vectors.norm(dim=1), cutoff)
    graph[keys.N_WAVES] = torch.tensor([len(vectors)])


@dataclass
class Waves:
    """Plane waves at the atoms of a batch of B structures with at most n atoms and K wave vectors.

    ``phases`` (B, n, 2K), cosines and then sines; ``radial`` (B, K, n_basis) Gaussians of the wave number times the
    weights of the wave vectors; ``directions`` (B, K, 3) wave vectors over the cutoff; ``padding`` of the atoms.
    """

    phases: torch.Tensor
    radial: torch.Tensor
    directions: torch.Tensor
    padding: Padding

    @classmethod
    def of(cls, graph, cutoff: float, n_basis: int, dtype: torch.dtype) -> Waves:
        """Waves of a graph; the phases are float64 until their sines are taken."""
        atoms, waves = Padding(graph[keys.N_ATOMS]), Padding(graph[keys.N_WAVES])
        vectors = graph[keys.WAVE_VECTOR]
        spacing = cutoff / n_basis
        centres = spacing * torch.arange(1, n_basis + 1, device=vectors.device, dtype=vectors.dtype)
        radial = torch.exp(-0.5 * ((vectors.norm(dim=1, keepdim=True) - centres) / spacing) ** 2)
        phase = atoms(graph[keys.POSITION]) @ waves(vectors).transpose(1, 2)
        return cls(
            torch.cat([phase.cos(), phase.sin()], dim=2).to(dtype),
            waves(graph[keys.WAVE_WEIGHT][:, None] * radial).to(dtype),
            waves(vectors / cutoff).to(dtype),
            atoms,
        )


class ReciprocalAttention(nn.Module):
    """Adds a sum over all atoms of the crystal to the scalars and vectors of an atom, through gates that start at 0.

    Queries, keys and values are linear in the normalised invariants; the results go to the scalars and to the natural
    l = 1 rows. With the gates at 0 the network is the one without attention.

    Parameters
    ----------
    widths : Widths
        Irreps of the features.
    heads, channels : int
        Number of heads, and of channels of the queries, keys and values of each.
    n_basis : int
        Number of Gaussians in the filters.
    """

    def __init__(self, widths: Widths, heads: int, channels: int, n_basis: int):
        super().__init__()
        n_invariants = widths.scalars + widths.natural
        self.heads, self.channels, self.outputs = heads, channels, [widths.scalars, widths.natural]
        self.norm = nn.LayerNorm(n_invariants)
        self.projections = nn.Linear(n_invariants, 3 * heads * channels, bias=False)
        self.filters = nn.Linear(n_basis, 2 * heads, bias=False)
        self.scalars = nn.Linear(heads * channels, widths.scalars, bias=False)
        self.vectors = nn.Linear(heads * channels, widths.natural, bias=False)
        self.gates = nn.Linear(n_invariants, widths.scalars + widths.natural)
        self.strength = nn.Parameter(torch.zeros(widths.scalars + widths.natural))

    def forward(self, features: Features, waves: Waves) -> Features:
        """Features of the atoms after attention."""
        invariants = self.norm(features.invariants)
        scalars, vectors = self.attend(invariants, waves)
        gates = self.strength * (2.0 * torch.sigmoid(self.gates(invariants)))
        scalar_gate, vector_gate = gates.split(self.outputs, dim=1)
        natural = features.natural
        moved = natural[:, 1:4] + vector_gate[:, None] * self.vectors(vectors)
        return Features(
            features.scalars + scalar_gate * self.scalars(scalars),
            torch.cat([natural[:, :1], moved, natural[:, 4:]], dim=1),
            features.unnatural,
        )

    def attend(self, invariants: torch.Tensor, waves: Waves) -> tuple[torch.Tensor, torch.Tensor]:
        """Scalars o (N, heads * channels) and vectors p (N, 3, heads * channels) of the module's formulas."""
        n_atoms, (n_structures, n_waves, _) = len(invariants), waves.radial.shape
        shape = (n_atoms, self.heads, self.channels)
        query, key, value = (x.reshape(shape) for x in self.projections(invariants).chunk(3, dim=1))
        pairs = waves.padding((key[..., :, None] * value[..., None, :]).flatten(1))
        factors = torch.bmm(waves.phases.transpose(1, 2), pairs)
        factors = factors.view(n_structures, 2, n_waves, 1, self.heads, self.channels**2)
        filters = self.filters(waves.radial).view(n_structures, n_waves, 2, self.heads, 1)
        cosine, sine = factors.unbind(1)
        along = waves.directions[..., None, None] * filters[:, :, 1:]
        spread = torch.stack(
            [
                torch.cat([filters[:, :, :1] * cosine, along * sine], dim=2),
                torch.cat([filters[:, :, :1] * sine, -along * cosine], dim=2),
            ],
            dim=1,
        )
        gathered = torch.bmm(waves.phases, spread.flatten(1, 2).flatten(2))
        gathered = waves.padding.inverse(gathered).view(n_atoms, 4, self.heads, self.channels, self.channels)
        # e3nn orders the components of l = 1 as x, y, z.
        result = torch.einsum('nhc,nahcd->nahd', query * self.channels**-0.5, gathered).flatten(2)
        return result[:, 0], result[:, 1:]
