"""Eigenpairs next to an energy: block Lanczos iteration of the shifted and inverted problem.

``H c = e S c`` becomes ``(H - s S)^-1 S c = c / (e - s)``, whose largest eigenvalues belong to the levels next to the
shift s; the operator is self-adjoint in the inner product of S. Blocks find degenerate levels; every new block is made
orthogonal to all earlier ones (T. Ericsson and A. Ruhe, Math. Comput. 35, 1251 (1980); R. Grimes, J. Lewis and
H. Simon, SIAM J. Matrix Anal. Appl. 15, 228 (1994)).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import linalg

from aiida_hamlr.errors import NumericalError

#: Vectors of a block; a count of states shows whether a more degenerate level needs a larger one.
BLOCK = 8

#: Dimension of the Krylov space over the number of wanted states, at most.
LARGEST_SPACE = 24

#: States beyond the wanted ones, among which an energy far from all levels is found for a count.
SPARE = 8

#: Bound of the residuals of the wanted states, eV; errors of levels are of its square.
TOLERANCE = 1e-7

#: A state nearer to the shift than this, eV, makes the shifted matrix singular to rounding.
SINGULAR = 1e-6


class SingularShift(NumericalError):
    """The shift is a level: another one must be taken."""


def block_lanczos(
    overlap, solve: Callable[[np.ndarray], np.ndarray], n_states: int, shift: float, dtype, block_size: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """Levels next to a shift and their states.

    Parameters
    ----------
    overlap : sparse or dense (n, n) array
        Positive definite S.
    solve : callable
        ``(H - shift S)^-1`` of an (n, m) array.
    n_states : int
        How many.
    shift : float
        eV.
    dtype
        float or complex.
    block_size : int
        At least the degeneracy of the levels.

    Returns
    -------
    energies : (n_states,) array
        Ascending, eV.
    states : (n, n_states) array
        ``c^+ S c = 1``.

    Raises
    ------
    SingularShift
        If the shift is a level to within 1e-6 eV.
    NumericalError
        If the iteration does not converge, or the overlap is not positive definite.
    """
    n = overlap.shape[0]
    largest = min(n, LARGEST_SPACE * n_states + 4 * block_size)
    space, image = (np.empty((n, largest), dtype, order='F') for _ in range(2))
    projected = np.zeros((largest, largest), dtype)
    random = np.random.default_rng(0)
    block = random.normal(size=(n, min(block_size, largest))).astype(dtype)
    if np.issubdtype(dtype, np.complexfloating):
        block += 1j * random.normal(size=block.shape)
    size = _append(space, image, overlap, 0, block, overlap @ block)
    newest, tested = slice(0, size), 0
    while True:
        block = solve(np.asfortranarray(image[:, newest]))
        if not np.isfinite(block).all():
            raise SingularShift(f'the shift {shift:.6f} eV is a level')
        along = image[:, :size].conj().T @ block
        projected[:size, newest] = along
        projected[newest, :size] = along.conj().T
        block -= space[:, :size] @ along
        product = overlap @ block
        complete = size == largest
        if complete or (size >= 2 * n_states and size - tested >= max(block_size, n_states // 2)):
            tested = size
            inverse, vectors = linalg.eigh(projected[:size, :size])
            if np.abs(inverse).max() > 1 / SINGULAR:
                raise SingularShift(f'the shift {shift:.6f} eV is a level')
            chosen = np.argsort(-np.abs(inverse))[:n_states]
            norms = block.conj().T @ product
            last = vectors[newest][:, chosen]
            squares = np.einsum('ij,ik,kj->j', last.conj(), norms, last).real
            residuals = np.sqrt(np.maximum(squares, 0.0)) / inverse[chosen] ** 2
            if residuals.max() < TOLERANCE or size == n:
                energies = shift + 1 / inverse[chosen]
                order = np.argsort(energies)
                return energies[order], space[:, :size] @ vectors[:, chosen[order]]
            if complete:
                raise NumericalError(
                    f'states next to {shift:.4f} eV: residual {residuals.max():.1e} eV after {size} vectors; '
                    'ask for more states, or move the energy to a place with fewer levels'
                )
        start, fitting = size, largest - size
        block, product = block[:, :fitting], product[:, :fitting]
        size = _append(space, image, overlap, size, block, product)
        newest = slice(start, size)


def _append(space, image, overlap, size, block, product) -> int:
    """Make a block orthonormal, also to the first ``size`` vectors; return the number of vectors then."""
    for _ in range(2):
        if size:
            along = image[:, :size].conj().T @ block
            block = block - space[:, :size] @ along
            product = product - image[:, :size] @ along
        try:
            factor = _cholesky(block, product)
        except linalg.LinAlgError:
            # Vectors that depend on each other: others, orthogonal to them, take their places.
            block = linalg.qr(block, mode='economic')[0]
            if size:
                block = block - space[:, :size] @ (image[:, :size].conj().T @ block)
            product = overlap @ block
            try:
                factor = _cholesky(block, product)
            except linalg.LinAlgError as error:
                raise NumericalError('the overlap is not positive definite: use fewer or shorter orbitals') from error
        inverse = linalg.solve_triangular(factor, np.eye(len(factor)), lower=True).conj().T
        block, product = block @ inverse, product @ inverse
    stop = size + block.shape[1]
    space[:, size:stop], image[:, size:stop] = block, product
    return stop


def _cholesky(block, product) -> np.ndarray:
    """Lower triangular factor of the matrix of inner products of a block; fails if it is singular."""
    overlaps = block.conj().T @ product
    return linalg.cholesky(0.5 * (overlaps + overlaps.conj().T), lower=True)
