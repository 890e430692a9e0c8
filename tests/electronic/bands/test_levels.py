"""On-site levels, and the file of a structure's properties."""

from dataclasses import replace

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.levels import check_same_orbitals, onsite_levels, potential_profile
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.orbitals.basis import Basis


@pytest.fixture
def hamiltonian(make_hamiltonian, zincblende):
    return make_hamiltonian(zincblende(cubic=True))


def test_levels_are_the_mean_diagonal_elements(hamiltonian):
    expected = {'As': (-9.0 - 3 * 2.0) / 4, 'Al': (-2.0 + 3 * 4.0) / 4}
    assert np.allclose(onsite_levels(hamiltonian), [expected[symbol] for symbol in hamiltonian.symbols])


def test_potential_on_the_atoms_moves_their_levels_by_itself(hamiltonian):
    pattern = hamiltonian.pattern
    potential = np.random.default_rng(0).normal(size=len(hamiltonian.atoms))
    rows, columns = pattern.orbital_indices
    atom = np.repeat(np.arange(len(potential)), pattern.n_orbitals)
    change = 0.5 * hamiltonian.overlap * (potential[atom[rows]] + potential[atom[columns]])
    hamiltonian.matrices['hamiltonian'] = hamiltonian.h0 + change
    assert np.allclose(potential_profile(hamiltonian), potential)


def test_missing_matrix_is_named(hamiltonian):
    del hamiltonian.matrices['h0']
    with pytest.raises(ValueError, match='h0'):
        potential_profile(hamiltonian)


def test_levels_of_other_orbitals_are_not_compared(hamiltonian, make_hamiltonian, zincblende):
    check_same_orbitals(hamiltonian, make_hamiltonian(zincblende()))
    other = make_hamiltonian(zincblende())
    shell, *rest = other.basis['Al'].shells
    changed = replace(other.basis['Al'], shells=(replace(shell, radial=1.1 * shell.radial), *rest))
    other.basis = Basis({**other.basis, 'Al': changed})
    with pytest.raises(ValueError, match='Al of AlAs has other orbitals than in Al4As4'):
        check_same_orbitals(hamiltonian, other)


def test_properties_file_holds_what_was_given(hamiltonian, tmp_path):
    charges = np.linspace(-1, 1, 8)
    properties = Properties(hamiltonian.symbols, hamiltonian.atoms.positions, charges=charges)
    properties.write(tmp_path / 'properties.h5')
    again = Properties.read(tmp_path / 'properties.h5')
    assert again.symbols == hamiltonian.symbols
    assert np.array_equal(again.charges, charges)
    assert again.dos is None
    data = (tmp_path / 'properties.h5').read_bytes()
    (tmp_path / 'properties.h5').write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r'properties\.h5'):
        Properties.read(tmp_path / 'properties.h5')
