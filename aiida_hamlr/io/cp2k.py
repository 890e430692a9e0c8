"""CP2K's printed real-space matrices: H(R) and S(R) as text, in both directions.

A run with k-points prints them with

    &KS_CSR_WRITE
      REAL_SPACE T
      BINARY F
    &END KS_CSR_WRITE

and the same for ``&S_CSR_WRITE`` in ``&DFT/&PRINT``: one file per periodic image, next to the output. Energies are in
Hartree, orbitals in the order ``polar_z``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.fortran import parse_numbers
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.units import HARTREE
from aiida_hamlr.io.block_merging import RawMatrix, raw_from_elements
from aiida_hamlr.io.foreign_matrices import ForeignMatrices, element_shells, refuse_spin
from aiida_hamlr.io.orbital_orders import LETTERS, atom_turns, change_orbitals
from aiida_hamlr.io.radial_tables import read_text
from aiida_hamlr.io.text_tables import write_text

ORDER = 'polar_z'

#: Largest difference of M(R) and M(-R)^T, Hartree; a truncated file shows up here.
SYMMETRY_TOLERANCE = 1e-7

#: Name of the files of an export.
PROJECT = 'hamlr'

#: First line of an export: no run of CP2K stands behind it.
_EXPORTED = 'Matrices written by aiida-hamlr in the layout of an output of CP2K'


def read_cp2k(output: str | Path) -> ForeignMatrices:
    """Read H(R) and S(R) of a CP2K run from the files beside its output.

    Cell and positions are as the output prints them: the cell to three decimals (Å), positions to six.

    Parameters
    ----------
    output : path
        What ``cp2k -o`` wrote, print level MEDIUM, or the folder of an export.

    Raises
    ------
    ValueError
        If the run did not converge, printed no real-space matrices, or a file is missing, truncated or inconsistent;
        the message names it.
    """
    output = Path(output)
    if output.is_dir():
        output = output / f'{PROJECT}.out'
    text = read_text(output)
    exported = text.startswith(_EXPORTED)
    if not exported and ('SCF run converged' not in text or 'SCF run NOT converged' in text):
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
    overlap = _raw([f'{stem}-S_SPIN_1'], images['S'], n_orbitals, 1.0)
    names = [f'{stem}-KS_SPIN_{spin}' for spin in range(1, n_spin + 1)]
    raw = {'overlap': overlap, 'hamiltonian': _raw(names, images['KS'], n_orbitals, HARTREE)}
    code = None if exported else _search(r'CP2K\| version string:\s+(CP2K version \S+)', text, output)
    attributes = HamiltonianAttributes(source_format='cp2k', n_electrons=_electrons(text), code=code)
    try:
        return ForeignMatrices.assemble(atoms, shells, raw, ORDER, attributes)
    except ValueError as error:
        raise ValueError(f'{output}: {error}; or a .csr file beside it is truncated or of another run') from error


def write_cp2k(hamiltonian: Hamiltonian, folder: str | Path):
    """Write the .csr files of all images, and beside them the lines of an output that say what they are.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``, without spin-orbit coupling.
    folder : path
        Where the files go.

    Raises
    ------
    ValueError
        If it has a spin-orbit part, or atoms of one element have different shells.
    """
    refuse_spin(hamiltonian, 'CP2K', collinear=True)
    folder, pattern = Path(folder), hamiltonian.pattern
    momenta = [species.angular_momenta for species in hamiltonian.basis.for_labels(hamiltonian.species)]
    shells = element_shells(hamiltonian.symbols, momenta)
    turns = atom_turns(ORDER, momenta)
    spins = np.atleast_2d(hamiltonian.matrices['hamiltonian'])
    matrices = {f'KS_SPIN_{spin}': entries / HARTREE for spin, entries in enumerate(spins, 1)}
    matrices['S_SPIN_1'] = hamiltonian.matrices['overlap']
    images, member = np.unique(pattern.images, axis=0, return_inverse=True)
    entry_image = np.repeat(member.ravel(), pattern.chunk_shapes.prod(axis=1))
    rows, columns = pattern.orbital_indices
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in matrices.items():
        values = change_orbitals(pattern, entries, turns)
        for number in range(len(images)):
            chosen = np.flatnonzero((entry_image == number) & (values != 0))
            chosen = chosen[np.lexsort((columns[chosen], rows[chosen]))]
            table = np.column_stack([rows[chosen] + 1, columns[chosen] + 1, values[chosen]])
            with atomic_path(folder / f'{PROJECT}-{name}_R_{number + 1}-1_0.csr') as temporary:
                np.savetxt(temporary, table, fmt='%8d%8d%25.16E')
    write_text(folder / f'{PROJECT}.out', _output_lines(hamiltonian, shells, images))


def _output_lines(hamiltonian: Hamiltonian, shells: dict[str, list[int]], images: np.ndarray) -> str:
    """The lines of CP2K's output that a reader of the matrices needs."""
    atoms, n_electrons = hamiltonian.atoms, hamiltonian.attributes.n_electrons
    lines = [f'{_EXPORTED} (version {__version__})', f' GLOBAL| Project name  {PROJECT}']
    for name, vector in zip('abc', atoms.cell.tolist(), strict=True):
        lines.append(f' CELL| Vector {name} [angstrom]: ' + ' '.join(f'{x:.16f}' for x in vector))
    periodic = ''.join(axis for axis, flag in zip('XYZ', atoms.pbc, strict=True) if flag)
    lines.append(f' CELL| Periodicity  {periodic or "NONE"}')
    lines.append(f' DFT| Number of spin states  {hamiltonian.n_spin}')
    for number, (symbol, momenta) in enumerate(shells.items(), 1):
        lines += [f'  {number}. Atomic kind: {symbol}', '', '     Orbital Basis Set  aiida-hamlr', '']
        lines += [f'       Number of spherical basis functions:  {sum(2 * l + 1 for l in momenta)}', '']
        lines += [f'     1  {index}  {l + 1}{LETTERS[l]}  ' for index, l in enumerate(momenta, 1)]
        lines += ['', '     Atomic covalent radius', '']
    lines += [' MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM', '', '   Atom Kind Element  X  Y  Z']
    kinds = list(shells)
    for index, (symbol, z, position) in enumerate(
        zip(hamiltonian.symbols, atoms.numbers, atoms.positions, strict=True), 1
    ):
        numbers = ' '.join(f'{x:.16f}' for x in position.tolist())
        lines.append(f'  {index} {kinds.index(symbol) + 1} {symbol} {z} {numbers}')
    lines.append('')
    if n_electrons is not None:
        lines.append(f' Number of electrons: {n_electrons!r}')
    for kind in ('KS', 'S'):
        lines += [f'  {kind} CSR write| {len(images)} periodic images', '      Number    X      Y      Z']
        lines += [' '.join(map(str, (number, *image))) for number, image in enumerate(images.tolist(), 1)]
    return '\n'.join(lines) + '\n'


