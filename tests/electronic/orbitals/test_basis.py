"""Orbitals of elements: their file and their identity."""

import numpy as np
import pytest

from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis


def species(element, momenta, width=1.0):
    r = np.arange(0, 6.01, 0.05)
    shells = []
    for number, l in enumerate(momenta):
        radial = r**l * np.exp(-((r / width) ** 2) * (1 + number))
        shells.append(Shell(l, 6.0, radial, f'{number + 1}{"spdf"[l]}', 1.0))
    return SpeciesBasis(element, 0.05, tuple(shells), {'size': 'test'})


@pytest.fixture
def basis():
    return Basis({'Al': species('Al', (0, 0, 1)), 'As': species('As', (0, 1, 2), 1.3)})


def test_basis_file_round_trip(tmp_path, basis):
    basis['As'].write(tmp_path / 'As.basis.h5')
    read = SpeciesBasis.read(tmp_path / 'As.basis.h5')
    assert read.content_hash == basis['As'].content_hash
    assert read.angular_momenta == (0, 1, 2)
    assert read.shell_slices == (slice(0, 1), slice(1, 4), slice(4, 9))
    assert read.metadata == {'size': 'test'}


def test_basis_hash_depends_on_the_radial_functions_only(basis):
    changed = species('As', (0, 1, 2), 1.3 + 1e-6)
    assert changed.content_hash != basis['As'].content_hash
    renamed = SpeciesBasis('As', 0.05, basis['As'].shells, {'other': 'metadata'})
    assert renamed.content_hash == basis['As'].content_hash


def test_numbers_of_orbitals_follow_the_atoms(basis):
    assert basis.n_orbitals(['As', 'Al', 'As']).tolist() == [9, 5, 9]
    assert list(basis.restricted(['As'])) == ['As']
    with pytest.raises(ValueError, match='Ga'):
        basis.n_orbitals(['Ga'])


def test_a_file_of_another_format_is_refused_by_name(tmp_path):
    (tmp_path / 'Al.basis.h5').write_bytes(b'no HDF5')
    with pytest.raises(ValueError, match=r'Al\.basis\.h5'):
        SpeciesBasis.read(tmp_path / 'Al.basis.h5')
