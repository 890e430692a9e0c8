"""Factorisations ``A = L D L^+`` of sparse symmetric or hermitian matrices, by the solver that is chosen beforehand.

All solvers have one interface: `solve` and the number of negative eigenvalues, which by Sylvester's law of inertia is
that of D. ``lapack`` treats the matrix as dense; ``superlu`` comes with SciPy; ``pardiso`` needs the package pypardiso
(``pip install aiida-hamlr[pardiso]``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec

import numpy as np
from scipy import sparse
from scipy.linalg import lapack
from scipy.sparse.linalg import splu

from aiida_hamlr.electronic.bands.fill import FactorCost
from aiida_hamlr.electronic.bands.lanczos import SingularShift
from aiida_hamlr.electronic.resources import GIGABYTE
from aiida_hamlr.errors import NumericalError

#: Operations per second on one core, about, and bytes per element of L, of every solver; for real matrices.
RATES = {'lapack': (2.0e10, 8), 'pardiso': (1.5e10, 11), 'superlu': (3e9, 45)}

#: Operations and bytes of a hermitian matrix over those of a real one. PARDISO gets the real matrix of twice the
#: dimension, since it counts the negative eigenvalues of real matrices only.
COMPLEX = {'lapack': (4, 2), 'pardiso': (8, 4), 'superlu': (4, 2)}

#: Seconds until a solver starts: oneMKL is found and loaded.
START = {'pardiso': 4.0}

SOLVERS = tuple(RATES)


@dataclass(frozen=True)
class Plan:
    """Solver and what a factorisation with it takes.

    Parameters
    ----------
    solver : str
        'lapack', 'pardiso' or 'superlu'.
    memory : float
        Of the factors, bytes.
    flops : float
        Operations.
    """

    solver: str
    memory: float
    flops: float

    @property
    def seconds(self) -> float:
        """Duration on one core, about."""
        return START.get(self.solver, 0.0) + self.flops / RATES[self.solver][0]

    def __str__(self):
        return f'{self.solver}: {self.memory / GIGABYTE:.3g} GB, {self.flops / 1e12:.3g} TFLOP'


def available_solvers() -> list[str]:
    """Solvers that are installed."""
    return [name for name in SOLVERS if name != 'pardiso' or find_spec('pypardiso') is not None]


def choose_solver(
    sparse_cost: FactorCost,
    dense: FactorCost,
    free_memory: float,
    is_complex: bool = False,
    solver: str = 'auto',
) -> Plan:
    """The fastest solver whose factors fit in the memory.

    Parameters
    ----------
    sparse_cost, dense : FactorCost
        As `factor_cost` and `dense_cost` give them.
    free_memory : float
        For the factors, bytes.
    is_complex : bool
        Whether the matrix is complex: k is general.
    solver : str
        'auto', or a certain one.

    Raises
    ------
    ValueError
        If no solver fits, or the wanted one is unknown or not installed.
    """
    available = available_solvers()
    if solver not in ('auto', *SOLVERS):
        raise ValueError(f'unknown solver {solver!r}; use auto, {", ".join(SOLVERS)}')
    if solver not in ('auto', *available):
        raise ValueError(f'solver {solver} is not installed: pip install aiida-hamlr[{solver}]')
    plans = []
    for name in available if solver == 'auto' else [solver]:
        cost, (_, bytes_each) = dense if name == 'lapack' else sparse_cost, RATES[name]
        more_flops, more_bytes = COMPLEX[name] if is_complex else (1, 1)
        plans.append(Plan(name, cost.entries * bytes_each * more_bytes, cost.flops * more_flops))
    fitting = [plan for plan in plans if plan.memory <= free_memory]
    if not fitting:
        listed = '; '.join(str(plan) for plan in plans)
        hint = '' if 'pardiso' in available else '; the extra pardiso needs a fourth of the memory of superlu'
        room = (
            f'memory_limit leaves {free_memory / GIGABYTE:.3g} GB' if free_memory > 0 else 'memory_limit leaves nothing'
        )
        raise ValueError(
            f'{room} for the factorisation, which needs more ({listed}); '
            f'raise it, use a larger machine, or take a smaller structure{hint}'
        )
    return min(fitting, key=lambda plan: plan.seconds)


def factorise(matrix: sparse.csr_array, solver: str, order: np.ndarray | None = None):
    """Factorise a symmetric or hermitian matrix.

    Parameters
    ----------
    matrix : (n, n) sparse array
        float64 or complex128.
    solver : str
        'lapack', 'pardiso' or 'superlu'.
    order : (n,) int array, optional
        Order of elimination, for superlu.

    Returns
    -------
    object
        With ``solve(b)``, for ``b`` (n, m), and ``n_negative``, the number of negative eigenvalues.

    Raises
    ------
    SingularShift
        If the matrix is singular to rounding.
    """
    if solver == 'lapack':
        return DenseFactors(matrix)
    if solver == 'pardiso':
        return PardisoFactors(matrix)
    return SuperLUFactors(matrix, np.arange(matrix.shape[0]) if order is None else order)


class DenseFactors:
    """Bunch-Kaufman factorisation of the dense matrix by LAPACK (sytrf, hetrf)."""

    def __init__(self, matrix: sparse.csr_array):
        dense = matrix.toarray(order='F')
        kind = 'he' if np.iscomplexobj(dense) else 'sy'
        factor, self._solve, query = lapack.get_lapack_funcs((f'{kind}trf', f'{kind}trs', f'{kind}trf_lwork'), (dense,))
        work = int(query(len(dense), lower=1)[0].real)
        self._factors, self._pivots, info = factor(dense, lower=1, lwork=work, overwrite_a=1)
        if info > 0:
            raise SingularShift('the shifted matrix is singular: the shift is a level')

    @property
    def n_negative(self) -> int:
        """Negative eigenvalues; of every pair of rows that were exchanged together, one is negative."""
        single = self._pivots >= 0
        return int((self._factors.diagonal().real[single] < 0).sum() + (~single).sum() // 2)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """``A^-1 right``."""
        return self._solve(self._factors, self._pivots, right, lower=1)[0]


class SuperLUFactors:
    """LU factorisation in a given order with pivots on the diagonal, which for symmetric matrices is L D L^+."""

    def __init__(self, matrix: sparse.csr_array, order: np.ndarray):
        self._order = order
        permuted = sparse.csc_array(matrix[order][:, order])
        options = {'SymmetricMode': True, 'Equil': False}
        try:
            self._factors = splu(
                sparse.csc_matrix(permuted), permc_spec='NATURAL', diag_pivot_thresh=0.0, options=options
            )
        except RuntimeError as error:
            if 'singular' in str(error):
                raise SingularShift('the shifted matrix is singular: the shift is a level') from error
            raise MemoryError(f'superlu: {error}') from error

    @property
    def n_negative(self) -> int:
        """Negative eigenvalues, the negative pivots."""
        if not np.array_equal(self._factors.perm_r, self._factors.perm_c):
            raise SingularShift('a pivot is not on the diagonal: the shift is too near to a level')
        return int((self._factors.U.diagonal().real < 0).sum())

    def solve(self, right: np.ndarray) -> np.ndarray:
        """``A^-1 right``."""
        result = np.empty_like(right, order='F')
        result[self._order] = self._factors.solve(np.asfortranarray(right[self._order]))
        return result


@cache
def _name_library():
    """Tell pypardiso where oneMKL is, which otherwise searches the whole environment for it every time."""
    if find_spec('pypardiso') is not None and 'PYPARDISO_MKL_RT' not in os.environ:
        try:
            files = [each for each in metadata.files('mkl') or [] if 'mkl_rt' in each.name]
        except metadata.PackageNotFoundError:
            return
        if files:
            os.environ['PYPARDISO_MKL_RT'] = str(files[0].locate().resolve())


class PardisoFactors:
    """Supernodal Bunch-Kaufman factorisation of PARDISO in Intel's oneMKL, with the order of METIS.

    A hermitian matrix A + iB becomes the symmetric one [[A, -B], [B, A]], which has every eigenvalue twice.
    """

    def __init__(self, matrix: sparse.csr_array):
        from pypardiso import PyPardisoSolver
        from pypardiso.pardiso_wrapper import PyPardisoError

        _name_library()
        self._error, self._complex = PyPardisoError, np.iscomplexobj(matrix.data)
        if self._complex:
            matrix = sparse.block_array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]], format='csr')
        self._pardiso = PyPardisoSolver(mtype=-2)  # real, symmetric, indefinite
        # no defaults, METIS, pivots perturbed below 1e-13, no scaling and no matching, Bunch-Kaufman pivots
        for place, value in ((1, 1), (2, 2), (10, 13), (11, 0), (13, 0), (21, 1)):
            self._pardiso.set_iparm(place, value)
        self._upper = sparse.triu(matrix, format='csr')
        self._upper.sort_indices()
        self._call(12, np.zeros((matrix.shape[0], 1), order='F'))

    def _call(self, phase: int, right: np.ndarray) -> np.ndarray:
        self._pardiso.set_phase(phase)
        try:
            return self._pardiso._call_pardiso(self._upper, right)
        except self._error as error:
            if error.value in (-2, -9):
                raise MemoryError('pardiso: not enough memory') from error
            raise NumericalError(f'pardiso: {error}') from error

    @property
    def n_negative(self) -> int:
        """Negative eigenvalues, as PARDISO counts them."""
        positive, negative = (int(self._pardiso.get_iparm(place)) for place in (22, 23))
        if positive + negative != self._upper.shape[0] or self._pardiso.get_iparm(14):
            raise SingularShift('pardiso perturbed pivots: the shift is too near to a level')
        return negative // 2 if self._complex else negative

    def solve(self, right: np.ndarray) -> np.ndarray:
        """``A^-1 right``."""
        if not self._complex:
            return self._call(33, np.asfortranarray(right))
        real, imaginary = np.split(self._call(33, np.asfortranarray(np.concatenate([right.real, right.imag]))), 2)
        return real + 1j * imaginary

    def __del__(self):
        if hasattr(self, '_upper'):
            self._pardiso.set_phase(-1)
            self._pardiso._call_pardiso(self._upper, np.zeros((self._upper.shape[0], 1)))
