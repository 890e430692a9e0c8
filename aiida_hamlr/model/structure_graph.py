"""The graph of a structure as one model wants it, with H0 for networks that see it.

H0 is the Hamiltonian of a superposition of free atoms; H - H0 is what the charge does that flows when they bond. By
perturbation theory that charge follows from H0, whose blocks are sums over three and more atoms: what the network sees
of them it need not learn from geometry.
"""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

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
    graph, selection = model.builder.build(structure.atoms, structure.pattern)
    if model.config.short_range.h0_features:
        frames = BlockFrames.of(model.slots, structure.atoms, structure.pattern, selection)
        for name, values in _h0_components(model, structure, frames).items():
            graph[name] = torch.as_tensor(values, dtype=model.dtype)
    return graph, selection


def _h0_components(model, structure: Hamiltonian, frames: BlockFrames) -> dict[str, np.ndarray]:
    """Components of H0 less S (e_i + e_j) / 2 with the mean on-site level e_i of every atom, eV.

    What is left does not depend on the zero of energy.
    """
    pattern, levels = structure.pattern, frames.mean_levels(structure.h0)
    means = 0.5 * (levels[pattern.first] + levels[pattern.second])
    reduced = np.repeat(means, pattern.chunk_shapes.prod(axis=1))
    reduced *= structure.overlap
    np.subtract(structure.h0, reduced, out=reduced)  # in place: no more than one array of that length
    edges, present = _edge_blocks(structure.atoms, frames, model.config.short_range.message_cutoff)
    of_edges = np.zeros((len(present), len(model.slots.pairs)))
    (of_edges[present],) = edges.pair_components(reduced)
    (onsite,), (pairs,) = frames.onsite_components(reduced), frames.pair_components(reduced)
    return {keys.ONSITE_H0: onsite, keys.PAIR_H0: pairs, keys.EDGE_H0: of_edges}


def _edge_blocks(atoms: Atoms, frames: BlockFrames, cutoff: float) -> tuple[BlockFrames, np.ndarray]:
    """Frames of the blocks along message edges, and which edges (E,) have one: not those beyond all orbitals."""
    (receiver, sender), vectors = message_edges(atoms, cutoff)
    images = (vectors - atoms.positions[sender] + atoms.positions[receiver]) @ np.linalg.inv(atoms.cell[:])
    blocks = frames.pattern.find(np.column_stack([np.rint(images).astype(np.int64), receiver, sender]))
    present = blocks >= 0
    blocks = blocks[present]
    selection = PairSelection(blocks, len(blocks), np.arange(len(blocks)))
    return BlockFrames.of(frames.slots, atoms, frames.pattern, selection), present
