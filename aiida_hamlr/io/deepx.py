"""DeepH's present layout: a folder with POSCAR, info.json, overlap.h5 and hamiltonian.h5.

The matrices stand in ``atom_pairs`` (Rx, Ry, Rz, i, j from 0), ``chunk_shapes``, ``chunk_boundaries`` and ``entries``,
in eV and in the order ``polar_z``. With spin, H has complex blocks of twice the size, rows with spin up first; the
overlap never has. Atoms of an element stand together.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.files import atomic_hdf5, damage_as_value_error, open_hdf5, read_array
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reading import naming, read_text, shortened
from aiida_hamlr.io.foreign_matrices import (
    ForeignMatrices,
    check_atoms,
    check_shells,
    element_shells,
    existing_name,
    number_of,
)
from aiida_hamlr.io.orbital_orders import atom_turns, change_orbitals
from aiida_hamlr.io.spinor_blocks import hamiltonian_blocks, read_blocks
from aiida_hamlr.io.structure_notes import add_notes, structure_notes
from aiida_hamlr.io.text_tables import (
    LARGEST,
    flag_in,
    number_in,
    read_json_object,
    rows_of,
    write_text,
)

ORDER = 'polar_z'

#: Files of the layout; `hamiltonian_pred.h5` is what DeepH predicts.
POSCAR, INFO, OVERLAP, HAMILTONIAN, PREDICTED = (
    'POSCAR',
    'info.json',
    'overlap.h5',
    'hamiltonian.h5',
    'hamiltonian_pred.h5',
)

#: Key of ours in info.json: which atom of the original structure stands at each place, if they were sorted. Another,
#: ``pbc``, says along which lattice vectors it is periodic, if not along all.
ATOM_ORDER = 'atom_order'


def write_deepx(hamiltonian: Hamiltonian, folder: str | Path):
    """Write structure, overlap and Hamiltonian as DeepH reads them.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``; two spins and a spin-orbit part are carried.
    folder : path
        Where the files go.

    Raises
    ------
    ValueError
        If atoms of one element have different shells.
    """
    folder = Path(folder)
    symbols, pattern = hamiltonian.symbols, hamiltonian.pattern
    momenta = [species.angular_momenta for species in hamiltonian.basis.for_labels(hamiltonian.species)]
    shells = element_shells(symbols, momenta)
    place = {symbol: index for index, symbol in enumerate(shells)}
    order = np.argsort([place[symbol] for symbol in symbols], kind='stable')
    pairs = pattern.atom_pairs.copy()
    pairs[:, 3:] = np.argsort(order)[pairs[:, 3:]]
    turns = atom_turns(ORDER, momenta)
    overlap = change_orbitals(pattern, hamiltonian.matrices['overlap'], turns)
    entries, spins = hamiltonian_blocks(hamiltonian, turns)
    _write_matrix(folder / OVERLAP, pairs, pattern, overlap, 1)
    _write_matrix(folder / HAMILTONIAN, pairs, pattern, entries, spins)
    _write_poscar(folder / POSCAR, hamiltonian.atoms[order])
    attributes = hamiltonian.attributes
    info = {
        'atoms_quantity': len(symbols),
        'orbits_quantity': hamiltonian.n_orbitals,
        'orthogonal_basis': False,
        'spinful': spins == 2,
        'fermi_energy_eV': attributes.fermi_level,
        'elements_orbital_map': shells,
    }
    if attributes.n_electrons is not None:
        info['occupation'] = attributes.n_electrons
    if not np.array_equal(order, np.arange(len(order))):
        info[ATOM_ORDER] = order.tolist()
    info |= structure_notes(hamiltonian.atoms[order])
    write_text(folder / INFO, json.dumps(info) + '\n')


def _write_matrix(path: Path, pairs: np.ndarray, pattern: BlockPattern, entries: np.ndarray, spins: int):
    with atomic_hdf5(path) as handle:
        handle['atom_pairs'] = pairs
        handle['chunk_shapes'] = spins * pattern.chunk_shapes
        handle['chunk_boundaries'] = spins**2 * pattern.chunk_boundaries
        handle['entries'] = entries


def _write_poscar(path: Path, atoms: Atoms):
    """Cartesian, with all digits, atoms of an element together."""
    symbols = atoms.get_chemical_symbols()
    elements = list(dict.fromkeys(symbols))
    head = f'{atoms.get_chemical_formula()}\n1.0\n{rows_of(atoms.cell[:])}'
    counts = ' '.join(str(symbols.count(element)) for element in elements)
    write_text(path, f'{head}{" ".join(elements)}\n{counts}\nCartesian\n{rows_of(atoms.positions)}')


def read_deepx(folder: str | Path) -> ForeignMatrices:
    """Read a folder of DeepH's present layout.

    Parameters
    ----------
    folder : path
        With POSCAR, info.json, overlap.h5 and hamiltonian.h5, or hamiltonian_pred.h5 where that is missing.

    Raises
    ------
    ValueError
        If a file is missing, damaged or does not fit to the others; the message names it.
    """
    folder = Path(folder)
    path = folder / INFO
    info = read_json_object(path)
    if flag_in(info, 'split_hkb', path) or info.get('hamiltonian_storage') not in (None, 'full'):
        raise ValueError(f'{path}: the Hamiltonian is split into two files; join them with the tools of DeepH first')
    if flag_in(info, 'orthogonal_basis', path):
        raise ValueError(f'{path}: the orbitals are orthogonal, so there is no overlap to import')
    atoms = _read_poscar(folder / POSCAR)
    add_notes(atoms, info, path)
    shells = info.get('elements_orbital_map')
    symbols = atoms.get_chemical_symbols()
    missing = sorted(set(symbols) - set(shells if isinstance(shells, dict) else {}))
    if missing or not all(isinstance(shells[symbol], list) for symbol in symbols):
        raise ValueError(
            f'{path}: elements_orbital_map does not list the shells of {", ".join(missing or symbols[:1])}'
        )
    spinful = flag_in(info, 'spinful', path)
    attributes = HamiltonianAttributes(
        source_format='deepx',
        fermi_level=number_in(info, 'fermi_energy_eV', path),
        n_electrons=number_in(info, 'occupation', path),
    )
    name = existing_name(folder, HAMILTONIAN, PREDICTED)
    with naming(path):
        momenta = [check_shells(shells[symbol], index) for index, symbol in enumerate(symbols)]
        order = _original_order(info, len(atoms))
    n_orbitals = np.array([sum(2 * l + 1 for l in each) for each in momenta])

    def read(file: Path, spins: int):
        return read_blocks(*_read_matrix(file, n_orbitals, spins), n_orbitals, file, order)

    raw = {'overlap': read(folder / OVERLAP, 1)['hamiltonian']} | read(folder / name, 2 if spinful else 1)
    back = np.argsort(order)
    return ForeignMatrices.assemble(atoms[back], [momenta[k] for k in back], raw, ORDER, attributes)


def _original_order(info: dict, n_atoms: int) -> np.ndarray:
    """Number in the original structure of the atom at each place."""
    order = info.get(ATOM_ORDER, list(range(n_atoms)))
    if not isinstance(order, list) or sorted(order, key=repr) != sorted(range(n_atoms), key=repr):
        raise ValueError(f'{ATOM_ORDER} is no permutation of {n_atoms} atoms')
    return np.array(order, dtype=np.int64)


def _read_matrix(path: Path, n_orbitals: np.ndarray, spins: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs and entries of a file, checked against the shells."""
    with open_hdf5(path) as handle, damage_as_value_error(path):
        found = {key: read_array(handle, key) for key in ('atom_pairs', 'chunk_shapes', 'chunk_boundaries', 'entries')}
    pairs, entries = found['atom_pairs'], found['entries']
    if pairs.ndim != 2 or pairs.shape[1:] != (5,) or pairs.dtype.kind not in 'iu' or not len(pairs):
        raise ValueError(f'{path}: atom_pairs is no list of Rx, Ry, Rz, i, j')
    pairs = pairs.astype(np.int64)
    if pairs[:, 3:].min() < 0 or pairs[:, 3:].max() >= len(n_orbitals):
        raise ValueError(f'{path}: atom_pairs names atoms that the {len(n_orbitals)} of POSCAR do not have')
    shapes = spins * n_orbitals[pairs[:, 3:]]
    bounds = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
    if not (np.array_equal(found['chunk_shapes'], shapes) and np.array_equal(found['chunk_boundaries'], bounds)):
        raise ValueError(
            f'{path}: its blocks do not have the sizes that elements_orbital_map and spinful in {INFO} say'
        )
    if entries.shape != (bounds[-1],) or entries.dtype.kind not in ('fc' if spins == 2 else 'f'):
        raise ValueError(
            f'{path}: entries of shape {entries.shape} and type {entries.dtype} instead of {bounds[-1]} numbers'
        )
    if not np.isfinite(entries).all():
        raise ValueError(f'{path}: has values that are not finite')
    return pairs, entries.astype(complex if spins == 2 else float)


