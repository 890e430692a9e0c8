"""DeePTB's data: positions.dat, cell.dat, atomic_numbers.dat, info.json, overlaps.h5 and hamiltonians.h5.

A group stands for each frame ("0"), and in it a dataset for each block, ``i_j_Rx_Ry_Rz`` with atoms from 0 (from 1 in
older files), in eV and in the order ``polar_z``; the shells of an element are sorted by angular momentum. Which shells
they are stands in the input of a training and not in the data; ``basis.json`` of ours says it, and whether the
structure is periodic: ``pbc`` in ``info.json`` is true, since blocks may reach into all images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.files import atomic_hdf5, damage_as_value_error, open_hdf5, read_array
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reading import naming, shortened
from aiida_hamlr.electronic.units import BOHR
from aiida_hamlr.io.block_merging import RawMatrix
from aiida_hamlr.io.foreign_matrices import (
    LAST_ELEMENT,
    ForeignMatrices,
    check_atoms,
    check_shells,
    element_shells,
    refuse_spin,
)
from aiida_hamlr.io.orbital_orders import LETTERS, atom_turns, change_orbitals, shell_letters
from aiida_hamlr.io.structure_notes import add_notes, structure_notes
from aiida_hamlr.io.text_tables import read_integers, read_json_object, read_table, rows_of, write_text

ORDER = 'polar_z'

INFO, BASIS, OVERLAPS, HAMILTONIANS = 'info.json', 'basis.json', 'overlaps.h5', 'hamiltonians.h5'
#: Beside the folders of a data set, whose names begin with the prefix.
INPUT, PREFIX = 'input.json', 'hamlr'
POSITIONS, CELL, NUMBERS = 'positions.dat', 'cell.dat', 'atomic_numbers.dat'

#: Name of a block.
_KEY = re.compile(r'(\d{1,9})_(\d{1,9})_(-?\d{1,6})_(-?\d{1,6})_(-?\d{1,6})')

#: Shells of an element, as in 2s2p1d.
_SHELLS = re.compile(r'(?:([1-9]\d?)([spdfgh]))+')

#: Added to the largest distance of two atoms with a block, Å, for the r_max of a training.
_MARGIN = 0.01


def write_deeptb(hamiltonian: Hamiltonian, folder: str | Path):
    """Write one frame of training data.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``, without spin.
    folder : path
        Where the files go.

    Raises
    ------
    ValueError
        If it has spins, or atoms of one element have different shells.
    """
    refuse_spin(hamiltonian, 'DeePTB')
    folder, atoms, pattern = Path(folder), hamiltonian.atoms, hamiltonian.pattern
    momenta = [species.angular_momenta for species in hamiltonian.basis.for_labels(hamiltonian.species)]
    shells = element_shells(hamiltonian.symbols, momenta)
    turns = atom_turns(ORDER, momenta, [sorted(each) for each in momenta])
    for name, file in (('overlap', OVERLAPS), ('hamiltonian', HAMILTONIANS)):
        entries = change_orbitals(pattern, hamiltonian.matrices[name], turns)
        with atomic_hdf5(folder / file) as handle:
            frame = handle.create_group('0')
            for index, (x, y, z, i, j) in enumerate(pattern.atom_pairs.tolist()):
                frame[f'{i}_{j}_{x}_{y}_{z}'] = pattern.block(entries, index)
    write_text(folder / CELL, rows_of(atoms.cell[:]))
    write_text(folder / POSITIONS, rows_of(atoms.positions))
    write_text(folder / NUMBERS, rows_of(atoms.numbers[:, None]))
    letters = {symbol: shell_letters(each) for symbol, each in shells.items()}
    basis = {'basis': letters, 'r_max': _reach(hamiltonian), 'pbc': atoms.pbc.tolist()}
    write_text(folder / BASIS, json.dumps(basis | structure_notes(atoms)) + '\n')
    info = {'nframes': 1, 'natoms': len(atoms), 'pos_type': 'cart', 'pbc': [True, True, True]}
    write_text(folder / INFO, json.dumps(info) + '\n')


def _reach(hamiltonian: Hamiltonian) -> float:
    """Just above the distance of the farthest atoms with a block, Å."""
    vectors = hamiltonian.pattern.vectors(hamiltonian.atoms.cell[:], hamiltonian.atoms.positions)
    return float(np.linalg.norm(vectors, axis=1).max()) + _MARGIN


def write_training_input(hamiltonians: Sequence[Hamiltonian], folder: str | Path):
    """Write ``input.json``, with which ``dptb train input.json`` in the folder begins a training.

    The network is DeePTB's strictly local one, wide enough for all shells, with the rates and widths of its examples
    for Hamiltonians: a start, not an optimum. It learns H and S up to where the orbitals of any two atoms cease to
    overlap.

    Parameters
    ----------
    hamiltonians : sequence of Hamiltonian
        Those in the subfolders ``hamlr.0``, ``hamlr.1`` and so on.
    folder : path
        Of the subfolders.

    Raises
    ------
    ValueError
        If an element has different shells in two of them, or one has spins.
    """
    for hamiltonian in hamiltonians:
        refuse_spin(hamiltonian, 'DeePTB')
    species = [(one.symbols, one.basis.for_labels(one.species)) for one in hamiltonians]
    symbols, species = ([each for part in parts for each in part] for parts in zip(*species, strict=True))
    shells = element_shells(symbols, [each.angular_momenta for each in species])
    # Where the orbitals of any two atoms cease to overlap.
    radius = 2 * max(each.cutoff_radius for each in species) * BOHR
    l_max = max(1, *(l for each in species for l in each.angular_momenta))
    n_blocks, n_atoms = (sum(len(getattr(one, name)) for one in hamiltonians) for name in ('pattern', 'atoms'))
    content = {
        'common_options': {
            'basis': {symbol: shell_letters(each) for symbol, each in shells.items()},
            'device': 'cpu',
            'dtype': 'float32',
            'overlap': True,
            'seed': 0,
        },
        'model_options': {
            'embedding': {
                'method': 'slem',
                'r_max': max(radius, *map(_reach, hamiltonians)),
                'n_layers': 3,
                'irreps_hidden': _hidden_irreps(l_max),
                'avg_num_neighbors': max(n_blocks / n_atoms - 1, 1.0),
            },
            'prediction': {'method': 'e3tb', 'neurons': [16, 16]},
        },
        'train_options': {
            'num_epoch': 500,
            'batch_size': 1,
            'optimizer': {'type': 'Adam', 'lr': 0.005},
            'lr_scheduler': {'type': 'exp', 'gamma': 0.99},
            'loss_options': {'train': {'method': 'hamil_abs'}},
        },
        'data_options': {
            'train': {
                'root': '.',
                'prefix': PREFIX,
                'type': 'DefaultDataset',
                'get_Hamiltonian': True,
                'get_overlap': True,
            }
        },
    }
    write_text(Path(folder) / INPUT, json.dumps(content, indent=1) + '\n')


def _hidden_irreps(l_max: int) -> str:
    """Irreps of the products of two shells: l1 x l2 has all l from |l1 - l2| to l1 + l2, with its parity."""
    natural = [f'{max(8, 32 >> max(l - 1, 0))}x{l}{"eo"[l % 2]}' for l in range(2 * l_max + 1)]
    unnatural = [f'8x{l}{"oe"[l % 2]}' for l in range(1, 2 * l_max)]
    return '+'.join(natural + unnatural)


def parse_shells(text: str) -> list[int]:
    """Angular momenta of the shells that ``2s2p1d`` names.

    Raises
    ------
    ValueError
        If the text is of another form.
    """
    if not isinstance(text, str) or not _SHELLS.fullmatch(text):
        raise ValueError(
            f'{shortened(text, 40)!r} does not name shells as 2s2p1d does: of each angular momentum give how many '
            f'shells there are, 1 to 99, and its letter, of {", ".join(LETTERS)}'
        )
    found = re.findall(r'([1-9]\d?)([spdfgh])', text)
    return [LETTERS.index(letter) for count, letter in found for _ in range(int(count))]


def read_deeptb(
    folder: str | Path, frame: int = 0, shells: Mapping[str, Sequence[int]] | None = None
) -> ForeignMatrices:
    """Read a frame of DeePTB's data.

    Parameters
    ----------
    folder : path
        With the files.
    frame : int
        From 0.
    shells : mapping of str to sequences of int, optional
        Angular momenta of the shells of each element; default: what ``basis.json`` says.

    Raises
    ------
    ValueError
        If a file is missing, damaged or does not fit to the others, or the shells are not known.
    """
    folder = Path(folder)
    atoms, beside = _read_structure(folder, frame), folder / BASIS
    if beside.exists():
        content = read_json_object(beside)
        # What an export says about the original structure comes before what DeePTB is told.
        add_notes(atoms, content, beside)
        shells = _shells_in(content, beside) if shells is None else shells
    shells = {} if shells is None else shells
    symbols = atoms.get_chemical_symbols()
    missing = sorted(set(symbols) - set(shells))
    if missing:
        raise ValueError(
            f'{folder}: {NUMBERS} has {", ".join(missing)}, whose shells are not known ({BASIS} does not give them); '
            f'give --shells {missing[0]}=2s2p1d'
        )
    with naming(beside):
        momenta = [check_shells(sorted(shells[symbol]), index) for index, symbol in enumerate(symbols)]
    n_orbitals = np.array([sum(2 * l + 1 for l in each) for each in momenta])
    raw = {
        name: _read_file(folder / file, frame, n_orbitals)
        for name, file in (('overlap', OVERLAPS), ('hamiltonian', HAMILTONIANS))
    }
    return ForeignMatrices.assemble(atoms, momenta, raw, ORDER, HamiltonianAttributes(source_format='deeptb'))


def _shells_in(content: dict, path: Path) -> dict[str, list[int]]:
    try:
        return {symbol: parse_shells(text) for symbol, text in content.get('basis').items()}
    except (AttributeError, ValueError) as error:
        raise ValueError(f'{path}: {shortened(error)}') from error


def _read_structure(folder: Path, frame: int) -> Atoms:
    path = folder / INFO
    info = read_json_object(path)
    frames, kind = info.get('nframes', 1), info.get('pos_type', 'cart')
    if type(frames) is not int or not 0 < frames <= 10**7 or kind not in ('cart', 'ase', 'frac'):
        raise ValueError(
            f'{path}: nframes {shortened(frames)} and pos_type {shortened(kind)}; a whole number above 0 and one of '
            'cart, ase and frac are possible'
        )
    if not 0 <= frame < frames:
        raise ValueError(
            f'{path}: no frame {frame}: --frame counts from 0, and there {"are" if frames > 1 else "is"} {frames}, so '
            f'give {"0" if frames == 1 else f"0 to {frames - 1}"}'
        )
    positions, cell = read_table(folder / POSITIONS, 3), read_table(folder / CELL, 3)
    numbers = np.array(read_integers(folder / NUMBERS))
    n_atoms = len(positions) // frames
    if (
        len(positions) != frames * n_atoms
        or len(cell) not in (3, 3 * frames)
        or len(numbers) not in (n_atoms, len(positions))
    ):
        raise ValueError(
            f'{folder}: {len(positions)} lines in {POSITIONS}, {len(cell)} in {CELL} and {len(numbers)} numbers in '
            f'{NUMBERS} do not make {frames} frame(s)'
        )
    positions = positions[frame * n_atoms : (frame + 1) * n_atoms]
    cell = cell if len(cell) == 3 else cell[3 * frame : 3 * frame + 3]
    numbers = numbers if len(numbers) == n_atoms else numbers[frame * n_atoms : (frame + 1) * n_atoms]
    if numbers.min(initial=1) < 1 or numbers.max(initial=1) > LAST_ELEMENT:
        raise ValueError(f'{folder / NUMBERS}: has numbers that are not those of elements')
    positions = positions @ cell if kind == 'frac' else positions
    atoms = Atoms(numbers, positions, cell=cell, pbc=True)
    add_notes(atoms, info, path)
    with naming(folder / CELL):
        check_atoms(atoms)
    return atoms


def _read_file(path: Path, frame: int, n_orbitals: np.ndarray) -> RawMatrix:
    pairs, blocks = [], []
    with open_hdf5(path) as handle, damage_as_value_error(path):
        name = str(frame) if '0' in handle else str(frame + 1)
        group = handle[name]
        first = 0 if '0_0_0_0_0' in group else 1
        for key in group:
            found = _KEY.fullmatch(key)
            if found is None:
                raise ValueError(f'{path}: {shortened(key)} is no name of a block i_j_Rx_Ry_Rz')
            i, j, *image = map(int, found.groups())
            i, j = i - first, j - first
            if not (0 <= i < len(n_orbitals) and 0 <= j < len(n_orbitals)):
                raise ValueError(f'{path}: {key} names atoms that the {len(n_orbitals)} of the structure do not have')
            block = read_array(group, key)
            if block.shape != (n_orbitals[i], n_orbitals[j]) or block.dtype.kind != 'f':
                raise ValueError(
                    f'{path}: {key} has shape {block.shape} and type {block.dtype}, the shells ask for '
                    f'{n_orbitals[i]} x {n_orbitals[j]} real numbers'
                )
            pairs.append([*image, i, j])
            blocks.append(block.ravel())
    if not pairs:
        raise ValueError(f'{path}: holds no blocks')
    return RawMatrix(np.array(pairs, dtype=np.int64), np.concatenate(blocks).astype(float), file=path)
