"""Attributes of Hamiltonians: stored files verify, and derived numbers stand in one place."""

import json
from pathlib import Path

import h5py
import pytest

from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes, count_occupied
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

STORED = Path(__file__).parents[2] / 'model' / 'fixtures' / 'format_1' / 'prediction.h5'


def test_stored_file_verifies_and_is_written_with_the_same_attributes(tmp_path):
    with h5py.File(STORED) as handle:
        text = handle.attrs['attributes']
    read = Hamiltonian.read(STORED)
    assert json.dumps(read.attributes.to_dict()) == text
    read.write(tmp_path / 'again.h5')
    with h5py.File(tmp_path / 'again.h5') as handle:
        assert handle.attrs['attributes'] == text


def test_unknown_keys_of_a_later_version_survive(tmp_path, make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende())
    hamiltonian.attributes.other['temperature_K'] = 300
    hamiltonian.write(tmp_path / 'later.h5')
    read = Hamiltonian.read(tmp_path / 'later.h5')
    assert read.attributes.other == {'temperature_K': 300}
    assert read.attributes == hamiltonian.attributes


@pytest.mark.parametrize(('n_electrons', 'expected'), [(8, 4), (7.0, 4), (0.0, 0), (8 + 1e-9, 4), (8.1, 5)])
def test_number_of_occupied_bands(n_electrons, expected):
    assert count_occupied(n_electrons) == expected


def test_numbers_of_a_hamiltonian(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende(), n_electrons=7)
    assert (hamiltonian.n_orbitals, hamiltonian.n_electrons, hamiltonian.n_occupied) == (8, 7.0, 4)
    hamiltonian.attributes = HamiltonianAttributes()
    with pytest.raises(ValueError, match=r'--electrons N, or in Python as hamiltonian\.attributes\.n_electrons'):
        count_occupied(hamiltonian.n_electrons)
