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

    Differentiable (once) with respect to charges, polarisabilities, permanent dipoles, external field, and the
    arguments of the operator; also where polarisabilities are zero.

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
        Macroscopic field, V/Å; the operator, which leaves k = 0 out, has none.
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
