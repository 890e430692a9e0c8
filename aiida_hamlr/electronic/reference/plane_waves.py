"""The Hamiltonian in plane waves, and orbitals expanded in them: the independent check of the real-space route.

``<G| H(k) |G'> = |k + G|^2 + V(G - G') + sum_a sum_pq <k+G|beta_p^a> D_pq <beta_q^a|k+G'>`` with V the discrete Fourier
transform of the potential on the FFT grid, as the plane-wave code itself applies it. Meant for small
cells. Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from ase import Atoms
from scipy import fft
from scipy.interpolate import CubicSpline
from scipy.linalg import block_diag, eigh, eigvalsh
from scipy.sparse.linalg import LinearOperator
from scipy.special import spherical_jn

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.integrals.neutral_atom import Q_STEP
from aiida_hamlr.electronic.integrals.radial_integrals import simpson_weights
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.lowest_states import lowest_states
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR, RYDBERG

#: Up to this number of plane waves the matrix is diagonalised, beyond it the lowest states are found iteratively.
DENSE_SIZE = 600

#: From this number of plane waves on, iterations start from the states of this part of the cutoff.
COARSE_SIZE, COARSE_CUTOFF = 5000, 0.45

#: States that are iterated beyond those that are asked for.
GUARD_STATES = 5

#: Complex numbers on the FFT grid that are transformed together.
BATCH_SIZE = 4_000_000

#: Plane waves times projectors up to which the projectors are kept; of more they are made anew for every product.
STORED_PROJECTORS = 60_000_000

#: Plane waves times projectors that are worked on together.
PROJECTOR_GROUP = 4_000_000

#: Norm of the residual at which a state counts as found, Ry; the error of its energy is of the order of its square.
RESIDUAL = 1e-6


class PlaneWaveHamiltonian:
    """Plane-wave Hamiltonian of a structure in a given local potential.

    Parameters
    ----------
    atoms : ase.Atoms
    potential : (n1, n2, n3) array
        Total local potential on the FFT grid, eV.
    pseudos : mapping of str to Pseudopotential
    ecutwfc : float
        Plane waves with ``|k + G|^2`` up to it, Ry.
    """

    #: Components of a state: two for spinors.
    n_components = 1

    def __init__(self, atoms: Atoms, potential: np.ndarray, pseudos: Mapping[str, Pseudopotential], ecutwfc: float):
        self._atoms = atoms
        self.labels = species_labels(atoms)
        self.positions = atoms.positions / BOHR
        self.cell = atoms.cell[:] / BOHR
        self.volume = abs(np.linalg.det(self.cell))
        self.reciprocal = reciprocal(self.cell)
        self.pseudos = pseudos
        self.ecutwfc = ecutwfc
        self._potential = np.asarray(potential) / RYDBERG
        self._coefficients = fft.fftn(self._potential) / self._potential.size
        self._q = np.arange(0.0, np.sqrt(ecutwfc) + 5 * Q_STEP, Q_STEP)
        self._projector_tables = {
            element: CubicSpline(
                self._q,
                [pseudos[element].projector_form_factor(p, self._q) for p in range(len(pseudos[element].projectors))],
                axis=1,
            )
            for element in set(self.labels)
            if pseudos[element].projectors
        }
        self._orbital_tables: tuple[Basis | None, dict[str, CubicSpline]] = None, {}

    @property
    def n_points(self) -> int:
        """Points of the FFT grid."""
        return self._potential.size

    @property
    def n_projectors(self) -> int:
        """Projectors of all atoms."""
        counts = {
            element: sum(2 * projector.angular_momentum + 1 for projector in self.pseudos[element].projectors)
            for element in set(self.labels)
        }
        return sum(counts[label] for label in self.labels)

    def plane_waves(self, kpoint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices (n, 3) of the reciprocal vectors and ``k + G`` (n, 3), bohr^-1, of a fractional k-point."""
        limit = np.sqrt(self.ecutwfc) * np.linalg.norm(self.cell, axis=1) / (2 * np.pi)
        axes = [np.arange(-int(n) - 2, int(n) + 3) for n in limit + np.abs(kpoint)]
        indices = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)
        vectors = (indices + np.asarray(kpoint)) @ self.reciprocal
        inside = (vectors**2).sum(axis=1) <= self.ecutwfc
        return indices[inside], vectors[inside]

    def _expand(self, vectors, atom: int, angular_momentum: int, transform: np.ndarray) -> np.ndarray:
        """(n, 2l + 1) plane-wave coefficients of ``R(r) Y_lm`` at an atom, from the Bessel transform of R."""
        phase = np.exp(-1j * (vectors @ self.positions[atom]))
        prefactor = 4 * np.pi / np.sqrt(self.volume) * (-1j) ** angular_momentum
        return prefactor * (phase * transform)[:, None] * real_harmonics(angular_momentum, vectors)

    def _projectors(self, vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Plane-wave coefficients (n, p) of projectors, a group of atoms at a time, and their coupling, Ry."""
        for element in self._projector_tables:
            for columns, n_atoms in self._projectors_of(element, vectors):
                yield columns, self._coupling(element, n_atoms)

    def _projectors_of(self, element: str, vectors: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Plane-wave coefficients (n, p) of the projectors of an element, some atoms at a time; their number."""
        momenta = [projector.angular_momentum for projector in self.pseudos[element].projectors]
        prefactor = 4 * np.pi / np.sqrt(self.volume)
        transforms = self._projector_tables[element](np.linalg.norm(vectors, axis=1))
        centred = np.concatenate(
            [
                prefactor * (-1j) ** l * transform[:, None] * real_harmonics(l, vectors)
                for l, transform in zip(momenta, transforms, strict=True)
            ],
            axis=1,
        )
        positions = self.positions[[label == element for label in self.labels]]
        step = max(1, PROJECTOR_GROUP // centred.size)
        for start in range(0, len(positions), step):
            phases = np.exp(-1j * (vectors @ positions[start : start + step].T))
            columns = phases[:, :, None] * centred[:, None, :]
            yield columns.reshape(len(vectors), -1), phases.shape[1]

    def _coupling(self, element: str, n_atoms: int) -> np.ndarray:
        """(p, p) coupling of the projectors of some atoms of an element, Ry."""
        pseudo = self.pseudos[element]
        momenta = [projector.angular_momentum for projector in pseudo.projectors]
        rows = [
            [pseudo.dij[p, q] * np.eye(2 * a + 1, 2 * b + 1) * (a == b) for q, b in enumerate(momenta)]
            for p, a in enumerate(momenta)
        ]
        return block_diag(*[np.block(rows)] * n_atoms)

    def matrix(self, kpoint: np.ndarray) -> np.ndarray:
        """(n, n) Hamiltonian in plane waves at a fractional k-point, Ry."""
        return self._dense(*self.plane_waves(kpoint))

    def _dense(self, indices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        difference = indices[:, None, :] - indices[None, :, :]
        shape = self._coefficients.shape
        result = self._coefficients[tuple(difference[..., axis] % shape[axis] for axis in range(3))]
        result[np.diag_indices(len(vectors))] += (vectors**2).sum(axis=1)
        for projectors, coupling in self._projectors(vectors):
            result += (projectors @ coupling) @ projectors.conj().T
        return result

    def operator(self, kpoint: np.ndarray) -> LinearOperator:
        """The same as an operator that never forms the matrix: the potential acts on the FFT grid, Ry."""
        indices, vectors = self.plane_waves(kpoint)
        kinetic = (vectors**2).sum(axis=1)
        groups = self._projectors(vectors)
        if len(vectors) * self.n_projectors <= STORED_PROJECTORS:
            groups = list(groups)
        local = self._local_potential(indices)

        def apply(columns: np.ndarray) -> np.ndarray:
            block = columns.reshape(len(indices), -1)
            result = kinetic[:, None] * block
            for projectors, coupling in groups if isinstance(groups, list) else self._projectors(vectors):
                result += projectors @ (coupling @ (block.conj().T @ projectors).conj().T)
            return (result + local(block)).reshape(columns.shape)

        return LinearOperator((len(indices),) * 2, matvec=apply, matmat=apply, dtype=complex)

    def _local_potential(self, indices: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Function: product of the local potential with columns of plane-wave coefficients, on the FFT grid.

        The plane waves fill a box that is about half as long as the grid. Axis after axis is padded only when its turn
        comes, which saves almost half of the work; the box begins at zero, as a shift of all indices only multiplies
        the functions by a phase, which the way back takes off again.
        """
        shape = self._potential.shape
        shifted = indices - indices.min(axis=0)
        box = tuple(int(n) + 1 for n in shifted.max(axis=0))
        if any(n > full for n, full in zip(box, shape, strict=True)):
            # Beyond the range of the grid plane waves fold back, as the products of the matrix do.
            shifted, box = indices % np.array(shape), shape
        cells = np.ravel_multi_index(tuple(shifted.T), box)
        distinct = len(np.unique(cells)) == len(cells)
        batch = max(1, BATCH_SIZE // self._potential.size)

        def multiply(columns: np.ndarray) -> np.ndarray:
            values = np.zeros((columns.shape[1], np.prod(box)), dtype=complex)
            if distinct:
                values[:, cells] = columns.T
            else:
                np.add.at(values.T, cells, columns)
            values = values.reshape(-1, *box)
            for axis in (3, 2, 1):
                values = fft.ifft(values, shape[axis - 1], axis=axis)
            values *= self._potential
            for axis in (1, 2, 3):
                values = fft.fft(values, axis=axis, overwrite_x=True)
                values = values[(slice(None),) * axis + (slice(box[axis - 1]),)]
            return values.reshape(len(values), -1)[:, cells].T

        def in_batches(columns: np.ndarray) -> np.ndarray:
            starts = range(0, columns.shape[1], batch)
            return np.concatenate([multiply(columns[:, start : start + batch]) for start in starts], axis=1)

        return in_batches

    def eigenvalues(
        self, kpoint: np.ndarray, n_bands: int, start: np.ndarray | None = None, residual: float = RESIDUAL
    ) -> np.ndarray:
        """(n_bands,) lowest plane-wave eigenvalues at a fractional k-point, eV.

        Parameters
        ----------
        kpoint : (3,) array
            Fractional.
        n_bands : int
            Number of the lowest ones.
        start : (n, m) array, optional
            Plane-wave coefficients of approximate states, at least ``n_bands``, from which the iterations start.
        residual : float
            Norm of the residual at which a state counts as found, Ry.

        Raises
        ------
        NumericalError
            If the iterations do not converge.
        """
        indices, vectors = self.plane_waves(kpoint)
        if self.n_components * len(indices) <= DENSE_SIZE:
            return eigvalsh(self.matrix(kpoint), subset_by_index=[0, n_bands - 1]) * RYDBERG
        if start is None:
            # a few states more than asked for, so that those asked for converge fast
            start = self._start_states(kpoint, n_bands, n_bands + GUARD_STATES, residual)
        kinetic = np.tile((vectors**2).sum(axis=1), self.n_components)
        energies, _ = lowest_states(self.operator(kpoint).matmat, kinetic, start, n_bands, residual)
        return energies[:n_bands] * RYDBERG

    def _start_states(self, kpoint: np.ndarray, n_wanted: int, n_states: int, residual: float) -> np.ndarray:
        """(n, n_states) states of a lower cutoff, where iterations are cheap; of a small cell its smooth states."""
        if self.n_components > 1 or len(self.plane_waves(kpoint)[0]) < COARSE_SIZE:
            return self._smooth_states(kpoint, n_states)
        coarse = self._with_lower_cutoff(COARSE_CUTOFF * self.ecutwfc)
        few, vectors = coarse.plane_waves(kpoint)
        smooth = coarse._smooth_states(kpoint, n_states)
        kinetic = (vectors**2).sum(axis=1)
        _, found = lowest_states(coarse.operator(kpoint).matmat, kinetic, smooth, n_wanted, residual)
        indices = self.plane_waves(kpoint)[0]
        lowest = indices.min(axis=0)
        extent = tuple(indices.max(axis=0) - lowest + 1)
        row = np.zeros(extent, dtype=int)
        row[tuple((indices - lowest).T)] = np.arange(len(indices))
        states = np.zeros((len(indices), n_states), dtype=complex)
        states[row[tuple((few - lowest).T)]] = found
        return states

    def _with_lower_cutoff(self, ecutwfc: float) -> PlaneWaveHamiltonian:
        """The same with fewer plane waves, and the potential on the grid that these need."""
        grid = fft_grid(self.cell * BOHR, 4 * ecutwfc)
        orders = [np.fft.fftfreq(n, 1 / n).astype(int) for n in grid]
        # The highest order of an even grid stands for itself and its negative.
        kept = [np.where(2 * np.abs(m) < n, m, n) for m, n in zip(orders, grid, strict=True)]
        inside = [m < n for m, n in zip(kept, grid, strict=True)]
        coefficients = np.zeros(grid, dtype=complex)
        places = [np.flatnonzero(flags) for flags in inside]
        sources = [m[flags] % full for m, flags, full in zip(orders, inside, self._coefficients.shape, strict=True)]
        coefficients[np.ix_(*places)] = self._coefficients[np.ix_(*sources)]
        potential = fft.ifftn(coefficients * coefficients.size).real * RYDBERG
        return PlaneWaveHamiltonian(self._atoms, potential, self.pseudos, ecutwfc)

    def _smooth_states(self, kpoint: np.ndarray, n_states: int) -> np.ndarray:
        """(n, n_states) lowest states among the plane waves of lowest kinetic energy."""
        indices, vectors = self.plane_waves(kpoint)
        lowest = np.argsort((vectors**2).sum(axis=1), kind='stable')[: max(DENSE_SIZE, 3 * n_states)]
        states = np.zeros((self.n_components, len(indices), n_states), dtype=complex)
        _, found = eigh(self._dense(indices[lowest], vectors[lowest]), subset_by_index=[0, n_states - 1])
        states[:, lowest] = found.reshape(self.n_components, len(lowest), n_states)
        return states.reshape(-1, n_states)

    def orbitals(self, basis: Basis, kpoint: np.ndarray) -> np.ndarray:
        """(n, n_orbitals) Bloch sums of the orbitals at a fractional k-point, truncated at the cutoff."""
        _, vectors = self.plane_waves(kpoint)
        lengths = np.linalg.norm(vectors, axis=1)
        if self._orbital_tables[0] is not basis:
            self._orbital_tables = basis, {e: self._tabulate(basis[e]) for e in sorted(set(self.labels))}
        transforms = {element: table(lengths) for element, table in self._orbital_tables[1].items()}
        columns = []
        for atom, element in enumerate(self.labels):
            for l, transform in zip(basis[element].angular_momenta, transforms[element], strict=True):
                columns.append(self._expand(vectors, atom, l, transform))
        return np.concatenate(columns, axis=1)

    def _tabulate(self, species: SpeciesBasis) -> CubicSpline:
        """Bessel transforms of the radial functions of an element, ``(n_shells, n)`` at wave numbers ``(n,)``."""
        r = species.step * np.arange(len(species.shells[0].radial))
        weights = simpson_weights(len(r), species.step) * r**2
        values = np.empty((len(species.shells), len(self._q)))
        for l in set(species.angular_momenta):
            rows = [i for i, other in enumerate(species.angular_momenta) if other == l]
            table = np.array([species.shells[i].radial for i in rows]) * weights
            values[rows] = table @ spherical_jn(l, r[:, None] * self._q)
        return CubicSpline(self._q, values, axis=1)

    def project(self, basis: Basis, kpoint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hamiltonian (eV) and overlap between the Bloch sums of the orbitals, truncated at the cutoff.

        Comparable with ``sum_R exp(2 pi i k.R) M(R)`` of the blocks.
        """
        orbitals = self.orbitals(basis, kpoint)
        hamiltonian = orbitals.conj().T @ (self.operator(kpoint) @ orbitals)
        overlap = orbitals.conj().T @ orbitals
        return (hamiltonian + hamiltonian.conj().T) * (0.5 * RYDBERG), (overlap + overlap.conj().T) * 0.5
