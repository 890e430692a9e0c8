"""Tests of the Hamiltonian node."""

import h5py
import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.plugins import DataFactory

from aiida_hamlr.data.hamiltonian import HamiltonianData


def test_entry_point():
    """The entry point leads to the class."""
    assert DataFactory('hamlr.hamiltonian') is HamiltonianData


def test_round_trip(make_hamiltonian, zincblende, tmp_path):
    """A file goes in and the same matrices come out; the attributes say what it holds."""
    hamiltonian = make_hamiltonian(zincblende())
    hamiltonian.attributes.gap, hamiltonian.attributes.fermi_level = 1.25, 4.2
    hamiltonian.write(tmp_path / 'any_name.h5')
    node = HamiltonianData.from_file(tmp_path / 'any_name.h5').store()
    loaded = orm.load_node(node.pk).open()
    np.testing.assert_array_equal(loaded.matrices['hamiltonian'], hamiltonian.matrices['hamiltonian'])
    attributes = node.base.attributes.all
    assert attributes['formula'] == 'AlAs'
    assert attributes['elements'] == ['Al', 'As']
    assert (attributes['n_atoms'], attributes['n_orbitals']) == (2, 8)
    assert attributes['n_pairs'] == len(hamiltonian.pattern)
    assert (attributes['gap'], attributes['fermi_level']) == (1.25, 4.2)
    assert attributes['basis_hash'] == hamiltonian.basis.content_hash
    assert attributes['size'] == (tmp_path / 'any_name.h5').stat().st_size
    node.export(tmp_path / 'out.h5')
    assert (tmp_path / 'out.h5').read_bytes() == (tmp_path / 'any_name.h5').read_bytes()


def test_structure(make_hamiltonian_node, zincblende):
    """The structure of the file comes out as a node."""
    structure = make_hamiltonian_node().get_structure()
    np.testing.assert_allclose(structure.get_ase().cell, zincblende().cell)
    assert structure.get_formula() == 'AlAs'


def test_fields(aiida_profile_clean, make_hamiltonian_node):
    """Attributes can be filtered and projected by name."""
    node = make_hamiltonian_node(origin='predicted', gap=0.5)
    make_hamiltonian_node(seed=1, origin='reference', gap=1.5)
    fields = HamiltonianData.fields
    query = orm.QueryBuilder().append(
        HamiltonianData,
        filters=(fields.origin == 'predicted') & (fields.n_orbitals == 8) & (fields.gap < 1.0),
        project=[fields.pk, fields.formula, fields.elements],
    )
    assert query.all() == [[node.pk, 'AlAs', ['Al', 'As']]]


def test_magnetic_fields(aiida_profile_clean, make_hamiltonian_node, make_hamiltonian, zincblende):
    """Magnetic Hamiltonians can be found; the others have no magnetization."""
    hamiltonian = make_hamiltonian(zincblende())
    hamiltonian.matrices['hamiltonian'] = np.stack([hamiltonian.hamiltonian, hamiltonian.hamiltonian + 0.1])
    hamiltonian.attributes.n_spin, hamiltonian.attributes.magnetization = 2, 1.5
    node = HamiltonianData.from_hamiltonian(hamiltonian).store()
    plain = make_hamiltonian_node(seed=1)
    fields = HamiltonianData.fields
    query = orm.QueryBuilder().append(
        HamiltonianData, filters=fields.magnetization > 1.0, project=[fields.pk, fields.n_spin, fields.magnetization]
    )
    assert query.all() == [[node.pk, 2, 1.5]]
    assert plain.base.attributes.get('magnetization') is None
    assert node.open().n_spin == 2


def test_verification_fields(aiida_profile_clean, make_hamiltonian_node):
    """References can be chosen by the quality of their bands; what was not compared has no number."""
    checks = {'band_mae_occupied_meV': 12.5, 'band_mae_conduction_meV': 60.0, 'overlap_condition_number': 2e4}
    node = make_hamiltonian_node(verification={**checks, 'variational_violation_meV': 0.0, 'hermiticity_eV': 1e-15})
    make_hamiltonian_node(seed=1, verification={**checks, 'band_mae_occupied_meV': 40.0})
    plain = make_hamiltonian_node(seed=2, origin='predicted')
    fields = HamiltonianData.fields
    names = ['band_mae_occupied_meV', 'band_mae_conduction_meV', 'variational_violation_meV']
    query = orm.QueryBuilder().append(
        HamiltonianData,
        filters=(fields.band_mae_occupied_meV < 20.0) & (fields.overlap_condition_number < 1e5),
        project=[fields.pk, *(getattr(fields, name) for name in names)],
    )
    assert query.all() == [[node.pk, 12.5, 60.0, 0.0]]
    assert all(plain.base.attributes.get(name) is None for name in names)


def test_same_content_same_hash(make_hamiltonian_node):
    """Nodes of the same file are the same for the cache."""
    first, second = make_hamiltonian_node(seed=3), make_hamiltonian_node(seed=3)
    assert first.base.caching.get_hash() == second.base.caching.get_hash()
    assert first.base.caching.get_hash() != make_hamiltonian_node(seed=4).base.caching.get_hash()


def test_no_such_file(tmp_path):
    """A missing file is named."""
    with pytest.raises(ValueError, match='none.h5: no such file'):
        HamiltonianData.from_file(tmp_path / 'none.h5')


def test_truncated(make_hamiltonian, zincblende, tmp_path):
    """A truncated file makes no node."""
    path = tmp_path / 'cut.h5'
    make_hamiltonian(zincblende()).write(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match='cut.h5'):
        HamiltonianData.from_file(path)


def test_foreign(tmp_path):
    """Any HDF5 file is not enough."""
    with h5py.File(tmp_path / 'foreign.h5', 'w') as handle:
        handle['a'] = 1
    with pytest.raises(ValueError, match='not a hamlr-hamiltonian file'):
        HamiltonianData.from_file(tmp_path / 'foreign.h5')


def test_validation(make_hamiltonian, zincblende):
    """Attributes that the file contradicts, and a node without a file, are not stored."""
    node = HamiltonianData.from_hamiltonian(make_hamiltonian(zincblende()))
    node.base.attributes.set('n_orbitals', 9)
    with pytest.raises(ValidationError, match='n_orbitals is 9, but the file says 8'):
        node.store()
    with pytest.raises(ValidationError, match='no file hamiltonian.h5'):
        HamiltonianData().store()
