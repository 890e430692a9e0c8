"""Reading Hamiltonian files to learn from, and what is known of them without their matrices."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.magnetism import starting_moments
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import SPECIES_LABELS, species_labels
from aiida_hamlr.model.reference_matrices import fitted_shift, read_reference

#: H counts as equal to H0 if no element differs by more than this, eV.
SAME = 1e-6


@dataclass
class Head:
    """What a Hamiltonian file says beside its matrices."""

    path: str
    atoms: Atoms
    basis: Basis
    pseudopotentials: dict[str, str]
    attributes: HamiltonianAttributes
    labels: dict[str, np.ndarray]

    def k_spacing(self) -> float | None:
        """Largest distance of k points of the self-consistent run, 1/Å (without 2 pi), or None if not recorded."""
        mesh = self.attributes.scf_kpoints
        try:
            mesh = np.asarray(mesh, dtype=float)
        except (TypeError, ValueError):
            return None
        if mesh.shape != (3,) or not (mesh > 0).all():
            return None
        return float((np.linalg.norm(np.linalg.inv(np.asarray(self.atoms.cell)), axis=0) / mesh).max())


@dataclass
class Survey(Head):
    """The same with what is known of the matrices without keeping them: their hash and :func:`block_means`."""

    content_hash: str
    block_means: tuple[np.ndarray, np.ndarray]


@dataclass
class Reference(Head):
    """What is learned from one Hamiltonian file: ``delta`` = H - H0, and H0 (M,), eV, and the overlap (M,).

    ``delta`` is (M,), with collinear spin (2, M).
    """

    pattern: BlockPattern
    delta: np.ndarray
    overlap: np.ndarray
    h0: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> Reference:
        """Read a Hamiltonian file and check that it can be learned from.

        Raises
        ------
        ValueError
            If a matrix is missing, H equals H0 up to a constant, or a file with collinear spin has no starting moments.
        """
        hamiltonian = read_reference(
            path, 'train on files of `hamlr reconstruct`, or import with --basis and --pseudos'
        )
        delta = hamiltonian.hamiltonian - hamiltonian.h0
        shift = fitted_shift(delta, hamiltonian.overlap)
        if np.abs(delta + shift * hamiltonian.overlap).max(initial=0.0) < SAME:
            what = 'H0' if abs(shift) < SAME else f'H0 {-shift:+.4g} eV'
            raise ValueError(f'{path}: H equals {what}, so there is nothing to learn; it is no reference calculation')
        return cls(
            str(path),
            hamiltonian.atoms,
            hamiltonian.basis,
            dict(hamiltonian.pseudopotentials),
            hamiltonian.attributes,
            hamiltonian.labels,
            hamiltonian.pattern,
            delta,
            hamiltonian.overlap,
            hamiltonian.h0,
        )

    @property
    def spins(self) -> list[np.ndarray]:
        """H - H0 (M,) of spin up and down; of one that stands for both without collinear spin."""
        return list(np.atleast_2d(self.delta))

    @property
    def content_hash(self) -> str:
        """sha256 of structure and matrices."""
        digest = hashlib.sha256()
        for array in (np.asarray(self.atoms.cell), self.atoms.positions, self.atoms.numbers, self.delta, self.overlap):
            digest.update(np.ascontiguousarray(array).tobytes())
        if SPECIES_LABELS in self.atoms.arrays:
            digest.update(' '.join(species_labels(self.atoms)).encode())
        moments = starting_moments(self.atoms)
        if moments is not None:
            digest.update(moments.tobytes())
        return digest.hexdigest()

    def survey(self) -> Survey:
        """What to know of the file when its matrices are gone."""
        head = (self.path, self.atoms, self.basis, self.pseudopotentials, self.attributes, self.labels)
        return Survey(*head, self.content_hash, block_means(self))


def block_means(reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (Å) of the off-site blocks and their mean absolute elements of H - H0 (eV)."""
    pattern = reference.pattern
    sums = np.add.reduceat(np.abs(np.atleast_2d(reference.delta)).mean(axis=0), pattern.chunk_boundaries[:-1])
    lengths = np.linalg.norm(pattern.vectors(np.asarray(reference.atoms.cell), reference.atoms.positions), axis=1)
    offsite = np.ones(len(pattern), dtype=bool)
    offsite[pattern.onsite] = False
    return lengths[offsite], (sums / pattern.chunk_shapes.prod(axis=1))[offsite]
