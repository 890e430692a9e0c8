"""`aiida-hamlr dataset`."""

from aiida import orm

from aiida_hamlr.cli.dataset import cmd_dataset
from aiida_hamlr.data.dataset import DatasetData


def test_show(invoke, make_hamiltonian_node):
    """Each part has its statistics; parts without Hamiltonians are left out."""
    nodes = [make_hamiltonian_node(seed=seed) for seed in (60, 61, 62)]
    dataset = DatasetData.from_nodes({'train': nodes[:2], 'test': nodes[2:]}).store()
    result = invoke(cmd_dataset, 'show', dataset.pk)
    assert result.exit_code == 0, result.output
    assert result.output.count('mean |H - H0|') == 2
    assert 'train:' in result.output and 'validation:' not in result.output
    assert '2 structures of' in result.output


def test_copy_without(invoke, make_hamiltonian_node):
    """One Hamiltonian is left out, the others stay in their parts; one of another dataset is refused."""
    nodes = [make_hamiltonian_node(seed=seed) for seed in (63, 64, 65, 66)]
    split = {'train': nodes[:2], 'validation': nodes[2:3], 'test': nodes[3:]}
    dataset = DatasetData.from_nodes(split, seed=7, failures={'s9': 'not converged'}).store()
    result = invoke(cmd_dataset, 'copy', dataset.pk, '--without', nodes[1].pk)
    assert result.exit_code == 0, result.output
    assert '1 train, 1 validation, 1 test' in result.output
    copy = orm.load_node(int(result.output.split('dataset ')[1].split(':')[0]))
    assert [copy.get_uuids(part) for part in ('train', 'validation', 'test')] == [
        [nodes[0].uuid],
        [nodes[2].uuid],
        [nodes[3].uuid],
    ]
    assert copy.base.attributes.get('failures') == {'s9': 'not converged'} and copy.base.attributes.get('seed') == 7
    assert {node.uuid for node in copy.creator.base.links.get_incoming().all_nodes()} >= {nodes[0].uuid, nodes[3].uuid}
    foreign = invoke(cmd_dataset, 'copy', copy.pk, '--without', nodes[1].pk)
    assert foreign.exit_code != 0 and f'node {nodes[1].pk} is not in dataset {copy.pk}' in foreign.output
    nothing = invoke(cmd_dataset, 'copy', copy.pk, '--without', nodes[0].pk)
    assert nothing.exit_code != 0 and 'no Hamiltonians to train on' in nothing.output
