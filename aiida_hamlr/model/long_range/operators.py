"""Potentials and fields at the atoms of a graph, by the operator that costs least for each structure.

Structures that are seen again and again, as in training, keep the matrices of all pairs of atoms in their graphs. Those
that are seen once, as in a prediction, and large ones have their potentials summed over waves: directly, or on a mesh.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aiida_hamlr.model import keys
from aiida_hamlr.model.long_range.ewald import coulomb_matrices, dipole_matrix
from aiida_hamlr.model.long_range.particle_mesh import coulomb_operator, prefers_mesh
from aiida_hamlr.model.padding import Padding


class StoredMatrices:
    """What a direct sum gives, from matrices of all pairs of atoms of one structure or of several.

    Parameters
    ----------
    batch : (N,) int tensor
        Structure of every atom.
    counts : (B,) int tensor
        Numbers of atoms of the structures.
    potential, field : (M,) and (M, 3) tensors
        At all atoms of unit charges at all atoms, V/e and V/(Å e), structure by structure; M is the sum of N_b^2.
    dipole : (M, 3, 3) tensor, optional
        Minus the fields of unit dipoles, V/(e Å^2); without it there are no dipoles.
    """

    def __init__(self, batch, counts, potential, field, dipole=None):
        self.batch, self._padding = batch, Padding(counts)
        self._potential = self._padding.matrices(potential)
        n_structures, n = self._potential.shape[:2]
        # Rows: atom and component; columns: atom, or atom and component.
        self._field = self._padding.matrices(field).transpose(2, 3).reshape(n_structures, 3 * n, n)
        self._dipole = None
        if dipole is not None:
            self._dipole = self._padding.matrices(dipole).transpose(2, 3).reshape(n_structures, 3 * n, 3 * n)

    def __call__(
        self, charges: torch.Tensor | None, dipoles: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Potential (N,) and field (N, 3) of charges (N,) or None and dipoles (N, 3)."""
        n_structures, n = self._potential.shape[:2]
        potential = field = 0.0
        if charges is not None:
            column = self._padding(charges).reshape(n_structures, n, 1)
            potential, field = self._potential @ column, self._field @ column
        if dipoles is not None:
            column = self._padding(dipoles).reshape(n_structures, 3 * n, 1)
            # A dipole acts with the field matrix of a charge at the other atom, whose sign is the opposite.
            potential = potential - self._field.transpose(1, 2) @ column
            field = field - self._dipole @ column
        return self._padding.inverse(potential[..., 0]), self._padding.inverse(field.reshape(n_structures, n, 3))


class JointOperator:
    """Operators of the structures of a batch as one.

    Parameters
    ----------
    batch : (N,) int tensor
        Structure of every atom.
    parts : sequence of ((n,) tensor, operator)
        Atoms that an operator acts on, all atoms once.
    """

    def __init__(self, batch: torch.Tensor, parts):
        self.batch, self._parts = batch, list(parts)

    def __call__(
        self, charges: torch.Tensor | None, dipoles: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Potential (N,) and field (N, 3) of charges (N,) or None and dipoles (N, 3)."""
        like = charges if charges is not None else dipoles
        potential, field = like.new_zeros(len(like)), like.new_zeros(len(like), 3)
        for atoms, operator in self._parts:
            one, other = operator(*(None if values is None else values[atoms] for values in (charges, dipoles)))
            potential, field = potential.index_copy(0, atoms, one), field.index_copy(0, atoms, other)
        return potential, field


def store_matrices(graph, names: Sequence[str], width: float):
    """Store the matrices of one structure in its graph: potentials of charges, fields and, if named, those of dipoles.

    Parameters
    ----------
    graph : mapping of str to tensor
        With :data:`~aiida_hamlr.model.keys.HAS_MATRICES`; if that is false the matrices are empty, so that all
        structures of a batch have the same tensors.
    names : sequence of str
        Two or three keys.
    width : float
        Width s of the kernel, Å.
    """
    cell, positions = graph[keys.CELL][0], graph[keys.POSITION]
    if bool(graph[keys.HAS_MATRICES]):
        matrices = list(coulomb_matrices(cell, positions, width))
        if len(names) > 2:
            matrices.append(dipole_matrix(cell, positions, width))
    else:
        matrices = [positions.new_zeros(0, 0, *shape) for shape in ((), (3,), (3, 3))]
    for name, matrix in zip(names, matrices, strict=False):
        graph[name] = matrix.flatten(0, 1)


def keeps_matrices(graph, width: float, accuracy: float | None) -> bool:
    """Whether one structure is small enough for matrices; arguments as of :func:`graph_operator`."""
    return not prefers_mesh(len(graph[keys.POSITION]), graph[keys.CELL][0], width, accuracy)


def graph_operator(graph, names: Sequence[str], width: float, accuracy: float | None):
    """Operator of all structures of a graph: stored matrices where it has them, sums over waves elsewhere.

    Parameters
    ----------
    graph : mapping of str to tensor
        Of one structure or of a batch.
    names : sequence of str
        Keys of the matrices, as of :func:`store_matrices`.
    width, accuracy
        Of the sums, as of :func:`~aiida_hamlr.model.long_range.particle_mesh.coulomb_operator`.

    Returns
    -------
    callable
        From charges (N,), e, or None, and dipoles (N, 3), e Å, or None, to potentials (N,), V, and fields (N, 3), V/Å;
        with ``batch`` (N,), the structure of every atom.
    """
    batch, counts, stored = graph[keys.BATCH], graph[keys.N_ATOMS], graph[keys.HAS_MATRICES].tolist()
    if all(stored):
        return StoredMatrices(batch, counts, *(graph[name] for name in names))
    atoms = torch.arange(len(batch), device=batch.device).split(counts.tolist())
    parts = [
        (one, coulomb_operator(cell, graph[keys.POSITION][one], width, accuracy))
        for one, cell, is_stored in zip(atoms, graph[keys.CELL], stored, strict=True)
        if not is_stored
    ]
    if len(parts) == len(stored) == 1:
        return parts[0][1]
    if any(stored):
        one = torch.cat([one for one, is_stored in zip(atoms, stored, strict=True) if is_stored])
        small = counts[graph[keys.HAS_MATRICES]]
        parts.append((one, StoredMatrices(batch[one], small, *(graph[name] for name in names))))
    return JointOperator(batch, parts)
