"""Bloch sums of real-space matrices and the generalised eigenproblem at every k."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from aiida_hamlr.electronic.bands.spinors import spinor_matrices, spinor_overlaps
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.errors import NumericalError

#: Upper limit for the matrices of the k-points that are summed together, bytes: few enough for the cache, since the
#: elements of one matrix lie apart in the sums.
_BATCH_BYTES = 4 * 2**20


class BlochSum:
    """``M(k) = sum_R exp(2 pi i k.R) M(R)`` for many k.

    The sum over images is one sparse product: rows are the matrix elements (mu, nu) that occur, columns the images R,
    so that a batch of k-points costs one pass over the stored entries. The index arrays are made once per pattern.

    Parameters
    ----------
    pattern : BlockPattern
    lower : bool
        Whether to sum the lower triangles alone, which are all that LAPACK reads of a hermitian matrix.
    """

    def __init__(self, pattern: BlockPattern, lower: bool = False):
        self.n_orbitals = pattern.dimension
        self.images, image_of_pair = np.unique(pattern.images, axis=0, return_inverse=True)
        #: (M,) index into ``images`` of every entry
        self.image_of_entry = np.repeat(image_of_pair.ravel(), np.diff(pattern.chunk_boundaries))
        rows, columns = pattern.orbital_indices
        #: (M,) index of every entry's element in the flattened dense matrix
        self.element_of_entry = rows * self.n_orbitals + columns
        summed = np.flatnonzero(rows >= columns) if lower else np.arange(len(rows))
        elements = self.element_of_entry[summed]
        self._order = summed[np.lexsort([self.image_of_entry[summed], elements])]
        self._elements, counts = np.unique(elements, return_counts=True)
        self._columns = self.image_of_entry[self._order]
        self._row_starts = np.concatenate([[0], np.cumsum(counts)])

    def phases(self, kpoints: np.ndarray) -> np.ndarray:
        """(n_images, nk) factors ``exp(2 pi i k.R)``; ``kpoints`` is (nk, 3), fractional."""
        return np.exp(2j * np.pi * self.images @ np.asarray(kpoints, dtype=float).T)

    def operator(self, entries: np.ndarray) -> sparse.csr_array:
        """Matrix of shape (elements, images) whose product with the phases is the Bloch sum of ``entries`` (M,)."""
        shape = (len(self._elements), len(self.images))
        return sparse.csr_array((entries[self._order], self._columns, self._row_starts), shape=shape)

    def dense(self, operator: sparse.csr_array, kpoints: np.ndarray) -> np.ndarray:
        """(nk, n, n) matrices of an ``operator``; real if every k is its own inverse (2k a reciprocal vector)."""
        kpoints = np.asarray(kpoints, dtype=float).reshape(-1, 3)
        phases = self.phases(kpoints)
        if own_inverse(kpoints).all():
            values = operator @ phases.real
        else:
            values = (operator @ phases.view(float)).view(complex)
        return self._scatter(values)

    def dense_of(self, operator: sparse.csr_array, factors: np.ndarray) -> np.ndarray:
        """(m, n, n) matrices ``sum_R f(R) M(R)`` of an ``operator`` and complex factors (n_images, m) of the images."""
        return self._scatter((operator @ np.ascontiguousarray(factors, dtype=complex).view(float)).view(complex))

    def _scatter(self, values: np.ndarray) -> np.ndarray:
        matrices = np.zeros((values.shape[1], self.n_orbitals**2), dtype=values.dtype)
        # One matrix at a time: writing all at once jumps through memory and takes half as long again.
        for matrix, column in zip(matrices, values.T, strict=True):
            matrix[self._elements] = column
        return matrices.reshape(-1, self.n_orbitals, self.n_orbitals)

    @cached_property
    def batch_size(self) -> int:
        """Number of k-points whose dense matrices are made together."""
        return max(1, int(_BATCH_BYTES / (16 * self.n_orbitals**2)))

    def matrices(self, entries: np.ndarray, kpoints: np.ndarray) -> np.ndarray:
        """(nk, n, n) Bloch matrices of ``entries`` (M,); exactly hermitian only if ``entries`` is symmetric."""
        return self.dense(self.operator(np.asarray(entries, dtype=float)), kpoints)


def own_inverse(kpoints: np.ndarray) -> np.ndarray:
    """(nk,) whether points (nk, 3), fractional, are their own inverse (2k a reciprocal vector): matrices are real."""
    return np.abs(2 * kpoints - np.round(2 * kpoints)).max(axis=1, initial=0.0) < 1e-12


def bloch_matrices(pattern: BlockPattern, entries: np.ndarray, kpoints: np.ndarray) -> np.ndarray:
    """(nk, n, n) matrices ``M(k)`` of flat ``entries`` (M,) at fractional ``kpoints`` (nk, 3).

    For repeated use with one pattern keep a `BlochSum`.
    """
    return BlochSum(pattern).matrices(entries, kpoints)


def _diagonalise(hamiltonian, overlap, kpoint, n_bands, vectors, threshold=0.0):
    """Lowest eigenpairs of one generalised eigenproblem; eigenvectors are None unless asked for."""
    if threshold > 0.0:
        return _diagonalise_independent(hamiltonian, overlap, n_bands, vectors, threshold)
    n_orbitals = len(hamiltonian)
    # Computing a subset pays only for few eigenvectors of complex matrices.
    subset = vectors and np.iscomplexobj(hamiltonian) and 3 * n_bands < n_orbitals
    try:
        result = linalg.eigh(
            hamiltonian,
            overlap,
            eigvals_only=not vectors,
            driver='gvx' if subset else 'gvd',
            subset_by_index=[0, n_bands - 1] if subset else None,
            check_finite=False,
            overwrite_a=True,
        )
    except linalg.LinAlgError as error:
        where = '(' + ', '.join(f'{x:.6g}' for x in kpoint) + ')'
        if not (np.isfinite(hamiltonian).all() and np.isfinite(overlap).all()):
            raise NumericalError(f'matrices at k = {where} are not finite') from error
        smallest = float(linalg.eigvalsh(overlap)[0])
        if smallest > 0:
            raise NumericalError(f'diagonalisation at k = {where} failed: {error}') from error
        raise NumericalError(
            f'overlap at k = {where} is not positive definite: smallest eigenvalue {smallest:.3e}; '
            'the orbitals are linearly dependent, use fewer or shorter ones'
        ) from error
    energies, states = result if vectors else (result, None)
    if not np.isfinite(energies).all():
        raise NumericalError(f'eigenvalues at k = {tuple(kpoint)} are not finite')
    return energies[:n_bands], None if states is None else states[:, :n_bands]


def _diagonalise_independent(hamiltonian, overlap, n_bands, vectors, threshold):
    """Solve in the space of the eigenvectors of S above a threshold (canonical orthogonalisation of Löwdin)."""
    weights, basis = linalg.eigh(overlap)
    kept = weights > threshold
    basis = basis[:, kept] / np.sqrt(weights[kept])
    energies, states = linalg.eigh(basis.conj().T @ hamiltonian @ basis)
    return energies[:n_bands], basis @ states[:, :n_bands] if vectors else None


def recorded_matrix(hamiltonian: Hamiltonian, name: str) -> np.ndarray:
    """Entries of a matrix, (M,) or (n_spin, M).

    Raises
    ------
    ValueError
        If the Hamiltonian does not hold it.
    """
    if name not in hamiltonian.matrices:
        held = ', '.join(sorted(hamiltonian.matrices)) or 'no matrix'
        raise ValueError(f'the matrix {name!r} is needed, but this file or Hamiltonian holds {held}')
    return hamiltonian.matrices[name]


def _solve(hamiltonian: Hamiltonian, kpoints, matrix, n_bands, threshold, vectors):
    kpoints = np.asarray(kpoints, dtype=float).reshape(-1, 3)
    for name in (matrix, 'overlap'):
        recorded_matrix(hamiltonian, name)
    matrices = BlochMatrices(hamiltonian, matrix, lower=not threshold)
    size, n_spin = matrices.size, matrices.n_spin
    n_bands = min(n_bands or size, size)
    energies = np.empty((n_spin, len(kpoints), n_bands))
    states = np.empty((n_spin, len(kpoints), size, n_bands), dtype=complex) if vectors else None
    for batch in _batches(kpoints, matrices.batch_size):
        S = matrices.overlap(kpoints[batch])
        for spin in range(n_spin):
            H = matrices.hamiltonian(kpoints[batch], spin)
            for local, index in enumerate(batch):
                e, c = _diagonalise(H[local], S[local], kpoints[index], n_bands, vectors, threshold)
                # Where less is independent, all k-points get no more bands than that.
                n_bands = len(e)
                energies[spin, index, :n_bands] = e
                if vectors:
                    states[spin, index, :, :n_bands] = c
    energies, states = energies[..., :n_bands], states[..., :n_bands] if vectors else None
    if not matrices.spin_axis:
        return energies[0], states[0] if vectors else None
    return energies, states


def _batches(kpoints: np.ndarray, size: int) -> list[np.ndarray]:
    """Indices of k-points in batches of a size at most; those with real matrices apart from the others."""
    real = own_inverse(kpoints)
    groups = (np.flatnonzero(real), np.flatnonzero(~real))
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


class BlochMatrices:
    """H(k) and S(k) of a Hamiltonian for many k: without spin, of each collinear spin, or of spinors.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With its spin-orbit part the matrices are those of spinors, see `spinor_matrices`, collinear spins along its
        ``magnetization_axis``.
    matrix : str
        'hamiltonian' or 'h0'.
    lower : bool
        Whether to make the lower triangles alone, see `BlochSum`; without effect for spinors.
    """

    def __init__(self, hamiltonian: Hamiltonian, matrix: str = 'hamiltonian', lower: bool = False):
        self.sums = BlochSum(hamiltonian.pattern, lower and not hamiltonian.has_spin_orbit)
        entries = np.asarray(hamiltonian.matrices[matrix], dtype=float)
        self._overlap = self.sums.operator(np.asarray(hamiltonian.overlap, dtype=float))
        self._channels = [self.sums.operator(spin) for spin in np.atleast_2d(entries)]
        self.spinors, self._axis = hamiltonian.has_spin_orbit, hamiltonian.magnetization_axis
        self._coupling = [self.sums.operator(part) for part in hamiltonian.spin_orbit] if self.spinors else []
        #: Whether eigenvalues have a leading axis for spin up and spin down.
        self.spin_axis = entries.ndim == 2 and not self.spinors
        self.n_spin = len(self._channels) if self.spin_axis else 1
        self.size = (2 if self.spinors else 1) * self.sums.n_orbitals

    @property
    def batch_size(self) -> int:
        """Number of k-points whose dense matrices are made together."""
        return max(1, self.sums.batch_size // (self.size // self.sums.n_orbitals) ** 2)

    def overlap(self, kpoints: np.ndarray) -> np.ndarray:
        """(nk, size, size) overlaps."""
        overlap = self.sums.dense(self._overlap, kpoints)
        return spinor_overlaps(overlap) if self.spinors else overlap

    def hamiltonian(self, kpoints: np.ndarray, spin: int = 0) -> np.ndarray:
        """(nk, size, size) Hamiltonians, of one spin if they are two, eV."""
        if not self.spinors:
            return self.sums.dense(self._channels[spin], kpoints)
        parts = [self.sums.dense(operator, kpoints) for operator in (*self._channels, *self._coupling)]
        return spinor_matrices(parts[:-3], parts[-3:], self._axis)


def eigenvalues(
    hamiltonian: Hamiltonian,
    kpoints: np.ndarray,
    matrix: str = 'hamiltonian',
    n_bands: int | None = None,
    overlap_threshold: float = 0.0,
) -> np.ndarray:
    """Band energies: ``H(k) c = e S(k) c``; with the matrix ``spin_orbit``, of spinors.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Holds ``matrix`` and ``overlap``.
    kpoints : (nk, 3) array
        Fractional, in the reciprocal cell of ``hamiltonian.atoms``.
    matrix : str
        'hamiltonian' or 'h0'.
    n_bands : int, optional
        Number of the lowest bands to return, fewer if some k has fewer; default: all.
    overlap_threshold : float
        Discard eigenvectors of S(k) with eigenvalues at or below it, and solve in the space of the others (canonical
        orthogonalisation of Löwdin). For nearly dependent orbitals, whose combinations magnify errors of the matrices;
        0.003 is a good value then. 0 keeps all.

    Returns
    -------
    (nk, nb) or, with spin, (n_spin, nk, nb) array
        Ascending, eV.

    Raises
    ------
    NumericalError
        If an overlap matrix is not positive definite; the message holds k and its smallest eigenvalue.
    """
    return _solve(hamiltonian, kpoints, matrix, n_bands, overlap_threshold, vectors=False)[0]


def eigenvectors(
    hamiltonian: Hamiltonian,
    kpoints: np.ndarray,
    matrix: str = 'hamiltonian',
    n_bands: int | None = None,
    overlap_threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Band energies and states, as in `eigenvalues`.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Hamiltonian and overlap in the orbital basis.
    kpoints : (nk, 3) array
        Fractional coordinates.
    matrix : str
        'hamiltonian' or 'h0'.
    n_bands : int, optional
        Number of the lowest bands; default: all.
    overlap_threshold : float
        See `eigenvalues`.

    Returns
    -------
    energies : (nk, nb) or (n_spin, nk, nb) array
        eV.
    states : (nk, n_orbitals, nb) or (n_spin, nk, n_orbitals, nb) complex array
        Coefficients of the Bloch sums of the orbitals, ``c^+ S(k) c = 1``; of spinors (nk, 2 n_orbitals, nb), those of
        spin up before those of spin down.
    """
    return _solve(hamiltonian, kpoints, matrix, n_bands, overlap_threshold, vectors=True)
