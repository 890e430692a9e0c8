"""Tests of the description beside a Hamiltonian file."""

import hashlib
import json

import numpy as np
import pytest

from aiida_hamlr.electronic.matrices.description import (
    describe,
    description_path,
    read_description,
    structure_of,
    write_described,
)
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian


@pytest.fixture
def written(make_hamiltonian, zincblende, tmp_path):
    """Write a Hamiltonian with its description; return both, and what the job is told."""
    atoms = zincblende()
    atoms.rattle(0.05, seed=1)
    hamiltonian = make_hamiltonian(atoms)
    hamiltonian.attributes.gap, hamiltonian.attributes.verification = 1.25, {'band_mae_occupied_meV': 7.5}
    return hamiltonian, tmp_path / 'h.h5', write_described(hamiltonian, tmp_path / 'h.h5')


def test_describes_the_file(written):
    """Size and sum are those of the file on disk, and the rest is what the file says of itself."""
    hamiltonian, path, told = written
    assert description_path(path).name == 'h.h5.json'
    content = read_description(description_path(path).read_text(), 'h')
    data = path.read_bytes()
    expected = {'size_bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
    assert told == expected == {'size_bytes': content['size'], 'sha256': content['sha256']}
    assert content['attributes'] == describe(Hamiltonian.read(path))
    assert content['attributes']['gap'] == 1.25
    assert content['attributes']['band_mae_occupied_meV'] == 7.5
    atoms = structure_of(content, 'h')
    np.testing.assert_array_equal(atoms.positions, hamiltonian.atoms.positions)
    np.testing.assert_array_equal(atoms.cell, hamiltonian.atoms.cell)
    assert atoms.get_chemical_symbols() == hamiltonian.symbols


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'format': 'hamlr-basis'}, 'not the description'),
        ({'version': 3}, 'version 3 is not known'),
        ({'version': True}, 'version True is not known'),
        ({'attributes': {'gap': 1.0}}, 'recorded digest'),
        ({'digest': None}, 'recorded digest'),
        ({'size': -1}, 'size or attributes'),
        ({'sha256': 'xyz'}, 'no sha256'),
        ({'structure': {'cell': [[1, 0, 0]]}}, 'damaged structure'),
        ({'size': None}, 'size'),
    ],
)
def test_damaged(written, change, words):
    """What is no description, or a newer one, is refused by name."""
    content = json.loads(description_path(written[1]).read_text())
    for key, value in change.items():
        content[key] = value
        if value is None:
            del content[key]
    with pytest.raises(ValueError, match=f'h.json: .*{words}'):
        read_description(json.dumps(content), 'h.json')
    with pytest.raises(ValueError, match='not JSON'):
        read_description('{', 'h.json')
