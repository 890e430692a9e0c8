"""DeepH's first layout: lat.dat, site_positions.dat, element.dat, orbital_types.dat, overlaps.h5 and hamiltonians.h5.

One dataset stands for each block, under the name ``[Rx, Ry, Rz, i, j]`` with atoms from 1, in eV and in OpenMX's order.
With spin the blocks of H are complex and of twice the size, rows with spin up first. Vectors are columns, in Å.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.files import atomic_hdf5, damage_as_value_error, open_hdf5, read_array
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reading import naming, read_text, shortened
from aiida_hamlr.io.block_merging import RawMatrix
from aiida_hamlr.io.foreign_matrices import LAST_ELEMENT, ForeignMatrices, check_atoms, check_shells, existing_name
from aiida_hamlr.io.orbital_orders import atom_turns, change_orbitals
from aiida_hamlr.io.spinor_blocks import hamiltonian_blocks, read_blocks
from aiida_hamlr.io.structure_notes import add_notes, structure_notes
from aiida_hamlr.io.text_tables import (
    LARGEST,
    flag_in,
    number_in,
    read_integers,
    read_json_object,
    read_table,
    rows_of,
    write_text,
)

ORDER = 'openmx'

INFO, OVERLAPS, HAMILTONIANS, PREDICTED = 'info.json', 'overlaps.h5', 'hamiltonians.h5', 'hamiltonians_pred.h5'

#: Name of a block.
_KEY = re.compile(r'\[\s*(-?\d{1,6}),\s*(-?\d{1,6}),\s*(-?\d{1,6}),\s*(\d{1,9}),\s*(\d{1,9})\s*\]')


def write_deeph(hamiltonian: Hamiltonian, folder: str | Path):
    """Write structure, overlap and Hamiltonian as DeepH-pack and DeepH-E3 read them.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``; two spins and a spin-orbit part are carried.
    folder : path
        Where the files go.
    """
    folder = Path(folder)
    atoms, pattern = hamiltonian.atoms, hamiltonian.pattern
    momenta = [species.angular_momenta for species in hamiltonian.basis.for_labels(hamiltonian.species)]
    turns = atom_turns(ORDER, momenta)
    entries, spins = hamiltonian_blocks(hamiltonian, turns)
    _write_blocks(folder / OVERLAPS, pattern, change_orbitals(pattern, hamiltonian.matrices['overlap'], turns), 1)
    _write_blocks(folder / HAMILTONIANS, pattern, entries, spins)
    write_text(folder / 'lat.dat', rows_of(atoms.cell[:].T))
    write_text(folder / 'rlat.dat', rows_of(2 * np.pi * np.linalg.inv(atoms.cell[:])))
    write_text(folder / 'site_positions.dat', rows_of(atoms.positions.T))
    write_text(folder / 'element.dat', rows_of(atoms.numbers[:, None]))
    write_text(folder / 'orbital_types.dat', ''.join(' '.join(map(str, shells)) + '\n' for shells in momenta))
    write_text(folder / 'R_list.dat', rows_of(np.unique(pattern.images, axis=0)))
    info = {'isspinful': spins == 2, 'isorthogonal': False, 'fermi_level': hamiltonian.attributes.fermi_level}
    write_text(folder / INFO, json.dumps(info | structure_notes(atoms)) + '\n')


def _write_blocks(path: Path, pattern: BlockPattern, entries: np.ndarray, spins: int):
    bounds, shapes = spins**2 * pattern.chunk_boundaries, spins * pattern.chunk_shapes
    with atomic_hdf5(path) as handle:
        for index, (x, y, z, i, j) in enumerate(pattern.atom_pairs.tolist()):
            block = entries[bounds[index] : bounds[index + 1]].reshape(shapes[index])
            handle[f'[{x}, {y}, {z}, {i + 1}, {j + 1}]'] = block


def read_deeph(folder: str | Path) -> ForeignMatrices:
    """Read a folder of DeepH's first layout.

    Parameters
    ----------
    folder : path
        With hamiltonians.h5, or hamiltonians_pred.h5 where that is missing.

    Raises
    ------
    ValueError
        If a file is missing, damaged or does not fit to the others; the message names it.
    """
    folder = Path(folder)
    path = folder / INFO
    info = read_json_object(path)
    if flag_in(info, 'isorthogonal', path):
        raise ValueError(f'{path}: the orbitals are orthogonal, so there is no overlap to import')
    atoms = _read_structure(folder)
    add_notes(atoms, info, path)
    momenta = _read_shells(folder / 'orbital_types.dat', len(atoms))
    n_orbitals = np.array([sum(2 * l + 1 for l in shells) for shells in momenta])
    spins = 2 if flag_in(info, 'isspinful', path) else 1
    attributes = HamiltonianAttributes(source_format='deeph', fermi_level=number_in(info, 'fermi_level', path))
    name = existing_name(folder, HAMILTONIANS, PREDICTED)
    raw = {'overlap': RawMatrix(*_read_file(folder / OVERLAPS, n_orbitals, 1), file=folder / OVERLAPS)}
    raw |= read_blocks(*_read_file(folder / name, n_orbitals, spins), n_orbitals, folder / name)
    return ForeignMatrices.assemble(atoms, momenta, raw, ORDER, attributes)


def _read_structure(folder: Path) -> Atoms:
    numbers = read_integers(folder / 'element.dat')
    positions, cell = read_table(folder / 'site_positions.dat').T, read_table(folder / 'lat.dat', 3).T
    if positions.shape != (len(numbers), 3):
        raise ValueError(f'{folder / "site_positions.dat"}: {positions.shape[0]} atoms, element.dat has {len(numbers)}')
    if cell.shape != (3, 3):
        raise ValueError(f'{folder / "lat.dat"}: {cell.shape[1]} rows instead of 3')
    if min(numbers) < 1 or max(numbers) > LAST_ELEMENT:
        raise ValueError(f'{folder / "element.dat"}: has numbers that are not those of elements')
    atoms = Atoms(numbers, positions, cell=cell, pbc=True)
    with naming(folder / 'lat.dat'):
        check_atoms(atoms)
    return atoms


def _read_shells(path: Path, n_atoms: int) -> list[tuple[int, ...]]:
    lines = [line.split() for line in read_text(path, LARGEST).splitlines() if line.strip()]
    words = [word for line in lines for word in line]
    if len(lines) != n_atoms or not all(word.isascii() and word.isdigit() and len(word) < 3 for word in words):
        raise ValueError(f'{path}: not a line with the angular momenta of its shells for each of {n_atoms} atoms')
    with naming(path):
        return [check_shells([int(word) for word in line], index) for index, line in enumerate(lines)]


def _read_file(path: Path, n_orbitals: np.ndarray, spins: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs from 0 and entries of a file with a dataset for each block."""
    pairs, blocks = [], []
    with open_hdf5(path) as handle, damage_as_value_error(path):
        for key in handle:
            found = _KEY.fullmatch(key)
            if found is None:
                raise ValueError(f'{path}: {shortened(key)} is no name of a block [Rx, Ry, Rz, i, j]')
            *image, i, j = map(int, found.groups())
            if not (1 <= i <= len(n_orbitals) and 1 <= j <= len(n_orbitals)):
                raise ValueError(f'{path}: {key} names atoms that the {len(n_orbitals)} of the structure do not have')
            block = read_array(handle, key)
            shape = (spins * n_orbitals[i - 1], spins * n_orbitals[j - 1])
            if block.shape != shape or block.dtype.kind not in ('fc' if spins == 2 else 'f'):
                raise ValueError(
                    f'{path}: {key} has shape {block.shape} and type {block.dtype}; orbital_types.dat asks for '
                    f'{shape[0]} x {shape[1]}'
                )
            pairs.append([*image, i - 1, j - 1])
            blocks.append(block.ravel())
    if not pairs:
        raise ValueError(f'{path}: holds no blocks')
    entries = np.concatenate(blocks).astype(complex if spins == 2 else float)
    if not np.isfinite(entries).all():
        raise ValueError(f'{path}: has values that are not finite')
    return np.array(pairs, dtype=np.int64), entries
