"""Tests of the basis node."""

from dataclasses import replace

import pytest
from aiida import orm
from aiida.common.exceptions import ValidationError

from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential


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


def test_gain_of_a_contraction(make_hamiltonian, zincblende):
    """What the elements were made with, and the mean of what is known of their errors."""
    gain = {'recipe': 'contracted', 'band_error_occupied_meV': 12.0, 'band_error_occupied_plain_meV': 60.0}
    species = {
        element: replace(species, metadata=species.metadata | gain)
        for element, species in make_hamiltonian(zincblende()).basis.items()
    }
    attributes = BasisData.from_basis(Basis(species)).store().base.attributes.all
    assert attributes['recipe'] == 'contracted'
    assert (attributes['band_error_occupied_meV'], attributes['band_error_occupied_plain_meV']) == (12.0, 60.0)
    assert attributes['band_error_conduction_meV'] is None
    query = orm.QueryBuilder().append(BasisData, filters=BasisData.fields.band_error_occupied_meV < 20.0)
    assert attributes['content_hash'] in [node.content_hash for node in query.all(flat=True)]


def test_files_of_other_codes(write_orb, tmp_path):
    """Orbitals of another code are turned into a basis file, which keeps the name of the original."""
    node = BasisData.from_files([write_orb(tmp_path / 'H_gga_6au.orb')]).store()
    assert node.base.repository.list_object_names() == ['H.basis.h5']
    assert (node.elements, node.base.attributes.get('recipe')) == (['H'], 'imported')
    metadata = node.get_basis()['H'].metadata
    assert (metadata['format'], metadata['file']) == ('ABACUS .orb', 'H_gga_6au.orb')
    with pytest.raises(ValueError, match='known format'):
        BasisData.from_files([tmp_path / 'H.gto'])


def test_figure(make_process_node, pseudos, tmp_path, monkeypatch):
    """The bands are drawn with the pseudopotentials from which a calculation made the orbitals, or with given ones."""
    from aiida.common.links import LinkType

    from aiida_hamlr.electronic.contraction import basis_bands

    monkeypatch.setattr(basis_bands, 'SPACING', 1.0)
    silicon = {'Si': pseudos['Si']}
    read = Pseudopotential.from_text(pseudos['Si'].get_content())
    basis = Basis({'Si': generate_basis(read, 'sz')})
    made = BasisData.from_basis(basis)
    job = make_process_node('hamlr.basis', {}, inputs={'pseudos': silicon})
    made.base.links.add_incoming(job, link_type=LinkType.CREATE, link_label='basis')
    assert made.store().get_pseudos() == silicon
    assert made.plot(tmp_path / 'made.png').read_bytes().startswith(b'\x89PNG')
    given = BasisData.from_basis(basis).store()
    with pytest.raises(ValueError, match='no pseudopotential of Si'):
        given.plot(tmp_path / 'given.png')
    given.plot(tmp_path / 'given.png', silicon)
    assert (tmp_path / 'given.png').read_bytes() == (tmp_path / 'made.png').read_bytes()


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
