"""Wannier90's files, written only: SEED_hr.dat with H(R), SEED_overlap.dat with S(R), SEED.win and SEED_centres.xyz.

Both matrices have the layout of ``_hr.dat``, ``<m, cell 0| O |n, cell R>`` in eV, with all digits that readers take.
Orbitals are not orthonormal, which Wannier90's own files never say: a program that reads H alone gets wrong bands. With
collinear spin there is a set of files for each spin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.io.foreign_matrices import refuse_spin
from aiida_hamlr.io.orbital_orders import atom_turns, change_orbitals
from aiida_hamlr.io.text_tables import rows_of, write_text

ORDER = 'wannier90'

#: Beginnings of file names: without spin, and of spin up and down.
SEEDS = {1: ('hamlr',), 2: ('hamlr.up', 'hamlr.dn')}

#: Lines of a matrix, which lists all pairs of orbitals for each R; 60 bytes each.
MOST_LINES = 100_000_000

#: Degeneracies of a line, as Wannier90 writes them.
_PER_LINE = 15


def write_wannier90(hamiltonian: Hamiltonian, folder: str | Path):
    """Write H, overlap, structure and positions of the orbitals as Wannier90 does.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``; collinear spin is carried.
    folder : path
        Where the files go.

    Raises
    ------
    ValueError
        If it has a spin-orbit part, or the files would be larger than 6 GB.
    """
    refuse_spin(hamiltonian, 'Wannier90', collinear=True)
    folder, pattern = Path(folder), hamiltonian.pattern
    images = np.unique(pattern.images, axis=0)
    n_lines = len(images) * pattern.dimension**2
    if n_lines > MOST_LINES:
        raise ValueError(
            f'{pattern.dimension} orbitals and {len(images)} lattice vectors make {n_lines:.1e} lines for each matrix, '
            f'{60 * n_lines / 1e9:.0f} GB; the formats sisl and deepx store blocks of neighbours only'
        )
    momenta = [species.angular_momenta for species in hamiltonian.basis.for_labels(hamiltonian.species)]
    turns = atom_turns(ORDER, momenta)
    overlap = change_orbitals(pattern, hamiltonian.overlap, turns)
    spins = change_orbitals(pattern, np.atleast_2d(hamiltonian.hamiltonian), turns)
    for seed, entries in zip(SEEDS[len(spins)], spins, strict=True):
        title = f'H in eV; orbitals are not orthonormal, the overlap is in {seed}_overlap.dat'
        _write_matrix(folder / f'{seed}_hr.dat', title, pattern, entries, images)
        _write_matrix(folder / f'{seed}_overlap.dat', 'overlap of the orbitals', pattern, overlap, images)
        write_text(folder / f'{seed}.win', _input(hamiltonian, momenta))
        write_text(folder / f'{seed}_centres.xyz', _centres(hamiltonian))


def _write_matrix(path: Path, title: str, pattern: BlockPattern, entries: np.ndarray, images: np.ndarray):
    """A matrix for all lattice vectors; the first orbital runs fastest."""
    n = pattern.dimension
    rows, columns = pattern.orbital_indices
    _, image = np.unique(pattern.images, axis=0, return_inverse=True)
    of_entry = np.repeat(image.ravel(), pattern.chunk_shapes.prod(axis=1))
    order = np.argsort(of_entry, kind='stable')
    boundaries = np.searchsorted(of_entry[order], np.arange(len(images) + 1))
    with atomic_path(path) as temporary, temporary.open('w', encoding='utf-8') as stream:
        stream.write(f' {title}\n{n:12d}\n{len(images):12d}\n')
        for start in range(0, len(images), _PER_LINE):
            stream.write('    1' * len(images[start : start + _PER_LINE]) + '\n')
        for index, (x, y, z) in enumerate(images.tolist()):
            part = order[boundaries[index] : boundaries[index + 1]]
            matrix = np.zeros((n, n))
            matrix[rows[part], columns[part]] = entries[part]
            stream.writelines(
                f'{x:5d}{y:5d}{z:5d}{i:5d}{j:5d} {value:23.16e} 0.0\n'
                for j, column in enumerate(matrix.T.tolist(), 1)
                for i, value in enumerate(column, 1)
            )


def _input(hamiltonian: Hamiltonian, momenta) -> str:
    """Cell, atoms and shells, as the input of a run of Wannier90 has them."""
    atoms = hamiltonian.atoms
    positions = [rows_of(position).strip() for position in atoms.positions]
    named = ''.join(f'{symbol} {place}\n' for symbol, place in zip(hamiltonian.symbols, positions, strict=True))
    shells = ''.join(
        f'c={place.replace(" ", ",")}:l={l}\n' for place, own in zip(positions, momenta, strict=True) for l in own
    )
    blocks = {
        'unit_cell_cart': f'Ang\n{rows_of(atoms.cell[:])}',
        'atoms_cart': f'Ang\n{named}',
        'projections': f'Ang\n{shells}',
    }
    return f'num_wann = {hamiltonian.n_orbitals}\n' + ''.join(
        f'\nbegin {name}\n{content}end {name}\n' for name, content in blocks.items()
    )


def _centres(hamiltonian: Hamiltonian) -> str:
    """Positions of the orbitals, marked X, and of the atoms."""
    atoms, pattern = hamiltonian.atoms, hamiltonian.pattern
    symbols = ['X'] * pattern.dimension + hamiltonian.symbols
    positions = np.concatenate([np.repeat(atoms.positions, pattern.n_orbitals, axis=0), atoms.positions])
    rows = rows_of(positions).splitlines()
    lines = ''.join(f'{symbol} {row}\n' for symbol, row in zip(symbols, rows, strict=True))
    return f'{len(symbols)}\nplaces of the orbitals and of the atoms, Angstrom\n{lines}'
