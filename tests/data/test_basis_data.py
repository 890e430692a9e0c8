"""Tests of the basis node."""

import pytest
from aiida import orm
from aiida.common.exceptions import ValidationError

from aiida_hamlr.data.basis import BasisData


def test_files(make_hamiltonian, zincblende, tmp_path):
    """Basis files go in, and the same orbitals come out."""
    basis = make_hamiltonian(zincblende()).basis
    for element, species in basis.items():
        species.write(tmp_path / f'{element}.h5')
    node = BasisData.from_files([tmp_path / 'As.h5', tmp_path / 'Al.h5']).store()
    assert node.elements == ['Al', 'As']
    assert node.content_hash == basis.content_hash
    assert node.base.repository.list_object_names() == ['Al.basis.h5', 'As.basis.h5']
    assert orm.load_node(node.pk).get_basis().content_hash == basis.content_hash
    assert node.base.attributes.get('n_orbitals') == {'Al': 4, 'As': 4}
    assert BasisData.from_file(tmp_path / 'Al.h5').elements == ['Al']
    with pytest.raises(ValueError, match='a basis of Al was already given'):
        BasisData.from_files([tmp_path / 'Al.h5', tmp_path / 'Al.h5'])


def test_fields(basis_node):
    """Bases can be found by element and by content."""
    fields = BasisData.fields
    query = orm.QueryBuilder().append(
        BasisData,
        filters=fields.elements.contains(['As']) & (fields.content_hash == basis_node.content_hash),
        project=fields.uuid,
    )
    assert basis_node.uuid in query.all(flat=True)


def test_validation(make_hamiltonian, zincblende):
    """A node without files, or with other files than it says, is not stored."""
    with pytest.raises(ValidationError, match='no elements'):
        BasisData().store()
    node = BasisData.from_basis(make_hamiltonian(zincblende()).basis)
    node.base.attributes.set('content_hash', '0')
    with pytest.raises(ValidationError, match='hash'):
        node.store()
