"""Two-centre integrals: overlap, kinetic energy, dipole and the nonlocal pseudopotential, exact to the radial tables.

Inside: bohr and Ry; results: eV and Å. See `radial_integrals` for the method.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from ase import Atoms
from scipy.special import spherical_jn

from aiida_hamlr.electronic.arrays import NumpyArrays
from aiida_hamlr.electronic.integrals.harmonics import gaunt, rotation_generators
from aiida_hamlr.electronic.integrals.radial_integrals import RadialFunctions, RadialIntegrals, simpson_weights
from aiida_hamlr.electronic.matrices.accumulate import BlockAccumulator
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.neighbours import neighbour_pairs
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.resources import items_at_once
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR, RYDBERG

#: Largest wave vector of the Fourier-Bessel transforms, bohr^-1; orbitals and projectors are far smoother than this.
MAXIMUM_Q = 40.0

#: Spacing of the distances at which the radial integrals are tabulated, bohr.
DISTANCE_STEP = 0.02

#: A projector ends where ``r beta(r)`` stays below this fraction of its maximum.
PROJECTOR_TAIL = 1e-7

#: Atom pairs evaluated at a time, few enough for the cache.
BATCH = 4_000

#: Arrays as large as the blocks of a batch that evaluating it takes.
ARRAYS_PER_BATCH = 10


class TwoCentreTables:
    """Tables of the two-centre integrals of a basis; made once, then used for any number of structures.

    Parameters
    ----------
    basis : Basis
    pseudos : mapping of str to Pseudopotential, optional
        Needed by `nonlocal_part` only.
    memory_limit : float, optional
        GB; bounds how many pairs of atoms are evaluated at once.

    Raises
    ------
    ValueError
        If pseudopotentials are given and an element of the basis has none.
    """

    def __init__(
        self,
        basis: Basis,
        pseudos: Mapping[str, Pseudopotential] | None = None,
        memory_limit: float | None = None,
    ):
        self.basis = basis
        largest = max(species.n_orbitals for species in basis.values())
        self._batch = items_at_once(ARRAYS_PER_BATCH * 16 * largest**2, memory_limit, BATCH)
        self.pseudos = dict(pseudos or {})
        missing = sorted(set(basis) - set(self.pseudos))
        if pseudos is not None and missing:
            raise ValueError(f'no pseudopotential for {", ".join(missing)}')
        longest = max(species.cutoff_radius for species in basis.values())
        reach = longest + max([longest, *(self._projector_radius(pseudo) for pseudo in self.pseudos.values())])
        self._q = np.linspace(0.0, MAXIMUM_Q, int(np.ceil(MAXIMUM_Q * reach / (0.95 * np.pi))) + 1)
        self._distances = np.arange(0.0, reach + 2 * DISTANCE_STEP, DISTANCE_STEP)
        self._bessel_tables: dict[int, np.ndarray] = {}
        self._integrals: dict[tuple, RadialIntegrals] = {}

    def _bessel(self, order: int) -> np.ndarray:
        if order not in self._bessel_tables:
            self._bessel_tables[order] = spherical_jn(order, self._q[:, None] * self._distances)
        return self._bessel_tables[order]

    def _transform(self, species: SpeciesBasis, radial: np.ndarray, l: int, power: int = 0) -> np.ndarray:
        r = species.step * np.arange(len(radial))
        weighted = simpson_weights(len(r), species.step) * radial * r ** (2 + power)
        return spherical_jn(l, self._q[:, None] * r) @ weighted

    @cached_property
    def _orbitals(self) -> dict[str, RadialFunctions]:
        return {
            element: RadialFunctions(
                species.angular_momenta,
                np.array([self._transform(species, s.radial, s.angular_momentum) for s in species.shells]),
                species.cutoff_radius,
            )
            for element, species in self.basis.items()
        }

    @cached_property
    def _displaced_orbitals(self) -> dict[str, tuple[RadialFunctions, np.ndarray]]:
        """``r_alpha phi`` of every element: as functions ``r R(r) Y_l'm'``, l' = l +- 1, and their coefficients."""
        result = {}
        for element, species in self.basis.items():
            momenta, transforms = [], []
            for shell in species.shells:
                for l in range(abs(shell.angular_momentum - 1), shell.angular_momentum + 2, 2):
                    momenta.append(l)
                    transforms.append(self._transform(species, shell.radial, l, power=1))
            functions = RadialFunctions(tuple(momenta), np.array(transforms), species.cutoff_radius)
            coefficients = np.zeros((3, species.n_orbitals, functions.size))
            targets = iter(functions.slices)
            for shell, rows in zip(species.shells, species.shell_slices, strict=True):
                l = shell.angular_momentum
                for higher in range(abs(l - 1), l + 2, 2):
                    # r_alpha / r = sqrt(4 pi / 3) Y_1alpha
                    expansion = np.sqrt(4 * np.pi / 3) * gaunt(l, 1, higher)
                    coefficients[:, rows, next(targets)] = expansion.transpose(1, 0, 2)
            result[element] = functions, coefficients
        return result

    @staticmethod
    def _projector_radius(pseudo: Pseudopotential) -> float:
        radius = 0.0
        for projector in pseudo.projectors:
            values = np.abs(projector.values[: projector.cutoff_index])
            radius = max(radius, float(pseudo.r[np.flatnonzero(values > PROJECTOR_TAIL * values.max())[-1]]))
        return radius

    @cached_property
    def _projectors(self) -> dict[str, RadialFunctions]:
        result = {}
        for element, pseudo in self.pseudos.items():
            if element not in self.basis or not pseudo.projectors:
                continue
            transforms = [pseudo.projector_form_factor(index, self._q) for index in range(len(pseudo.projectors))]
            momenta = tuple(projector.angular_momentum for projector in pseudo.projectors)
            result[element] = RadialFunctions(momenta, np.array(transforms), self._projector_radius(pseudo))
        return result

    def _get(self, kind: str, first: str, second: str) -> RadialIntegrals:
        key = kind, first, second
        if key not in self._integrals:
            left = self._displaced_orbitals[first][0] if kind == 'dipole' else self._orbitals[first]
            right = (self._projectors if kind == 'projector' else self._orbitals)[second]
            powers = (0, 2) if kind == 'overlap' else (0,)
            self._integrals[key] = RadialIntegrals(left, right, self._q, self._bessel, self._distances, powers)
        return self._integrals[key]

    def _species_pairs(self, atoms: Atoms, pattern: BlockPattern):
        """Batches of every pair of elements: the elements, vectors (n, 3) in bohr, entries (n, rows, columns)."""
        labels = np.array(species_labels(atoms))
        vectors = pattern.vectors(atoms.cell[:], atoms.positions) / BOHR
        first, second = labels[pattern.first], labels[pattern.second]
        for a in np.unique(labels):
            for b in np.unique(labels):
                members = np.flatnonzero((first == a) & (second == b))
                shape = self.basis[a].n_orbitals, self.basis[b].n_orbitals
                local = np.arange(shape[0] * shape[1]).reshape(shape)
                for start in range(0, len(members), self._batch):
                    chosen = members[start : start + self._batch]
                    yield a, b, vectors[chosen], pattern.chunk_boundaries[chosen, None, None] + local

    def overlap_and_kinetic(self, atoms: Atoms, pattern: BlockPattern) -> tuple[np.ndarray, np.ndarray]:
        """Overlap and kinetic energy, ``<phi_i| 1 |phi_j>`` and ``<phi_i| -hbar^2 nabla^2 / 2m |phi_j>``.

        Returns
        -------
        overlap : (M,) array
        kinetic : (M,) array
            eV.
        """
        # two arrays, so that each can be given up without the other
        overlap, kinetic = np.empty(pattern.n_entries), np.empty(pattern.n_entries)
        for a, b, vectors, entries in self._species_pairs(atoms, pattern):
            overlap[entries], kinetic[entries] = self._get('overlap', a, b)(vectors)
        kinetic *= RYDBERG
        return overlap, kinetic

    def dipole(self, atoms: Atoms, pattern: BlockPattern) -> np.ndarray:
        """Dipole integrals about the row's atom, ``<phi_i| r - tau_i |phi_j>``.

        ``(r - tau_i) phi_i`` is a sum of functions ``r R(r) Y_l'm'`` with ``l' = l +- 1``, whose overlaps with the
        orbitals are two-centre integrals.

        Returns
        -------
        (3, M) array
            Å; components x, y, z.
        """
        result = np.empty((3, pattern.n_entries))
        for a, b, vectors, entries in self._species_pairs(atoms, pattern):
            result[:, entries] = self.dipole_blocks(a, b, vectors * BOHR).transpose(1, 0, 2, 3)
        return result

    def dipole_blocks(self, first: str, second: str, vectors: np.ndarray) -> np.ndarray:
        """The same for pairs of atoms of two elements.

        Parameters
        ----------
        first, second : str
            Elements of the rows and of the columns.
        vectors : (n, 3) array
            From the first to the second atom, Å.

        Returns
        -------
        (n, 3, rows, columns) array
            Å.
        """
        coefficients = BOHR * self._displaced_orbitals[first][1]
        overlaps = self._get('dipole', first, second)(vectors / BOHR)[0]
        return np.matmul(coefficients, overlaps[:, None])

    def projections(self, atoms: Atoms) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """``<phi|beta>`` of the orbitals within reach of every atom that has projectors.

        Returns
        -------
        list of (atom, neighbours, blocks)
            One for each atom a and element b of its neighbours: rows ``Rx, Ry, Rz, i`` of atoms i + R of that element,
            and (n, orbitals of i, projectors of a) integrals, bohr^0.
        """
        labels = np.array(species_labels(atoms))
        reach = max((self.basis[s].cutoff_radius for s in set(labels)), default=0.0)
        longest = max((self._projectors[s].radius for s in set(labels) if s in self._projectors), default=0.0)
        pairs, vectors = neighbour_pairs(atoms, (reach + longest) * BOHR)
        vectors = vectors / BOHR
        distances = np.linalg.norm(vectors, axis=1)
        result = []
        for a in sorted(set(labels) & set(self._projectors)):
            for b in sorted(set(labels)):
                near = distances < self._projectors[a].radius + self.basis[b].cutoff_radius
                members = np.flatnonzero((labels[pairs[:, 3]] == a) & (labels[pairs[:, 4]] == b) & near)
                members = members[np.argsort(pairs[members, 3], kind='stable')]
                if not len(members):
                    continue
                integrals = self._get('projector', b, a)
                parts = np.split(members, range(self._batch, len(members), self._batch))
                blocks = np.concatenate([integrals(-vectors[part])[0] for part in parts])
                centres, starts = np.unique(pairs[members, 3], return_index=True)
                for atom, start, stop in zip(centres, starts, [*starts[1:], len(members)], strict=True):
                    neighbours = pairs[members[start:stop]][:, [0, 1, 2, 4]]
                    result.append((int(atom), neighbours, blocks[start:stop]))
        return result

    def coupling(self, element: str) -> np.ndarray:
        """(n, n) matrix ``D_pq delta_mm'`` between the projectors of an element, each m counted, Ry."""
        pseudo, functions = self.pseudos[element], self._projectors[element]
        result = np.zeros((functions.size, functions.size))
        for p, rows in enumerate(functions.slices):
            for q, columns in enumerate(functions.slices):
                if functions.angular_momenta[p] == functions.angular_momenta[q]:
                    result[rows, columns] = pseudo.dij[p, q] * np.eye(rows.stop - rows.start)
        return result

    def spin_orbit_coupling(self, element: str) -> np.ndarray:
        """(3, n, n) matrices ``D_pq (A_a)_mm'`` between the projectors of an element, Ry; see `spin_orbit_part`."""
        pseudo, functions = self.pseudos[element], self._projectors[element]
        result = np.zeros((3, functions.size, functions.size))
        if pseudo.spin_orbit_dij is None:
            return result
        for p, rows in enumerate(functions.slices):
            for q, columns in enumerate(functions.slices):
                if functions.angular_momenta[p] == functions.angular_momenta[q]:
                    generators = rotation_generators(functions.angular_momenta[p])
                    result[:, rows, columns] = pseudo.spin_orbit_dij[p, q] * generators
        return result

    def nonlocal_part(self, atoms: Atoms, pattern: BlockPattern) -> np.ndarray:
        """Nonlocal pseudopotential, ``sum_a sum_pq <phi_i|beta_p^a> D_pq <beta_q^a|phi_j>``, linear in the atoms.

        Blocks between orbitals that do not overlap, though both reach one projector, are not in the pattern and are
        left out. With soft-confined orbitals of 8 bohr this changes H(k) of AlAs by 0.1 meV at most, occupied bands by
        less than 0.003 meV.

        Returns
        -------
        (M,) array
            eV.
        """
        couplings = {element: self.coupling(element)[None] for element in self._projectors}
        return self._sum_over_projectors(atoms, pattern, couplings)[0]

    def spin_orbit_part(self, atoms: Atoms, pattern: BlockPattern) -> np.ndarray:
        """Spin-orbit part of fully relativistic pseudopotentials, ``H_SO = sum_a sigma_a (x) (-i K_a)``.

        ``K_a = sum_atoms sum_pq <phi_i|beta_p> D_pq A_a <beta_q|phi_j>`` with ``spin_orbit_dij`` and the generators of
        `rotation_generators`; like `nonlocal_part` linear in the atoms, third atoms included. Scalar-relativistic
        pseudopotentials add nothing.

        Returns
        -------
        (3, M) array
            K_x, K_y and K_z, real, ``K_ij(R) = -K_ji(-R)^T``, eV.
        """
        couplings = {element: self.spin_orbit_coupling(element) for element in self._projectors}
        return self._sum_over_projectors(atoms, pattern, couplings, antisymmetric=True)

    def _sum_over_projectors(
        self, atoms: Atoms, pattern: BlockPattern, couplings: Mapping[str, np.ndarray], antisymmetric: bool = False
    ) -> np.ndarray:
        """(n, M) sums over the projectors of all atoms with n couplings (n, p, p) of each element, Ry; result in eV."""
        labels = species_labels(atoms)
        elements = sorted(set(labels))
        kinds = np.searchsorted(elements, labels)
        n_operators = len(next(iter(couplings.values()))) if couplings else (3 if antisymmetric else 1)
        accumulator = BlockAccumulator(pattern, kinds, NumpyArrays(), n_operators, antisymmetric=antisymmetric)
        by_atom: dict[int, list] = {}
        for atom, neighbours, blocks in self.projections(atoms):
            by_atom.setdefault(atom, []).append((neighbours, blocks))
        for atom, parts in by_atom.items():
            neighbours = np.concatenate([rows for rows, _ in parts])
            projections = np.concatenate([blocks.reshape(-1, blocks.shape[2]) for _, blocks in parts])
            left = (projections @ couplings[labels[atom]])[None]
            counts = np.bincount(kinds[neighbours[:, 3]], minlength=len(elements)).tolist()
            slots = np.arange(len(neighbours))
            places = accumulator.places(
                neighbours[:, 3], neighbours[:, :3], np.zeros_like(slots), slots, (1, len(neighbours))
            )
            accumulator.add(places, counts, lambda rows, left=left: left[:, :, rows], projections[None])
        result = accumulator.entries()
        result *= RYDBERG
        return result