def _read_poscar(path: Path) -> Atoms:
    """Structure of a POSCAR with a line of elements."""
    lines = read_text(path, LARGEST).splitlines()
    try:
        scale = float(lines[1])
        cell = np.array([[float(word) for word in line.split()[:3]] for line in lines[2:5]]) * scale
        numbers = [number_of(symbol) for symbol in lines[5].split()]
        counts = [int(word) for word in lines[6].split()]
        if len(counts) != len(numbers) or not 0 < sum(counts) <= len(lines) - 8 or min(counts) < 1 or scale <= 0:
            raise ValueError('the numbers of atoms are not those of its lines')
        cartesian = lines[7].strip()[:1].lower() in ('c', 'k')
        rows = np.array([[float(word) for word in line.split()[:3]] for line in lines[8 : 8 + sum(counts)]])
        if cell.shape != (3, 3) or rows.shape != (sum(counts), 3) or not np.isfinite(cell).all():
            raise ValueError('cell or positions are incomplete')
    except (ValueError, IndexError) as error:
        raise ValueError(f'{path}: not a POSCAR with a line of elements: {shortened(error)}') from error
    positions = rows * scale if cartesian else rows @ cell
    atoms = Atoms(np.repeat(numbers, counts), positions, cell=cell, pbc=True)
    with naming(path):
        check_atoms(atoms)
    return atoms
