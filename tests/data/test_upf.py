"""UPF nodes whose valence is no integer."""

import io

import pytest
from aiida import orm
from aiida.plugins import DataFactory
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_hamlr.calculations.validation import validate_pseudos
from aiida_hamlr.data.upf import FractionalUpfData, create_upf
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential


@pytest.fixture
def upf():
    """Return a function that makes the bytes of a hydrogen of some charge."""
    return lambda charge: make_pseudopotential('H', charge).text.encode()


def test_fractional_valence(aiida_profile, upf):
    """aiida-pseudo refuses the file; this node is a UPF node to all others, and is found again by its content."""
    with pytest.raises(ValueError, match='integer'):
        UpfData(io.BytesIO(upf(1.25)), filename='H.upf')
    node = create_upf(io.BytesIO(upf(1.25)), 'H.upf').store()
    assert type(node) is FractionalUpfData and isinstance(node, UpfData)
    assert (node.element, node.z_valence) == ('H', 1.25)
    assert DataFactory('hamlr.upf') is FractionalUpfData
    loaded = orm.load_node(node.pk)
    assert type(loaded) is FractionalUpfData and loaded.get_content().encode() == upf(1.25)
    assert create_upf(io.BytesIO(upf(1.25)), 'H.upf').pk == node.pk
    assert node.base.caching.get_hash() != create_upf(io.BytesIO(upf(0.75))).store().base.caching.get_hash()
    assert node.base.caching.get_hash() == node.clone().store().base.caching.get_hash()


def test_integer_valence_is_that_of_aiida_pseudo(aiida_profile, upf):
    node = create_upf(io.BytesIO(upf(None)), 'H.upf')
    assert type(node) is UpfData and node.z_valence == 1


def test_damaged_file_is_refused(aiida_profile):
    with pytest.raises(ValueError, match='UPF'):
        create_upf(io.BytesIO(b'nothing'), 'H.upf')


def test_pseudopotentials_by_species(aiida_profile, upf):
    nodes = {'H1': create_upf(io.BytesIO(upf(1.25)), 'H.upf'), 'H': create_upf(io.BytesIO(upf(None)), 'b.upf')}
    assert validate_pseudos(nodes, None) is None
    assert 'given for He1 is one of H (H.upf)' in validate_pseudos({'He1': nodes['H1']}, None)
    assert 'write H1' in validate_pseudos({'h1': nodes['H1']}, None)
