"""From blocks as files of other programs have them to one pattern with all transposes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.reading import naming

#: Largest difference of a matrix and its transpose, eV or no unit: predictions of others are not exactly symmetric.
LARGEST_ASYMMETRY = 1e-2

#: Lattice vectors beyond this many cells are damage.
LARGEST_IMAGE = 10_000


@dataclass(frozen=True)
class RawMatrix:
    """One matrix as a file holds it: some blocks, in any sequence, of which the reverse may be missing.

    Parameters
    ----------
    pairs : (P, 5) int array
        Rows ``Rx, Ry, Rz, i, j`` from 0.
    entries : (..., M) array
        Blocks one after the other, row-major.
    sign : int
        Of the transposed matrix: -1 for the parts of the spin-orbit coupling.
    tolerance : float
        Largest difference of the matrix and its transpose, eV or no unit; more is no rounding but damage.
    file : path, optional
        What messages name beside the matrix.
    """

    pairs: np.ndarray
    entries: np.ndarray
    sign: int = 1
    tolerance: float = LARGEST_ASYMMETRY
    file: Path | None = None


def raw_from_elements(elements: tuple[np.ndarray, ...], values: np.ndarray, n_orbitals: np.ndarray) -> RawMatrix:
    """Blocks from single elements of a sparse matrix; what is not named is zero.

    Parameters
    ----------
    elements : tuple of arrays
        (n,) rows and (n,) columns, orbitals of the cell from 0, and (n, 3) lattice vectors of the columns.
    values : (..., n) array
        No element twice.
    n_orbitals : (N,) int array
        Of the atoms.
    """
    rows, columns, images = elements
    offsets = np.concatenate([[0], np.cumsum(n_orbitals)])
    atom = np.repeat(np.arange(len(n_orbitals)), n_orbitals)
    i, j = atom[rows], atom[columns]
    pairs, member = np.unique(np.column_stack([images, i, j]), axis=0, return_inverse=True)
    sizes = n_orbitals[pairs[:, 3:]].prod(axis=1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    entries = np.zeros((*values.shape[:-1], int(starts[-1])), dtype=values.dtype)
    entries[..., starts[member.ravel()] + (rows - offsets[i]) * n_orbitals[j] + columns - offsets[j]] = values
    return RawMatrix(pairs, entries)


def merge(raw: Mapping[str, RawMatrix], n_orbitals: np.ndarray) -> tuple[BlockPattern, dict[str, np.ndarray]]:
    """All blocks of several matrices in one pattern; missing ones are transposes, or zero.

    Returns
    -------
    pattern : BlockPattern
        Sorted by i, j and R, with all on-site blocks.
    entries : dict of str to (..., M) arrays
        Exactly symmetric.

    Raises
    ------
    ValueError
        If blocks are impossible or occur twice, or a matrix is not symmetric; the message names the matrix, and its
        file if that is known.
    """
    for name, matrix in raw.items():
        with _naming(name, matrix):
            _check_raw(matrix, n_orbitals)
    own = np.arange(len(n_orbitals))
    rows = [np.column_stack([np.zeros((len(own), 3), dtype=np.int64), own, own])]
    for matrix in raw.values():
        rows += [matrix.pairs, _reversed(matrix.pairs)]
    pairs = np.unique(np.concatenate(rows)[:, [3, 4, 0, 1, 2]], axis=0)[:, [2, 3, 4, 0, 1]]
    pattern = BlockPattern(pairs, n_orbitals)
    entries = {}
    for name, matrix in raw.items():
        with _naming(name, matrix):
            entries[name] = _spread(matrix, pattern)
    return pattern, entries


@contextmanager
def _naming(name: str, matrix: RawMatrix) -> Iterator[None]:
    """Let messages begin with the file, if it is known, and the name of a matrix."""
    with nullcontext() if matrix.file is None else naming(matrix.file), naming(name):
        yield


def _reversed(pairs: np.ndarray) -> np.ndarray:
    return np.column_stack([-pairs[:, :3], pairs[:, 4], pairs[:, 3]])


def _check_raw(matrix: RawMatrix, n_orbitals: np.ndarray):
    pairs = matrix.pairs
    if pairs.ndim != 2 or pairs.shape[1:] != (5,) or pairs.dtype.kind not in 'iu' or not len(pairs):
        raise ValueError('holds no list of atom pairs')
    if pairs[:, 3:].min() < 0 or pairs[:, 3:].max() >= len(n_orbitals):
        raise ValueError(f'names atoms that the {len(n_orbitals)} of the structure do not have')
    if pairs[:, :3].min() < -LARGEST_IMAGE or pairs[:, :3].max() > LARGEST_IMAGE:
        raise ValueError(f'a block of an image more than {LARGEST_IMAGE} cells away')
    needed = int(n_orbitals[pairs[:, 3:]].prod(axis=1).sum())
    if matrix.entries.shape[-1] != needed:
        raise ValueError(f'has {matrix.entries.shape[-1]} numbers, its blocks need {needed}')
    if not np.isfinite(matrix.entries).all():
        raise ValueError('has values that are not finite')
    if len(np.unique(pairs, axis=0)) != len(pairs):
        raise ValueError('holds a block twice')


def _spread(matrix: RawMatrix, pattern: BlockPattern) -> np.ndarray:
    """Entries of one matrix in the common pattern."""
    sizes = pattern.n_orbitals[matrix.pairs[:, 3:]].prod(axis=1)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    both = np.concatenate([pattern.atom_pairs, matrix.pairs])
    # The pattern holds every block: equal rows stand together, the pattern's first.
    order = np.lexsort((np.arange(len(both)), *both.T))
    is_own = order < len(pattern)
    owner = order[is_own][np.cumsum(is_own) - 1]
    place = np.empty(len(matrix.pairs), dtype=np.int64)
    place[order[~is_own] - len(pattern)] = owner[~is_own]
    result = np.zeros((*matrix.entries.shape[:-1], pattern.n_entries))
    result[..., np.repeat(pattern.chunk_boundaries[place] - starts, sizes) + np.arange(sizes.sum())] = matrix.entries
    there = np.zeros(len(pattern), dtype=bool)
    there[place] = True
    transposed = matrix.sign * result[..., pattern.transpose_indices]
    lengths = pattern.chunk_shapes.prod(axis=1)
    alone, mirrored = np.repeat(there & ~there[pattern.reverse], lengths), np.repeat(~there, lengths)
    difference = np.abs(result - transposed)[..., ~alone & ~mirrored].max(initial=0.0)
    if difference > matrix.tolerance:
        raise ValueError(f'blocks of R and -R differ by {difference:.1e}')
    return np.where(mirrored, transposed, np.where(alone, result, 0.5 * (result + transposed)))
