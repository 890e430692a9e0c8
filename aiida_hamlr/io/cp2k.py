"""CP2K's printed real-space matrices: an independent code's H(R) and S(R).

A run with k-points prints them as text with

    &KS_CSR_WRITE
      REAL_SPACE T
      BINARY F
    &END KS_CSR_WRITE

and the same for ``&S_CSR_WRITE`` in ``&DFT/&PRINT``: one file per periodic image, next to the output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.fortran import parse_numbers
from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.units import HARTREE
from aiida_hamlr.io.radial_tables import read_text

#: Largest difference of M(R) and M(-R)^T, Hartree; a truncated file shows up here.
SYMMETRY_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Cp2kMatrices:
    """Hamiltonian and overlap of a CP2K run.

    Parameters
    ----------
    atoms : ase.Atoms
        Cell and positions in Å as the output prints them: the cell to three decimals, positions to six.
    angular_momenta : tuple of tuple of int
        The l of every shell of every atom.
    pattern : BlockPattern
        All blocks in which the run has an entry.
    hamiltonian : (M,) or (2, M) array
        eV; of spin up and down for an unrestricted run.
    overlap : (M,) array
    """

    atoms: Atoms
    angular_momenta: tuple[tuple[int, ...], ...]
    pattern: BlockPattern
    hamiltonian: np.ndarray
    overlap: np.ndarray


def read_matrices(output: str | Path) -> Cp2kMatrices:
    """Read H(R) and S(R) of a CP2K run from the files beside its output.

    CP2K orders the orbitals of a shell by m = -l .. l of the harmonics with polar axis z, so p is (y, z, x); here they
    are turned to the order of this package, p = (x, y, z).

    Parameters
    ----------
    output : path
        What ``cp2k -o`` wrote, print level MEDIUM.

    Raises
    ------
    ValueError
        If the run did not converge, printed no real-space matrices, or a file is missing, truncated or inconsistent;
        the message names it.
    """
    output = Path(output)
    text = read_text(output)
    if 'SCF run converged' not in text or 'SCF run NOT converged' in text:
        raise ValueError(f'{output}: the SCF did not converge, or this is no output of CP2K')
    project = _search(r'GLOBAL\| Project name\s+(\S+)', text, output)
    n_spin = int(_search(r'DFT\| Number of spin states\s+([12])\b', text, output))
    atoms, kinds = _structure(text, output)
    shells_of_kind = _shells(text, output)
    if max(kinds) > len(shells_of_kind):
        raise ValueError(f'{output}: atomic kind {max(kinds)} has no basis in the output')
    shells = tuple(shells_of_kind[kind - 1] for kind in kinds)
    n_orbitals = np.array([sum(2 * l + 1 for l in momenta) for momenta in shells])
    images = {kind: _images(text, kind, output) for kind in ('KS', 'S')}
    stem = output.parent / Path(project).name
    blocks = {'S': _blocks(f'{stem}-S_SPIN_1', images['S'], n_orbitals)}
    for spin in range(1, n_spin + 1):
        blocks[spin] = _blocks(f'{stem}-KS_SPIN_{spin}', images['KS'], n_orbitals)
    pairs = {pair for each in blocks.values() for pair in each}
    pairs |= {(-x, -y, -z, j, i) for x, y, z, i, j in pairs}
    pattern = BlockPattern(np.array(sorted(pairs, key=lambda pair: (*pair[3:], *pair[:3]))), n_orbitals)
    turn = [_turn(momenta) for momenta in shells]
    entries = {name: _flat(pattern, each, turn) for name, each in blocks.items()}
    for name, values in entries.items():
        if pattern.asymmetry(values) > SYMMETRY_TOLERANCE:
            which = 'overlap' if name == 'S' else 'Hamiltonian'
            raise ValueError(
                f'{output}: {which} blocks of R and -R differ by {pattern.asymmetry(values):.1e}; '
                'a .csr file beside it is truncated or of another run'
            )
    hamiltonian = HARTREE * np.array([entries[spin] for spin in range(1, n_spin + 1)])
    return Cp2kMatrices(atoms, shells, pattern, hamiltonian if n_spin == 2 else hamiltonian[0], entries['S'])


def _search(expression: str, text: str, output: Path) -> str:
    found = re.search(expression, text)
    if found is None:
        raise ValueError(f'{output}: no line like {expression!r}; not an output of CP2K, or truncated')
    return found[1]


def _structure(text: str, output: Path) -> tuple[Atoms, list[int]]:
    """Atoms, and the number of each one's kind."""
    number = r'\s+(-?\d+\.\d+)'
    cell = re.findall(rf'^ CELL\| Vector [abc] \[angstrom\]:{number * 3}', text, flags=re.MULTILINE)
    table = re.search(r'ATOMIC COORDINATES IN ANGSTROM\s*\n\s*\n[^\n]*\n(.*?)\n\s*\n', text, re.DOTALL | re.IGNORECASE)
    rows = re.findall(rf'^\s*\d+\s+(\d+)\s+\S+\s+(\d+){number * 3}', table[1] if table else '', flags=re.MULTILINE)
    if len(cell) < 3 or not rows or min(int(kind) for kind, *_ in rows) < 1:
        raise ValueError(f'{output}: no cell or no atomic coordinates; print level MEDIUM is needed')
    values = np.array(rows, dtype=float)
    return Atoms(values[:, 1].astype(int), values[:, 2:], cell=np.array(cell[:3], dtype=float), pbc=True), [
        int(kind) for kind, *_ in rows
    ]


