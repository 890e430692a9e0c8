"""Tests of the dataset node and of the calculation function that makes it."""

import pytest
from aiida import orm

from aiida_hamlr.calculations.functions.dataset import create_dataset, random_split
from aiida_hamlr.data.dataset import DatasetData


def test_explicit_split(make_hamiltonian_node):
    """The dataset names its Hamiltonians in their order and is linked to them."""
    nodes = {f'h{index}': make_hamiltonian_node(seed=index) for index in range(4)}
    split = {'train': ['h2', 'h0'], 'validation': ['h1'], 'test': ['h3']}
    dataset, process = create_dataset.run_get_node(orm.Dict(split), orm.Int(7), **nodes)
    assert process.is_finished_ok
    assert dataset.get_uuids('train') == [nodes['h2'].uuid, nodes['h0'].uuid]
    assert [node.pk for node in dataset.get_hamiltonians('test')] == [nodes['h3'].pk]
    attributes = dataset.base.attributes.all
    assert (attributes['n_train'], attributes['n_validation'], attributes['n_test']) == (2, 1, 1)
    assert attributes['seed'] == 7
    assert attributes['basis_hash'] == nodes['h0'].base.attributes.get('basis_hash')
    ancestors = orm.QueryBuilder().append(DatasetData, filters={'uuid': dataset.uuid}, tag='d')
    ancestors.append(type(nodes['h0']), with_descendants='d', project='uuid')
    assert set(ancestors.all(flat=True)) == {node.uuid for node in nodes.values()}


def test_random_split(make_hamiltonian_node):
    """Fractions make a random split, the same for the same seed."""
    nodes = {f'h{index}': make_hamiltonian_node(seed=index) for index in range(5)}
    fractions = orm.Dict({'validation': 0.2, 'test': 0.2})
    dataset = create_dataset(fractions, orm.Int(1), **nodes)
    assert dataset.base.attributes.get('n_train') == 3
    again = create_dataset(fractions, orm.Int(1), **nodes)
    assert dataset.base.attributes.get('fingerprint') == again.base.attributes.get('fingerprint')


def test_split_is_a_partition():
    """Every label is in one part, and another seed gives another split."""
    labels = [f'{index:03d}' for index in range(100)]
    parts = random_split(labels, 0.1, 0.2, 3)
    assert sorted(sum(parts.values(), [])) == labels
    assert (len(parts['validation']), len(parts['test'])) == (10, 20)
    assert parts != random_split(labels, 0.1, 0.2, 4)
    with pytest.raises(ValueError, match='too few'):
        random_split(labels[:2], 0.5, 0.5, 0)


@pytest.mark.parametrize(('n', 'expected'), [(3, 1), (7, 1), (8, 2), (10, 2), (30, 3)])
def test_a_tenth_is_never_one_structure_of_many(n, expected):
    """From eight Hamiltonians on, validation and test have at least two each."""
    parts = random_split([f'{index:02d}' for index in range(n)], 0.1, 0.1, 0)
    assert len(parts['validation']) == len(parts['test']) == expected
    assert len(parts['train']) == n - 2 * expected


def test_hash_is_of_the_content(make_hamiltonian_node):
    """Other nodes with the same files make the same dataset for the cache; another split does not."""

    def make(*parts):
        return DatasetData.from_nodes(dict(zip(('train', 'test'), parts, strict=True))).store()

    a, b = make_hamiltonian_node(seed=1), make_hamiltonian_node(seed=2)
    copies = make_hamiltonian_node(seed=1), make_hamiltonian_node(seed=2)
    first, second, third = make([a], [b]), make([copies[0]], [copies[1]]), make([b], [a])
    assert first.base.caching.get_hash() == second.base.caching.get_hash()
    assert first.base.caching.get_hash() != third.base.caching.get_hash()


def test_refused(make_hamiltonian_node):
    """What makes no sense as a dataset is refused with a reason."""
    a, b = make_hamiltonian_node(seed=1), make_hamiltonian_node(seed=2, functional='pbe')
    with pytest.raises(ValueError, match='no Hamiltonians to train on'):
        DatasetData.from_nodes({'test': [a]})
    with pytest.raises(ValueError, match='occurs twice'):
        DatasetData.from_nodes({'train': [a], 'test': [a]})
    with pytest.raises(ValueError, match='different functionals: lda_pz, pbe'):
        DatasetData.from_nodes({'train': [a, b]})
    with pytest.raises(ValueError, match="unknown part 'valid'"):
        DatasetData.from_nodes({'train': [a], 'valid': [b]})
    with pytest.raises(ValueError, match="names 'x'"):
        create_dataset(orm.Dict({'train': ['x']}), orm.Int(0), a=a)
