"""Spinor blocks of other programs, from and to two spins and the spin-orbit part.

``H = [[up - i K_z, -i K_x - K_y], [-i K_x + K_y, down + i K_z]]`` block by block, as in
`aiida_hamlr.electronic.bands.spinors`; rows with spin up come first in every block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.bands.spinors import spinor_components
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.reading import naming
from aiida_hamlr.io.block_merging import RawMatrix
from aiida_hamlr.io.orbital_orders import change_orbitals

#: Exchange and spin-orbit parts smaller than this, eV, are not there.
NEGLIGIBLE = 1e-9

#: What cannot be represented may be this large, eV.
TOLERANCE = 1e-6


def hamiltonian_blocks(hamiltonian: Hamiltonian, turns: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Entries of H in other orbitals, as DeepH has them.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian``, and the spin-orbit part if there is one.
    turns : (N,) sequence of arrays
        Of `aiida_hamlr.io.orbital_orders.atom_turns`.

    Returns
    -------
    entries : (M,) float array or (4 M,) complex array
        eV; the latter, blocks of spinors, with two spins or spin-orbit coupling.
    spins : int
        By how much rows and columns of the blocks are longer: 1 or 2.
    """
    pattern = hamiltonian.pattern
    if hamiltonian.n_spin == 1 and SPIN_ORBIT not in hamiltonian.matrices:
        return change_orbitals(pattern, hamiltonian.matrices['hamiltonian'], turns), 1
    return _join(pattern, change_orbitals(pattern, spin_components(hamiltonian), turns)), 2


def read_blocks(
    pairs: np.ndarray, entries: np.ndarray, n_orbitals: np.ndarray, file: Path, names: np.ndarray | None = None
) -> dict[str, RawMatrix]:
    """Hamiltonian and, if there is one, spin-orbit part from blocks of any sequence: inverse of `hamiltonian_blocks`.

    Parameters
    ----------
    pairs : (P, 5) int array
        Rows ``Rx, Ry, Rz, i, j``.
    entries : (M,) float array or (4 M,) complex array
        eV; complex ones are blocks of spinors.
    n_orbitals : (N,) int array
        Without spin.
    file : Path
        Where they stand, for messages.
    names : (N,) int array, optional
        New numbers of the atoms.

    Raises
    ------
    ValueError
        As `separate_spins`.
    """
    renamed = pairs
    if names is not None:
        renamed = pairs.copy()
        renamed[:, 3:] = names[pairs[:, 3:]]
    if entries.dtype.kind != 'c':
        found = {'hamiltonian': RawMatrix(renamed, entries)}
    else:
        with naming(file):
            found = separate_spins(renamed, _split(pairs, n_orbitals, entries))
    return {name: replace(matrix, file=file) for name, matrix in found.items()}


def spin_components(hamiltonian: Hamiltonian) -> np.ndarray:
    """(4, M) complex entries up-up, down-down, up-down, down-up of a Hamiltonian, eV."""
    values = hamiltonian.matrices['hamiltonian']
    coupling = hamiltonian.matrices.get(SPIN_ORBIT, np.zeros((3, values.shape[-1])))
    return np.array(spinor_components(np.atleast_2d(values), coupling, hamiltonian.magnetization_axis))


def separate_spins(pairs: np.ndarray, components: np.ndarray) -> dict[str, RawMatrix]:
    """Hamiltonian and spin-orbit part, eV, as far as they are there, from the (4, M) of `spin_components`.

    Raises
    ------
    ValueError
        If the spins are not collinear along z, or H without spin is not real.
    """
    uu, dd, ud, du = components
    scalar, along_z = 0.5 * (uu + dd), 0.5 * (uu - dd)
    along_x, along_y = 0.5 * (ud + du), 0.5j * (ud - du)
    strange = max(np.abs(part).max(initial=0.0) for part in (scalar.imag, along_x.real, along_y.real))
    if strange > TOLERANCE:
        raise ValueError(
            f'hamiltonian: magnetic moments that are not along z, or currents ({strange:.1e} eV); only collinear spins '
            'and spin-orbit coupling are possible here'
        )
    exchange = along_z.real
    if np.abs(exchange).max(initial=0.0) > NEGLIGIBLE:
        spins = np.array([scalar.real + exchange, scalar.real - exchange])
    else:
        spins = scalar.real
    result = {'hamiltonian': RawMatrix(pairs, spins)}
    coupling = -np.array([along_x.imag, along_y.imag, along_z.imag])
    if np.abs(coupling).max(initial=0.0) > NEGLIGIBLE:
        result[SPIN_ORBIT] = RawMatrix(pairs, coupling, sign=-1)
    return result


def _join(pattern: BlockPattern, components: np.ndarray) -> np.ndarray:
    """(4 M,) entries of blocks of spinors from (4, M) components."""
    result = np.empty(4 * pattern.n_entries, dtype=complex)
    for (rows, columns), pairs, entries in pattern.groups():
        blocks = components[:, entries].reshape(2, 2, len(pairs), rows, columns)
        # up-up, down-down, up-down, down-up to rows and columns of spins.
        blocks = np.array([[blocks[0, 0], blocks[1, 0]], [blocks[1, 1], blocks[0, 1]]])
        where = 4 * pattern.chunk_boundaries[pairs, None] + np.arange(4 * rows * columns)
        result[where] = blocks.transpose(2, 0, 3, 1, 4).reshape(len(pairs), -1)
    return result


def _split(pairs: np.ndarray, n_orbitals: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """The inverse of `_join`, for blocks in any sequence."""
    shapes = n_orbitals[pairs[:, 3:]]
    bounds = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
    result = np.empty((4, int(bounds[-1])), dtype=complex)
    for rows, columns in np.unique(shapes, axis=0):
        chosen = np.flatnonzero((shapes == (rows, columns)).all(axis=1))
        joined = entries[4 * bounds[chosen, None] + np.arange(4 * rows * columns)]
        joined = joined.reshape(len(chosen), 2, rows, 2, columns).transpose(1, 3, 0, 2, 4)
        where = bounds[chosen, None] + np.arange(rows * columns)
        for component, (row, column) in enumerate([(0, 0), (1, 1), (0, 1), (1, 0)]):
            result[component, where] = joined[row, column].reshape(len(chosen), -1)
    return result