def _electrons(text: str) -> float | None:
    """Electrons of all spins; None if the output does not say."""
    found = re.findall(r'^ ?Number of electrons:\s+(\d+(?:\.\d+)?)\s*$', text, flags=re.MULTILINE)
    return sum(map(float, found[:2])) if found else None


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
    periodic = re.search(r'^ CELL\| Periodicity\s+(NONE|X?Y?Z?)\s*$', text, flags=re.MULTILINE)
    pbc = [axis in (periodic[1] if periodic else 'XYZ') for axis in 'XYZ']
    atoms = Atoms(values[:, 1].astype(int), values[:, 2:], cell=np.array(cell[:3], dtype=float), pbc=pbc)
    return atoms, [int(kind) for kind, *_ in rows]


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


def _raw(stems: list[str], images: np.ndarray, n_orbitals: np.ndarray, unit: float) -> RawMatrix:
    """One matrix, or those of both spins, of all images."""
    size, found = int(n_orbitals.sum()), []
    for spin, stem in enumerate(stems):
        for number, image in enumerate(images, 1):
            rows, columns, values = _read_csr(Path(f'{stem}_R_{number}-1_0.csr'), size)
            shared = np.tile([*image, spin], (len(values), 1))
            found.append(np.column_stack([rows, columns, shared, values])[values != 0])
    table = np.concatenate(found)
    keys, member = np.unique(table[:, :5].astype(np.int64), axis=0, return_inverse=True)
    values = np.zeros((len(stems), len(keys)))
    values[table[:, 5].astype(int), member.ravel()] = unit * table[:, 6]
    elements = (keys[:, 0], keys[:, 1], keys[:, 2:])
    raw = raw_from_elements(elements, values if len(stems) == 2 else values[0], n_orbitals)
    return RawMatrix(raw.pairs, raw.entries, tolerance=unit * SYMMETRY_TOLERANCE)


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
