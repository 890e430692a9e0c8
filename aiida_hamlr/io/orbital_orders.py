"""Orders and signs of the real harmonics of a shell in the formats of other programs.

This package follows e3nn: the polar axis is y, and p is (x, y, z). Everybody else has the polar axis z; then d and f
orbitals are other functions, so that a conversion changes numbers and not only their places. Four orders are known:

============= ======================================================= ================================================
order         functions of a shell                                    found in
============= ======================================================= ================================================
``polar_z``   m = -l .. l, p = (y, z, x), no Condon-Shortley phase    DeepH (new layout), DeePTB, CP2K, HPRO
``openmx``    p = (x, y, z), d = (z2, x2-y2, xy, xz, yz), then m = 0, OpenMX, DeepH (first layout), HamGNN
              1, -1, 2, -2, ...; no phase
``siesta``    m = -l .. l with Condon-Shortley phase, p = (-y, z, -x) SIESTA, sisl
``wannier90`` m = 0, 1, -1, 2, -2, ..., p = (z, x, y); no phase       Wannier90
============= ======================================================= ================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics, sphere_quadrature
from aiida_hamlr.electronic.matrices.blocks import BlockPattern

ORDERS = ('polar_z', 'openmx', 'siesta', 'wannier90')

#: Letters of the angular momenta.
LETTERS = 'spdfgh'


def magnetic_numbers(order: str, l: int) -> list[int]:
    """The m of the functions of a shell, counted about z: cosines for m > 0, sines for m < 0.

    Raises
    ------
    ValueError
        If the order is not known.
    """
    if order not in ORDERS:
        raise ValueError(f'unknown order of orbitals {order!r}; known are {", ".join(ORDERS)}')
    if order in ('polar_z', 'siesta'):
        return list(range(-l, l + 1))
    if order == 'openmx' and l < 3:
        return [[0], [1, -1, 0], [0, 2, -2, 1, -1]][l]
    return [0, *(sign * m for m in range(1, l + 1) for sign in (1, -1))]


@cache
def shell_turn(order: str, l: int) -> np.ndarray:
    """(2l + 1, 2l + 1) orthogonal matrix from the functions of a shell here to those of another order, read-only."""
    numbers = magnetic_numbers(order, l)
    directions, weight = sphere_quadrature(2 * l)
    # e3nn's harmonics of (y, z, x) are those with polar axis z of (x, y, z), m = -l .. l, without phase.
    foreign = real_harmonics(l, directions[..., [1, 2, 0]])[..., np.array(numbers) + l]
    result = np.einsum('pqa,pqb,pq->ab', foreign, real_harmonics(l, directions), weight)
    result[np.abs(result) < 1e-13] = 0.0
    if order == 'siesta':
        result *= np.array([(-1.0) ** m for m in numbers])[:, None]
    # One step of Newton's: orthogonal to the last digit, so that a turn and the turn back change nothing.
    exact = 1.5 * result - 0.5 * result @ result.T @ result
    exact.setflags(write=False)
    return exact


def turn(order: str, momenta: Sequence[int]) -> np.ndarray:
    """(n, n) orthogonal matrix from the orbitals of an atom here to those of another order, shells as they are."""
    size = sum(2 * l + 1 for l in momenta)
    result = np.zeros((size, size))
    start = 0
    for l in momenta:
        stop = start + 2 * l + 1
        result[start:stop, start:stop] = shell_turn(order, l)
        start = stop
    return result


def shell_permutation(momenta: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
    """Orbitals of an atom, by their numbers, in the order in which ``wanted`` lists the same shells.

    Shells of one angular momentum keep their sequence.

    Raises
    ------
    ValueError
        If the two do not list the same shells.
    """
    if sorted(momenta) != sorted(wanted):
        raise ValueError(f'shells {shell_letters(momenta)} are not {shell_letters(wanted)}')
    starts = np.concatenate([[0], np.cumsum([2 * l + 1 for l in momenta])])
    waiting = {l: [k for k, other in enumerate(momenta) if other == l] for l in set(momenta)}
    shells = [waiting[l].pop(0) for l in wanted]
    return np.concatenate([np.arange(starts[k], starts[k + 1]) for k in shells])


def shell_letters(momenta: Sequence[int]) -> str:
    """Shells in words, sorted: ``2s2p1d`` for (0, 0, 1, 1, 2)."""
    return ''.join(f'{list(momenta).count(l)}{LETTERS[l]}' for l in sorted(set(momenta)))


def change_orbitals(pattern: BlockPattern, entries: np.ndarray, turns: Sequence[np.ndarray]) -> np.ndarray:
    """Entries of a matrix in other orbitals, ``U_i M_ij(R) U_j^T``.

    Parameters
    ----------
    pattern : BlockPattern
        Of the matrix.
    entries : (..., M) array
        Real or complex.
    turns : (N,) sequence of (n_i, n_i) arrays
        Orthogonal matrix U of every atom, one object for all atoms of a kind.

    Returns
    -------
    (..., M) array
    """
    kinds = {id(matrix): matrix for matrix in turns}
    number = {key: index for index, key in enumerate(kinds)}
    kind = np.array([number[id(matrix)] for matrix in turns])
    matrices = list(kinds.values())
    result = np.empty_like(entries)
    codes = kind[pattern.first] * len(matrices) + kind[pattern.second]
    for code in np.unique(codes):
        left, right = (matrices[index] for index in divmod(int(code), len(matrices)))
        pairs = np.flatnonzero(codes == code)
        where = pattern.chunk_boundaries[pairs, None] + np.arange(len(left) * len(right))
        blocks = entries[..., where].reshape(*entries.shape[:-1], len(pairs), len(left), len(right))
        result[..., where] = (left @ blocks @ right.T).reshape(*entries.shape[:-1], *where.shape)
    return result


def atom_turns(
    order: str,
    momenta: Sequence[Sequence[int]],
    wanted: Sequence[Sequence[int]] | None = None,
    *,
    inverse: bool = False,
) -> list[np.ndarray]:
    """The matrix U of every atom for `change_orbitals`, from here to another order.

    Parameters
    ----------
    order : str
        One of ``ORDERS``.
    momenta : (N,) sequence of sequences of int
        Angular momentum of every shell of every atom, as they stand here.
    wanted : (N,) sequence of sequences of int, optional
        The same shells as they stand there; default: as here.
    inverse : bool
        From there to here instead.
    """
    known: dict = {}
    result = []
    for index, shells in enumerate(momenta):
        key = (tuple(shells), tuple(shells if wanted is None else wanted[index]))
        if key not in known:
            permutation = shell_permutation(*key)
            matrix = turn(order, key[1]) @ np.eye(len(permutation))[permutation]
            known[key] = matrix.T.copy() if inverse else matrix
        result.append(known[key])
    return result
