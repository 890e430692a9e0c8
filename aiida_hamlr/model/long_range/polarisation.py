"""Atoms that polarise each other: self-consistent dipoles, their potentials, and gradients without unrolling.

Atom i has a charge Z_i, a polarisability alpha_i >= 0 and, if given, a permanent dipole p0_i. With the kernel of
:mod:`long_range`, charges act through the field matrix F and dipoles through T = Re D^+ g D, whose term i = j stays in,
so that T is positive semidefinite:

    p = p0 + a (F Z - T p),   a = alpha / e2,   that is  p = p0 + sqrt(a) y,
    (1 + sqrt(a) T sqrt(a)) y = sqrt(a) (F Z - T p0).

This matrix is symmetric and positive definite for every alpha >= 0; without the term i = j it would not be (the
polarisation catastrophe, Thole, Chem. Phys. 59, 341 (1981)). Conjugate gradients need some ten to twenty products.
Gradients come from the solution alone (implicit differentiation): one more solve with the same matrix.
Units: e, Å, V, eV; float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.model import keys
from aiida_hamlr.model.long_range.ewald import weighted_blocks
from aiida_hamlr.model.long_range.particle_mesh import coulomb_operator
from aiida_hamlr.model.padding import Padding

#: Residual at which the dipoles are self-consistent, relative to the field of the charges.
TOLERANCE = 1e-9

#: Products with the matrix after which the solution has failed.
MAX_ITERATIONS = 500


def conjugate_gradients(
    product: Callable[[torch.Tensor], torch.Tensor],
    right: torch.Tensor,
    batch: torch.Tensor,
    tolerance: float = TOLERANCE,
) -> tuple[torch.Tensor, int]:
    """Solve ``A x = b`` for a symmetric positive definite A, independently for every structure of a batch.

    Parameters
    ----------
    product : callable
        A times an (N, 3) tensor; it must not couple structures.
    right : (N, 3) tensor
        b.
    batch : (N,) int tensor
        Structure of every row.
    tolerance : float
        Norm of the residual relative to that of b, in every structure.

    Returns
    -------
    solution : (N, 3) tensor
    n_products : int

    Raises
    ------
    NumericalError
        If the tolerance is not reached.
    """
    n_structures = int(batch.max()) + 1 if len(batch) else 0

    def dot(one, other):
        return right.new_zeros(n_structures).index_add(0, batch, (one * other).sum(1))

    def quotient(above, below):
        return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), 0.0)[batch][:, None]

    solution, residual = torch.zeros_like(right), right
    direction, squares = right, dot(right, right)
    target = tolerance**2 * squares
    for n_products in range(MAX_ITERATIONS + 1):
        if bool((squares <= target).all()):
            return solution, n_products
        image = product(direction)
        step = quotient(squares, dot(direction, image))
        solution = solution + step * direction
        residual = residual - step * image
        before, squares = squares, dot(residual, residual)
        direction = residual + quotient(squares, before) * direction
    raise NumericalError(
        f'the induced dipoles did not become self-consistent in {MAX_ITERATIONS} steps: residual '
        f'{float((squares / target.clamp_min(1e-300)).max()) ** 0.5 * tolerance:.1e} of {tolerance:.1e}'
    )


class _ImplicitSolution(torch.autograd.Function):
    """Gives a known solution x of r(x, theta) = 0 its gradients: dx = J^-1 dr, where J = -dr/dx.

    ``residual`` is r at that x, differentiable with respect to theta; ``adjoint`` applies the inverse of J^T.
    """

    @staticmethod
    def forward(ctx, solution, residual, adjoint):
        ctx.adjoint = adjoint
        return solution.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return None, ctx.adjoint(gradient), None


def solve_dipoles(
    operator,
    charges: torch.Tensor,
    polarisabilities: torch.Tensor,
    permanent: torch.Tensor | None = None,
    external_field: torch.Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[torch.Tensor, int]:
    """Self-consistent dipoles of all atoms, and the number of products with the matrix.

    Differentiable (once) with respect to charges, polarisabilities, permanent dipoles, external field, and what the
    operator depends on; also where polarisabilities are zero.

    Parameters
    ----------
    operator : DirectSum or the like
        Called with charges (or None) and dipoles it gives potential and field; its ``batch`` (N,) is the structure of
        every atom. Its width should be at least 0.6 times
        the distance of nearest neighbours: the dielectric constant that it can reach is bounded, by 5.3 for 1.0 Å in
        zincblende with a lattice constant of 5.6 Å, by 53 for 1.5 Å.
    charges : (N,) tensor
        Of zero sum in every structure, e.
    polarisabilities : (N,) tensor
        Å^3.
    permanent : (N, 3) tensor, optional
        Dipoles without a field, e Å.
    external_field : (3,) tensor, optional
        Macroscopic field, V/Å; the operator, which leaves k = 0 out, has none of its own.
    tolerance : float
        Of the residual, relative.

    Returns
    -------
    dipoles : (N, 3) tensor
        Permanent ones included, e Å.
    n_products : int

    Raises
    ------
    ValueError
        If a polarisability is negative.
    NumericalError
        If the dipoles do not become self-consistent.
    """
    lowest = float(polarisabilities.detach().min())
    if lowest < 0:
        raise ValueError(f'a polarisability is {lowest:.3g} Å^3; it must not be negative')
    factor = (polarisabilities / COULOMB)[:, None]
    root = factor.detach().sqrt()

    def field_of(dipoles):
        field = operator(charges, dipoles)[1]
        return field if external_field is None else field + external_field

    def solve(right):
        """sqrt(a) (1 + sqrt(a) T sqrt(a))^-1 sqrt(a) times a field; the field of dipoles is -T p."""

        def product(y):
            return y - root * operator(None, root * y)[1]

        solution, n_products = conjugate_gradients(product, root * right, operator.batch, tolerance)
        return root * solution, n_products

    def adjoint(gradient):
        """(1 + T a)^-1, by the identity 1 - T sqrt(a) (1 + sqrt(a) T sqrt(a))^-1 sqrt(a)."""
        with torch.no_grad():
            return gradient + operator(None, solve(gradient)[0])[1]

    with torch.no_grad():
        start = permanent if permanent is not None else torch.zeros_like(root.expand(-1, 3))
        induced, n_products = solve(field_of(start))
        dipoles = start + induced
    residual = factor * field_of(dipoles) - dipoles
    if permanent is not None:
        residual = residual + permanent
    return _ImplicitSolution.apply(dipoles, residual, adjoint), n_products


def dipole_matrix(cell: torch.Tensor, positions: torch.Tensor, width: float) -> torch.Tensor:
    """(N, N, 3, 3) matrix T: minus the field at atom i of a unit dipole at atom j, V/Å per e Å.

    Arguments as of :func:`~aiida_hamlr.model.long_range.ewald.coulomb_matrices`.
    """
    n_atoms = len(positions)
    matrix = positions.new_zeros(n_atoms, n_atoms, 3, 3)
    for vectors, weights in weighted_blocks(cell, width, n_atoms):
        phase = positions @ vectors.T
        cosine, sine = phase.cos(), phase.sin()
        for a in range(3):
            for b in range(a + 1):
                factor = weights * vectors[:, a] * vectors[:, b]
                matrix[:, :, a, b] += (cosine * factor) @ cosine.T + (sine * factor) @ sine.T
    for a in range(3):
        for b in range(a):
            matrix[:, :, b, a] = matrix[:, :, a, b]
    return matrix


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


def graph_operator(graph, names: tuple[str, str, str], width: float, accuracy: float | None):
    """Operator of all structures of a graph: stored matrices where the graph has them, sums over waves elsewhere.

    Parameters
    ----------
    graph : mapping of str to tensor
    names : tuple of str
        Keys of the matrices: potentials of charges, their fields, and those of dipoles, which may be missing.
    width, accuracy
        Of the sums, as of :func:`~aiida_hamlr.model.long_range.particle_mesh.coulomb_operator`.
    """
    batch, counts, stored = graph[keys.BATCH], graph[keys.N_ATOMS], graph[keys.HAS_MATRICES].tolist()
    matrices = [graph[name] for name in names if name in graph]
    if all(stored):
        return StoredMatrices(batch, counts, *matrices)
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
        _, renumbered = torch.unique(batch[one], return_inverse=True)
        parts.append((one, StoredMatrices(renumbered, counts[graph[keys.HAS_MATRICES]], *matrices)))
    return JointOperator(batch, parts)
