"""The graph of a structure as one model wants it, with H0 for networks that see it.

H0 is the Hamiltonian of a superposition of free atoms; H - H0 is what the charge does that flows when they bond. By
perturbation theory that charge follows from H0, whose blocks are sums over three and more atoms: what the network sees
of them it need not learn from geometry.
"""

from __future__ import annotations

import numpy as np
import torch

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model import keys
from aiida_hamlr.model.graph_builder import PairSelection, message_edges
from aiida_hamlr.model.irreps.frames import BlockFrames


def structure_graph(model, structure: Hamiltonian) -> tuple[dict[str, torch.Tensor], PairSelection]:
    """Tensors of a structure's graph by the names of :mod:`keys`, and which blocks of the pattern its pairs are.

    Parameters
    ----------
    model : HamiltonianModel
        The tables of its normalisation are not used.
    structure : Hamiltonian
        Gives ``atoms`` and ``pattern``, and with ``h0_features`` ``h0`` and ``overlap``.

    Raises
    ------
    ValueError
        If the structure has a species that is not in the model, atoms lie on each other, or H0 is missing.
    """
    edges = message_edges(structure.atoms, model.config.short_range.message_cutoff)
    graph, selection = model.builder.build(structure.atoms, structure.pattern, edges)
    if model.config.short_range.h0_features:
        graph.update(_h0_components(model, structure, selection, _blocks_of_edges(structure, *edges)))
    return graph, selection


def _h0_components(model, structure: Hamiltonian, pairs: PairSelection, edges: np.ndarray) -> dict[str, torch.Tensor]:
    """Components of H0 less S (e_i + e_j) / 2 with the mean on-site level e_i of every atom, eV.

    What is left does not depend on the zero of energy. ``edges`` (E,) are the blocks along message edges, -1 for none.
    """
    pattern = structure.pattern
    # Most blocks of edges are those of pairs, too.
    blocks = np.union1d(pairs.blocks, edges[edges >= 0])
    frames = BlockFrames.of(
        model.slots, structure.atoms, pattern, PairSelection(blocks, len(blocks), np.arange(len(blocks)))
    )
    levels = frames.mean_levels(structure.h0)
    means = 0.5 * (levels[pattern.first] + levels[pattern.second])
    reduced = np.repeat(means, pattern.chunk_shapes.prod(axis=1))
    reduced *= structure.overlap
    np.subtract(structure.h0, reduced, out=reduced)  # in place: no more than one array of that length
    (onsite,), (components,) = frames.onsite_components(reduced), frames.pair_components(reduced)
    components = torch.as_tensor(components, dtype=model.dtype)
    of_edges = components.new_zeros(len(edges), components.shape[1])
    of_edges[edges >= 0] = components[np.searchsorted(blocks, edges[edges >= 0])]
    return {
        keys.ONSITE_H0: torch.as_tensor(onsite, dtype=model.dtype),
        keys.PAIR_H0: components[np.searchsorted(blocks, pairs.blocks)],
        keys.EDGE_H0: of_edges,
    }


def _blocks_of_edges(structure: Hamiltonian, index: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(E,) block of every message edge; -1 beyond the reach of the orbitals, where there is none."""
    atoms, (receiver, sender) = structure.atoms, index
    images = (vectors - atoms.positions[sender] + atoms.positions[receiver]) @ np.linalg.inv(atoms.cell[:])
    return structure.pattern.find(np.column_stack([np.rint(images).astype(np.int64), receiver, sender]))
