"""How much of a state is on which atom, shell and orbital: for projected densities of states and fat bands.

The share of orbital mu in a state is its Mulliken population, ``Re c_mu^* (S c)_mu``; the shares of a state sum to one.
Orbitals of one atom with the same l and m but different radial functions (zetas) count together. The m are those of
Quantum ESPRESSO and AiiDA, with z as the polar axis: s; pz, px, py; dz2, dxz, dyz, dx2-y2, dxy; and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from aiida_hamlr.electronic.bands.kspace import BlochSum
from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: What states can be projected on.
KINDS = ('species', 'shell', 'm', 'atom', 'orbital')

#: Names of the orbitals by l, in the order of m = 0, 1, -1, 2, -2, ...
ORBITAL_NAMES = (
    ('s',),
    ('pz', 'px', 'py'),
    ('dz2', 'dxz', 'dyz', 'dx2-y2', 'dxy'),
    ('fz3', 'fxz2', 'fyz2', 'fz(x2-y2)', 'fxyz', 'fx(x2-3y2)', 'fy(3x2-y2)'),
)


@dataclass(frozen=True)
class OrbitalGroup:
    """The orbitals that a projection counts together; None stands for all.

    Parameters
    ----------
    species : str
        Species label.
    atom : int, optional
        Counted from 0.
    l : int, optional
        Angular momentum.
    m : int, optional
        Index into the 2l + 1 orbitals in the order pz, px, py, see the top of the module.
    """

    species: str
    atom: int | None = None
    l: int | None = None
    m: int | None = None

    @property
    def label(self) -> str:
        """As in 'Al', 'Al p', 'Al px' or 'Al3 px' with the number of the atom."""
        name = self.species if self.atom is None else f'{self.species}{self.atom}'
        if self.l is None:
            return name
        if self.m is None:
            return f'{name} {"spdfghi"[self.l]}'
        return f'{name} {ORBITAL_NAMES[self.l][self.m]}' if self.l < 4 else f'{name} l={self.l} m={self.m}'


@cache
def to_polar_z(l: int) -> np.ndarray:
    """(2l + 1, 2l + 1) orthogonal matrix from harmonics in e3nn's order to pz, px, py and so on."""
    directions = np.random.default_rng(l).normal(size=(8 * l + 8, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # e3nn's polar axis is y: the same functions of (y, z, x) have z as the polar axis and m = -l ... l.
    turned = real_harmonics(l, directions[:, [1, 2, 0]])
    order = [l, *(l + sign * m for m in range(1, l + 1) for sign in (1, -1))]
    return np.linalg.lstsq(real_harmonics(l, directions), turned[:, order], rcond=None)[0].T


def orbital_groups(hamiltonian: Hamiltonian, kind: str = 'shell') -> tuple[tuple[OrbitalGroup, ...], np.ndarray]:
    """The groups of a projection, and the group of each orbital after `to_polar_z`.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its basis is needed.
    kind : str
        'species'; 'shell', species and l; 'm', species, l and m; 'atom'; 'orbital', atom, l and m.

    Returns
    -------
    groups : tuple of OrbitalGroup
        In the order of the atoms.
    index : (n_orbitals,) int array

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f'projection {kind!r}: choose {", ".join(KINDS)}')
    groups: dict[OrbitalGroup, int] = {}
    index = []
    for atom, species in enumerate(hamiltonian.species):
        for l in hamiltonian.basis[species].angular_momenta:
            for m in range(2 * l + 1):
                group = OrbitalGroup(
                    species,
                    atom if kind in ('atom', 'orbital') else None,
                    l if kind in ('shell', 'm', 'orbital') else None,
                    m if kind in ('m', 'orbital') else None,
                )
                index.append(groups.setdefault(group, len(groups)))
    # Zetas come shell after shell: s, p, d of one species or atom belong together.
    order = sorted(groups, key=lambda group: (groups[_parent(group, groups)], group.l or 0, group.m or 0))
    place = np.empty(len(groups), dtype=int)
    place[[groups[group] for group in order]] = np.arange(len(groups))
    return tuple(order), place[index]


def _parent(group: OrbitalGroup, groups: dict[OrbitalGroup, int]) -> OrbitalGroup:
    """The first group of the same species or atom."""
    return next(other for other in groups if (other.species, other.atom) == (group.species, group.atom))


def project_states(
    hamiltonian: Hamiltonian, kpoints: np.ndarray, states: np.ndarray, kind: str = 'shell'
) -> tuple[tuple[OrbitalGroup, ...], np.ndarray]:
    """Shares of groups of orbitals in states.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the overlap.
    kpoints : (nk, 3) array
        Fractional.
    states : (nk, n, nb) or (n_spin, nk, n, nb) array
        Coefficients in the n orbitals, as from `eigenvectors`. Spinors, of 2 n with spin as the slow index,
        count both spins together.
    kind : str
        See `orbital_groups`.

    Returns
    -------
    groups : tuple of OrbitalGroup
    shares : (nk, nb, n_groups) or (n_spin, nk, nb, n_groups) array
        Without unit; the shares of a state sum to 1.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    groups, index = orbital_groups(hamiltonian, kind)
    sums = BlochSum(hamiltonian.pattern)
    overlap = sums.operator(np.asarray(hamiltonian.overlap, dtype=float))
    states = np.asarray(states)
    spins = states[None] if states.ndim == 3 else states
    result = np.empty((*spins.shape[:2], spins.shape[3], len(groups)))
    membership = np.zeros((len(index), len(groups)))
    membership[np.arange(len(index)), index] = 1.0
    shells = _shells(hamiltonian)
    for k, kpoint in enumerate(np.asarray(kpoints, dtype=float)):
        S = sums.dense(overlap, kpoint[None])[0]
        for spin in range(len(spins)):
            c = spins[spin, k].reshape(-1, sums.n_orbitals, spins.shape[3])
            shares = sum(_shares(part, S @ part, shells) for part in c)
            result[spin, k] = shares.T @ membership
    return groups, result if states.ndim == 4 else result[0]


def _shares(states: np.ndarray, products: np.ndarray, shells: dict[int, np.ndarray]) -> np.ndarray:
    """(n_orbitals, nb) populations of the orbitals with z as the polar axis."""
    result = np.empty(states.shape)
    for l, rows in shells.items():
        turn = to_polar_z(l)
        left, right = (np.einsum('ab,sbn->san', turn, part[rows]) for part in (states, products))
        result[rows] = (left.conj() * right).real
    return result


def _shells(hamiltonian: Hamiltonian) -> dict[int, np.ndarray]:
    """(n_shells, 2l + 1) orbitals of all shells by l."""
    found: dict[int, list] = {}
    for offset, species in zip(hamiltonian.pattern.orbital_offsets, hamiltonian.species, strict=False):
        basis = hamiltonian.basis[species]
        for l, rows in zip(basis.angular_momenta, basis.shell_slices, strict=True):
            found.setdefault(l, []).append(np.arange(offset + rows.start, offset + rows.stop))
    return {l: np.array(rows) for l, rows in found.items()}


def sum_groups(
    groups: Sequence[OrbitalGroup], values: np.ndarray, kind: str
) -> tuple[tuple[OrbitalGroup, ...], np.ndarray]:
    """Coarser groups of values on finer ones.

    Parameters
    ----------
    groups : sequence of OrbitalGroup
        The fine groups.
    values : (..., n_groups) array
        Any quantity by group, in its own unit.
    kind : str
        'species', 'shell', 'm' or 'atom', as far as the fine groups tell it.

    Returns
    -------
    groups : tuple of OrbitalGroup
    values : (..., n_coarse) array
        In the same unit.
    """
    coarse: dict[OrbitalGroup, int] = {}
    index = []
    for group in groups:
        target = OrbitalGroup(
            group.species,
            group.atom if kind == 'atom' else None,
            group.l if kind in ('shell', 'm') else None,
            group.m if kind == 'm' else None,
        )
        index.append(coarse.setdefault(target, len(coarse)))
    membership = np.zeros((len(groups), len(coarse)))
    membership[np.arange(len(groups)), index] = 1.0
    return tuple(coarse), np.asarray(values) @ membership
