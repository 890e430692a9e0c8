"""Tests of Hamiltonian nodes whose file stays on a computer."""

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import ValidationError

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.remote import find_gone
from aiida_hamlr.electronic.matrices.description import description_path


def path_of(node) -> Path:
    """Return where the file of a node lies."""
    return Path(node.base.attributes.get('remote_path'))


def test_only_a_description_is_stored(make_remote_hamiltonian, make_hamiltonian_node):
    """Every attribute to query for is as in the repository, and the matrices are not in the repository."""
    remote, local = (make(seed=3, gap=1.5) for make in (make_remote_hamiltonian, make_hamiltonian_node))
    places = ('storage', 'remote_path')
    attributes = [
        {key: value for key, value in node.base.attributes.all.items() if key not in places} for node in (remote, local)
    ]
    assert attributes[0] == attributes[1]
    assert remote.base.attributes.get('storage') == 'remote'
    assert remote.base.repository.list_object_names() == ['hamiltonian.h5.json']
    fields = HamiltonianData.fields
    query = orm.QueryBuilder().append(
        HamiltonianData, filters=(fields.storage == 'remote') & (fields.gap > 1.0), project=[fields.pk]
    )
    assert [remote.pk] in query.all()


def test_reading_fetches(make_remote_hamiltonian, make_hamiltonian_node, tmp_path):
    """The matrices and the file come through the transport; the structure needs no connection."""
    remote, local = (make(seed=4) for make in (make_remote_hamiltonian, make_hamiltonian_node))
    np.testing.assert_array_equal(remote.open().hamiltonian, local.open().hamiltonian)
    remote.export(tmp_path / 'copy.h5')
    assert (tmp_path / 'copy.h5').read_bytes() == path_of(remote).read_bytes()
    path_of(remote).unlink()
    np.testing.assert_array_equal(remote.get_structure().get_ase().positions, local.get_structure().get_ase().positions)


def test_gone(make_remote_hamiltonian):
    """A file that is gone is said to be so, with its place."""
    kept, gone = (make_remote_hamiltonian(seed=seed) for seed in (5, 6))
    assert find_gone([kept, gone]) == []
    path_of(gone).unlink()
    assert find_gone([kept, gone]) == [gone]
    with pytest.raises(ValueError, match=f'<{gone.pk}>: {path_of(gone)} on localhost: the file is gone'):
        gone.open()


def test_another_file(make_remote_hamiltonian):
    """A valid Hamiltonian file that is not the one that the node was made of is refused."""
    node, other = (make_remote_hamiltonian(seed=seed) for seed in (7, 8))
    path_of(node).write_bytes(path_of(other).read_bytes())
    with pytest.raises(ValueError, match='not the file that the node was created from'):
        node.open()
    path_of(node).write_bytes(b'')
    assert find_gone([node]) == [node]


def test_unreachable(make_remote_hamiltonian, monkeypatch):
    """Of a computer that cannot be reached it is not known that files are gone; reading says what is the matter."""
    node = make_remote_hamiltonian(seed=9)

    def refuse(*_):
        raise OSError('connection refused')

    monkeypatch.setattr('aiida.transports.plugins.local.LocalTransport.open', refuse)
    assert find_gone([node]) == []
    with pytest.raises(ValueError, match='cannot be fetched: connection refused'):
        node.open()


def test_validation(make_remote_hamiltonian, localhost):
    """A description that does not fit, a relative path and a node without a computer are refused."""
    path = path_of(make_remote_hamiltonian(seed=10))
    with pytest.raises(ValueError, match='not an absolute path'):
        HamiltonianData.from_remote(description_path(path), localhost, 'hamiltonian.h5')
    node = HamiltonianData.from_remote(description_path(path), localhost, path)
    node.base.attributes.set('n_pairs', 1)
    with pytest.raises(ValidationError, match='n_pairs is 1'):
        node.store()
    with pytest.raises(ValidationError, match='needs the computer'):
        HamiltonianData.from_remote(description_path(path), None, path).store()


def test_dataset(make_remote_hamiltonian, make_hamiltonian_node):
    """A dataset needs none of the files, and is that of the same files in the repository."""
    remote = [make_remote_hamiltonian(seed=seed) for seed in (11, 12)]
    for node in remote:
        path_of(node).unlink()
    local = [make_hamiltonian_node(seed=seed) for seed in (11, 12)]
    datasets = [DatasetData.from_nodes({'train': part[:1], 'test': part[1:]}).store() for part in (remote, local)]
    for name in ('fingerprint', 'basis_hash'):
        assert datasets[0].base.attributes.get(name) == datasets[1].base.attributes.get(name)
    assert datasets[0].get_remote() == remote
    assert datasets[1].get_remote() == []
