"""Small Hamiltonians to exchange with other programs, and how far two of them are apart."""

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis

R = 0.05 * np.arange(81)
SHAPE = np.cos(np.pi * R / 8) ** 2

#: Shells in no particular sequence, up to f.
SHELLS = {'Al': (1, 0, 2, 0), 'As': (0, 1, 3)}


def shell(l, exponent=0.5):
    radial = R**l * np.exp(-exponent * R**2) * SHAPE
    return Shell(l, 4.0, radial / np.sqrt(np.sum((R * radial) ** 2) * 0.05), f'{l + 2}{"spdf"[l]}', 1.0)


def species(symbol):
    return SpeciesBasis(symbol, 0.05, tuple(shell(l, 0.5 + 0.1 * k) for k, l in enumerate(SHELLS[symbol])))


def example(n_spin=1, spin_orbit=False, symbols='AlAsAl'):
    """A triclinic cell of three atoms, those of one element apart, with matrices of random numbers."""
    basis = Basis({symbol: species(symbol) for symbol in ('Al', 'As')})
    cell = [[4.1, 0.1, 0.2], [0.0, 3.9, 0.1], [0.3, 0.0, 4.3]]
    atoms = Atoms(symbols, [[0, 0, 0], [1.4, 1.2, 1.3], [2.0, 2.6, 0.4]], cell=cell, pbc=True)
    pattern = overlap_pattern(atoms, basis)
    rng = np.random.default_rng(1)
    overlap = 0.01 * pattern.symmetrize(rng.normal(size=pattern.n_entries))
    for pair in pattern.onsite:
        np.fill_diagonal(pattern.block(overlap, pair), 1.0)
    spins = pattern.symmetrize(rng.normal(size=(n_spin, pattern.n_entries))) - 7.0 * overlap
    matrices = {'hamiltonian': spins if n_spin == 2 else spins[0], 'overlap': overlap}
    if spin_orbit:
        coupling = 0.1 * rng.normal(size=(3, pattern.n_entries))
        matrices['spin_orbit'] = coupling - coupling[:, pattern.transpose_indices]
    attributes = HamiltonianAttributes(origin='reference', fermi_level=1.2345, n_electrons=11.0, n_spin=n_spin)
    return Hamiltonian(atoms, basis, pattern, matrices, attributes=attributes)


def assert_same(found, expected, tolerance=1e-12):
    """Structure and matrices are the same to `tolerance`, Å and eV."""
    assert found.symbols == expected.symbols
    np.testing.assert_allclose(found.atoms.positions, expected.atoms.positions, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.atoms.cell[:], expected.atoms.cell[:], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(found.pattern.atom_pairs, expected.pattern.atom_pairs)
    assert found.matrices.keys() == {'hamiltonian', 'overlap', 'spin_orbit'} & expected.matrices.keys()
    for name, values in found.matrices.items():
        np.testing.assert_allclose(values, expected.matrices[name], rtol=0, atol=tolerance)
