"""Hamiltonians of sisl, and through it the files of SIESTA: nc, TSHS, HSX, fdf and whatever else sisl reads.

sisl is an optional dependency. Orbitals of an atom stand in SIESTA's order; H is absolute in SIESTA's files, and sisl
subtracts the Fermi level times S when it reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.sparse import csr_matrix

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.electronic.reading import check_regular, naming, shortened
from aiida_hamlr.electronic.units import BOHR
from aiida_hamlr.io.block_merging import RawMatrix, raw_from_elements
from aiida_hamlr.io.foreign_matrices import ForeignMatrices, check_shells
from aiida_hamlr.io.orbital_orders import atom_turns, change_orbitals
from aiida_hamlr.io.spinor_blocks import separate_spins, spin_components
from aiida_hamlr.io.structure_notes import add_notes, structure_notes
from aiida_hamlr.io.text_tables import number_in, read_json_object, write_text

ORDER = 'siesta'

#: Files of an export: for sisl, SIESTA and TBtrans, and what SIESTA's file does not say.
FILE, ORBITALS = 'hamiltonian.nc', 'orbitals.json'

#: Parts of a Hamiltonian with spin-orbit coupling in sisl: component of `spin_components`, and whether it is imaginary.
_SPIN_ORBIT_PARTS = ((0, 0), (1, 0), (2, 0), (2, 1), (0, 1), (1, 1), (3, 0), (3, 1))


def _sisl(what: str = 'sisl'):
    try:
        return import_module(what)
    except ImportError as error:
        raise ValueError(f'this format needs the package {what}: pip install "aiida-hamlr[sisl]"') from error


def to_sisl(hamiltonian: Hamiltonian):
    """A ``sisl.Hamiltonian`` with overlap, orbitals and their radial functions.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``; two spins and a spin-orbit part are carried.

    Returns
    -------
    sisl.Hamiltonian
        eV, absolute: not with respect to the Fermi level.

    Raises
    ------
    ValueError
        If sisl is not installed.
    """
    sisl = _sisl()
    pattern, labels = hamiltonian.pattern, hamiltonian.species
    species = {label: _sisl_atom(sisl, label, basis) for label, basis in hamiltonian.basis.items()}
    reach = 2 * np.abs(pattern.images).max(axis=0) + 1
    lattice = sisl.Lattice(np.asarray(hamiltonian.atoms.cell), nsc=[int(n) for n in reach])
    geometry = sisl.Geometry(hamiltonian.atoms.positions, [species[label] for label in labels], lattice=lattice)
    momenta = [basis.angular_momenta for basis in hamiltonian.basis.for_labels(labels)]
    turns = atom_turns(ORDER, momenta)
    rows, columns = pattern.orbital_indices
    image = np.repeat(lattice.sc_index(pattern.images), pattern.chunk_shapes.prod(axis=1))
    n = pattern.dimension

    def sparse(entries):
        return csr_matrix((entries, (rows, np.asarray(image) * n + columns)), shape=(n, n * lattice.n_s))

    overlap = sparse(change_orbitals(pattern, hamiltonian.matrices['overlap'], turns))
    if SPIN_ORBIT in hamiltonian.matrices:
        components = change_orbitals(pattern, spin_components(hamiltonian), turns)
        parts = [(components[k].imag if imaginary else components[k].real) for k, imaginary in _SPIN_ORBIT_PARTS]
        spin = 'spin-orbit'
    else:
        values = change_orbitals(pattern, hamiltonian.matrices['hamiltonian'], turns)
        parts, spin = list(np.atleast_2d(values)), 'polarized' if values.ndim == 2 else 'unpolarized'
    return sisl.Hamiltonian.fromsp(geometry, [sparse(part) for part in parts], S=overlap, spin=spin)


def _sisl_atom(sisl, label: str, basis: SpeciesBasis):
    """An atom with its orbitals; lengths in Å."""
    r = BOHR * basis.step * np.arange(len(basis.shells[0].radial))
    orbitals: list = []
    counts: dict = {}
    for shell in basis.shells:
        l = shell.angular_momentum
        named = re.match(r'(\d)[spdfgh]', shell.label)
        n = max(int(named[1]) if named else 0, l + 1)
        counts[n, l] = counts.get((n, l), 0) + 1
        if shell.radial.any():
            function = sisl.SphericalOrbital(
                l, (r, shell.radial / BOHR**1.5), q0=shell.occupation, R=shell.cutoff_radius * BOHR
            )
            orbitals += function.toAtomicOrbital(n=n, zeta=counts[n, l])
        else:
            radius = shell.cutoff_radius * BOHR
            orbitals += [sisl.AtomicOrbital(n=n, l=l, m=m, zeta=counts[n, l], R=radius) for m in range(-l, l + 1)]
    return sisl.Atom(basis.element, orbitals, tag=label)


def write_sisl(hamiltonian: Hamiltonian, folder: str | Path):
    """Write ``hamiltonian.nc``, which sisl, SIESTA and TBtrans read, and ``orbitals.json``.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``; two spins and a spin-orbit part are carried.
    folder : path
        Where the files go.

    Raises
    ------
    ValueError
        If sisl or netCDF4 is not installed.
    """
    folder, attributes = Path(folder), hamiltonian.attributes
    _sisl('netCDF4')
    sisl_hamiltonian = to_sisl(hamiltonian)
    folder.mkdir(parents=True, exist_ok=True)
    fermi_level = attributes.fermi_level or 0.0
    with atomic_path(folder / FILE) as temporary:
        named = temporary.with_name(f'{temporary.name}.nc')
        try:
            extra = {} if attributes.n_electrons is None else {'Q': attributes.n_electrons}
            with _sisl().get_sile(str(named), mode='w') as sile:
                sile.write_hamiltonian(sisl_hamiltonian, Ef=fermi_level, **extra)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
    shells = {label: list(basis.angular_momenta) for label, basis in hamiltonian.basis.items()}
    content = {'shells': shells, 'fermi_level_eV': attributes.fermi_level, 'n_electrons': attributes.n_electrons}
    write_text(folder / ORBITALS, json.dumps(content | structure_notes(hamiltonian.atoms)) + '\n')


def read_sisl(path: str | Path, shells: Mapping[str, Sequence[int]] | None = None) -> ForeignMatrices:
    """Read a Hamiltonian through sisl.

    Parameters
    ----------
    path : path
        A file that sisl reads a Hamiltonian from, or an export: its folder, or ``hamiltonian.nc`` in it, beside
        ``orbitals.json``.
    shells : mapping of str to sequences of int, optional
        Angular momenta of the shells of each element, in SIESTA's sequence; needed where the file has no basis.

    Raises
    ------
    ValueError
        If sisl is not installed or cannot read the file, or the shells of an element are not known.
    """
    sisl, path = _sisl(), Path(path)
    attributes, content = HamiltonianAttributes(source_format='sisl'), {}
    if path.is_dir():
        path = path / FILE
    check_regular(path)
    beside = path.with_name(ORBITALS)
    if path.name == FILE and beside.exists():
        content = read_json_object(beside)
        shells = content.get('shells') if shells is None else shells
        attributes.n_electrons = number_in(content, 'n_electrons', beside)
    try:
        with sisl.get_sile(str(path)) as sile:
            matrix = sile.read_hamiltonian()
            fermi_level = _fermi_level(sile)
    except Exception as error:
        raise ValueError(f'{path}: sisl cannot read a Hamiltonian from it: {shortened(error)}') from error
    attributes.fermi_level = fermi_level
    with naming(path):
        found = from_sisl(matrix, shells, attributes, shift=fermi_level or 0.0)
    add_notes(found.atoms, content, beside)
    return found


def _fermi_level(sile) -> float | None:
    """Fermi level that sisl has subtracted from H, eV; None if the file has none."""
    if not hasattr(sile, 'read_fermi_level'):
        return None
    found = sile.read_fermi_level()
    return None if found is None else float(np.ravel(found)[0])


def from_sisl(
    matrix,
    shells: Mapping[str, Sequence[int]] | None = None,
    attributes: HamiltonianAttributes | None = None,
    shift: float = 0.0,
) -> ForeignMatrices:
    """Matrices of a ``sisl.Hamiltonian``.

    Parameters
    ----------
    matrix : sisl.Hamiltonian
        Without spin, with collinear spin or with spin-orbit coupling.
    shells : mapping of str to sequences of int, optional
        Angular momenta of the shells by element or by the tag of the atom; default: those of its orbitals.
    attributes : HamiltonianAttributes, optional
        What else is known.
    shift : float
        Added to H times S, eV: the Fermi level that sisl has subtracted.

    Raises
    ------
    ValueError
        If the shells of an element are not known, or magnetic moments are not collinear.
    """
    geometry = matrix.geometry
    atoms = Atoms(geometry.atoms.Z, geometry.xyz, cell=geometry.cell, pbc=True)
    momenta = [_shells_of(atom, shells) for atom in geometry.atoms]
    n_orbitals = np.array([sum(2 * l + 1 for l in each) for each in momenta])
    if not np.array_equal(n_orbitals, geometry.atoms.orbitals):
        raise ValueError(
            f'atoms have {geometry.atoms.orbitals.tolist()[:8]} orbitals, their shells {n_orbitals.tolist()[:8]}'
        )
    parts = [matrix.tocsr(index).tocoo() for index in range(matrix.shape[2])]
    if matrix.orthogonal:
        eye = np.arange(len(matrix))
        raw = {'overlap': raw_from_elements((eye, eye, np.zeros((len(eye), 3), int)), np.ones(len(eye)), n_orbitals)}
    else:
        raw = {'overlap': _elements(parts.pop(), geometry, n_orbitals)}
    raw |= _spins(matrix, parts, geometry, n_orbitals)
    result = ForeignMatrices.assemble(
        atoms, momenta, raw, ORDER, attributes or HamiltonianAttributes(source_format='sisl')
    )
    if shift:
        result.matrices['hamiltonian'] = result.matrices['hamiltonian'] + shift * result.matrices['overlap']
    return result


def _shells_of(atom, shells: Mapping[str, Sequence[int]] | None) -> tuple[int, ...]:
    """Angular momenta of an atom's shells, of which all orbitals must be there from -l to l."""
    if isinstance(shells, Mapping):
        for name in (atom.tag, atom.symbol):
            if isinstance(shells.get(name), Sequence):
                return check_shells(shells[name], 0)
    found = [(getattr(orbital, 'l', None), getattr(orbital, 'm', None)) for orbital in atom.orbitals]
    result, start = [], 0
    while start < len(found):
        l = found[start][0]
        stop = start + 1 + 2 * (l if isinstance(l, int | np.integer) and l >= 0 else 0)
        if l is None or found[start:stop] != [(l, m) for m in range(-l, l + 1)]:
            raise ValueError(
                f'the orbitals of {atom.symbol} have no angular momenta; name the file that has the basis (.fdf with '
                f'.ion.nc beside it), keep {ORBITALS} beside {FILE} of an export, or give --shells '
                f'{atom.symbol}=2s2p1d'
            )
        result.append(int(l))
        start = stop
    return tuple(result)


