"""`aiida-hamlr dataset`."""

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