def _shells(text: str, output: Path) -> list[tuple[int, ...]]:
    """The l of every shell of each kind, in the order of its orbitals."""
    kinds = re.split(r'^\s*\d+\. Atomic kind: ', text, flags=re.MULTILINE)[1:]
    result = []
    for kind in kinds:
        section = re.search(r'Orbital Basis Set(.*?)(?:Basis Set|Atomic covalent radius)', kind, flags=re.DOTALL)
        lines = re.findall(r'^\s+(\d+)\s+(\d+)\s+\d+([spdfg])\w*\s', section[1] if section else '', flags=re.MULTILINE)
        # One line for each Cartesian function: those of a shell repeat its numbers.
        shells = tuple('spdfg'.index(letter) for _, _, letter in dict.fromkeys(lines))
        announced = re.search(r'Number of spherical basis functions:\s+(\d+)', section[1] if section else '')
        if announced is None or int(announced[1]) != sum(2 * l + 1 for l in shells):
            raise ValueError(f'{output}: the basis of {kind.split()[0]} is incomplete; print level MEDIUM is needed')
        result.append(shells)
    return result


def _images(text: str, kind: str, output: Path) -> np.ndarray:
    """(n, 3) lattice vector of every printed image."""
    title = re.search(rf'^\s*{kind} CSR write\|\s+(\d+) periodic images\s*\n[^\n]*\n', text, flags=re.MULTILINE)
    if title is None:
        raise ValueError(f'{output}: no real-space {kind} matrix; set {kind}_CSR_WRITE with REAL_SPACE T and BINARY F')
    rows = [line.split() for line in text[title.end() :].split('\n', int(title[1]))[: int(title[1])]]
    if any(len(row) != 4 for row in rows) or [row[0] for row in rows] != [str(n + 1) for n in range(int(title[1]))]:
        raise ValueError(f'{output}: the list of the {title[1]} periodic images of {kind} is incomplete')
    return np.array([[int(word) for word in row[1:]] for row in rows])


def _blocks(stem: str, images: np.ndarray, n_orbitals: np.ndarray) -> dict[tuple, np.ndarray]:
    """Blocks with entries, by (Rx, Ry, Rz, i, j), in CP2K's order and Hartree."""
    offsets = np.concatenate([[0], np.cumsum(n_orbitals)])
    atom_of_orbital = np.repeat(np.arange(len(n_orbitals)), n_orbitals)
    result = {}
    for number, image in enumerate(images, 1):
        rows, columns, values = _read_csr(Path(f'{stem}_R_{number}-1_0.csr'), int(offsets[-1]))
        pair_index = atom_of_orbital[rows] * len(n_orbitals) + atom_of_orbital[columns]
        for index in np.unique(pair_index[values != 0]):
            i, j = divmod(int(index), len(n_orbitals))
            selected = pair_index == index
            block = np.zeros((n_orbitals[i], n_orbitals[j]))
            block[rows[selected] - offsets[i], columns[selected] - offsets[j]] = values[selected]
            result[(*map(int, image), i, j)] = block
    return result


def _read_csr(path: Path, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns (from 0) and values of the entries of one file."""
    text = read_text(path)
    try:
        numbers = parse_numbers(text)
    except ValueError as error:
        raise ValueError(f'{path}: holds something that is not a number ({error})') from error
    if len(numbers) % 3 or (text and not text.endswith('\n')):
        raise ValueError(f'{path}: is truncated')
    table = numbers.reshape(-1, 3)
    indices = table[:, :2].astype(np.int64) - 1
    if not np.isfinite(table).all() or (len(table) and not 0 <= indices.min() <= indices.max() < size):
        raise ValueError(f'{path}: names orbitals that the {size} of the basis do not have, or values are not finite')
    if len(np.unique(indices[:, 0] * size + indices[:, 1])) != len(indices):
        raise ValueError(f'{path}: holds an entry twice')
    return indices[:, 0], indices[:, 1], table[:, 2]


@cache
def _turn_shell(l: int) -> np.ndarray:
    """(2l + 1, 2l + 1) matrix from CP2K's functions of a shell to e3nn's."""
    directions = np.random.default_rng(l).normal(size=(200, 3))
    # e3nn's harmonics of (y, z, x) are those with polar axis z of (x, y, z), without Condon-Shortley phase.
    printed = real_harmonics(l, directions[:, [1, 2, 0]])
    matrix = np.linalg.lstsq(printed, real_harmonics(l, directions), rcond=None)[0].T
    return np.where(np.abs(matrix) < 1e-12, 0.0, matrix)


def _turn(momenta: tuple[int, ...]) -> np.ndarray:
    matrix = np.zeros((sum(2 * l + 1 for l in momenta),) * 2)
    start = 0
    for l in momenta:
        matrix[start : start + 2 * l + 1, start : start + 2 * l + 1] = _turn_shell(l)
        start += 2 * l + 1
    return matrix


def _flat(pattern: BlockPattern, blocks: dict[tuple, np.ndarray], turn: list[np.ndarray]) -> np.ndarray:
    entries = np.zeros(pattern.n_entries)
    for index, pair in enumerate(pattern.atom_pairs.tolist()):
        if tuple(pair) in blocks:
            i, j = pair[3:]
            pattern.block(entries, index)[:] = turn[i] @ blocks[tuple(pair)] @ turn[j].T
    return entries