def _elements(part, geometry, n_orbitals: np.ndarray) -> RawMatrix:
    images = geometry.lattice.sc_off[part.col // geometry.no]
    return raw_from_elements((part.row, part.col % geometry.no, np.asarray(images)), part.data, n_orbitals)


def _spins(matrix, parts: list, geometry, n_orbitals: np.ndarray) -> dict[str, RawMatrix]:
    """Hamiltonian and spin-orbit part."""
    raw = [_elements(part, geometry, n_orbitals) for part in parts]
    if any(not np.array_equal(each.pairs, raw[0].pairs) for each in raw):
        raise ValueError('its spin components have different blocks')
    pairs, entries = raw[0].pairs, np.array([each.entries for each in raw])
    if matrix.spin.is_unpolarized:
        return {'hamiltonian': RawMatrix(pairs, entries[0])}
    if matrix.spin.is_polarized:
        return {'hamiltonian': RawMatrix(pairs, entries)}
    if not matrix.spin.is_spinorbit:
        raise ValueError('non-collinear spins without spin-orbit coupling are not possible here')
    components = entries
    if len(entries) == len(_SPIN_ORBIT_PARTS):
        components = np.zeros((4, entries.shape[1]), dtype=complex)
        for values, (index, imaginary) in zip(entries, _SPIN_ORBIT_PARTS, strict=True):
            components[index] += (1j if imaginary else 1.0) * values
    return separate_spins(pairs, components)
