"""Lowest eigenstates of a plane-wave Hamiltonian that is never formed: block Davidson iterations.

Unlike LOBPCG of scipy it stops as soon as the wanted states are found; the other states of the block, which only speed
up the iterations, converge slowly in large cells, whose levels are dense. Davidson, J. Comput. Phys. 17, 87 (1975).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh, qr

from aiida_hamlr.errors import NumericalError

#: Size of the search space in units of the block, and states that are kept when it is full, in the same units.
SEARCH_SPACE, KEPT = 4, 2

#: States with a residual below this part of the tolerance are not improved further.
FOUND = 0.5

#: Iterations until the search is given up.
MAX_ITERATIONS = 200


def lowest_states(
    apply: Callable[[np.ndarray], np.ndarray], kinetic: np.ndarray, start: np.ndarray, n_states: int, residual: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest states of a Hermitian operator whose diagonal is dominated by the kinetic energy.

    Parameters
    ----------
    apply : callable
        Product of the operator, Ry, with (n, m) columns.
    kinetic : (n,) array
        Ry, for the preconditioner ``1 / (1 + T)``.
    start : (n, m) array
        Linearly independent approximate states, at least ``n_states``; a few more make the iterations converge faster.
    n_states : int
        Number of the lowest ones that are wanted.
    residual : float
        Norm of ``H x - e x`` at which a state counts as found, Ry; the error of ``e`` is of the order of its square.

    Returns
    -------
    energies, states : (m,) array, Ry, and (n, m) array
        The first ``n_states`` of them are converged.

    Raises
    ------
    NumericalError
        If the iterations do not converge.
    """
    n_block = start.shape[1]
    search, _ = qr(start, mode='economic', check_finite=False)
    images = apply(search)
    for _ in range(MAX_ITERATIONS):
        energies, vectors = eigh(search.conj().T @ images)
        energies, lowest = energies[:n_block], vectors[:, :n_block]
        states = search @ lowest
        residuals = images @ lowest - states * energies
        norms = np.linalg.norm(residuals, axis=0)
        if norms[:n_states].max() < residual:
            return energies, states
        if search.shape[1] + n_block > SEARCH_SPACE * n_block:
            kept = vectors[:, : KEPT * n_block]
            search, images = search @ kept, images @ kept
        new = residuals[:, norms >= FOUND * residual] / (1.0 + kinetic)[:, None]
        for _ in range(2):
            new, _ = qr(new - search @ (search.conj().T @ new), mode='economic', check_finite=False)
        search, images = np.hstack([search, new]), np.hstack([images, apply(new)])
    raise NumericalError(f'plane-wave eigenvalues did not converge, residual {norms[:n_states].max():.1e} Ry')
