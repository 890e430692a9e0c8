"""`aiida-hamlr dataset`."""

import numpy as np
from aiida import orm

from aiida_hamlr.cli.dataset import cmd_dataset
from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.files import file_sha256
from aiida_hamlr.io.exchange import FORMATS
from aiida_hamlr.jobs.config import load_config
from aiida_hamlr.jobs.schemas import TrainConfig


def test_show(invoke, make_hamiltonian_node):
    """Each part has its statistics; parts without Hamiltonians are left out."""
    nodes = [make_hamiltonian_node(seed=seed) for seed in (60, 61, 62)]
    dataset = DatasetData.from_nodes({'train': nodes[:2], 'test': nodes[2:]}).store()
    result = invoke(cmd_dataset, 'show', dataset.pk)
    assert result.exit_code == 0, result.output
    assert result.output.count('mean |H - H0|') == 2
    assert 'train:' in result.output and 'validation:' not in result.output
    assert '2 structures of' in result.output


def test_list_compare_and_plot(invoke, make_hamiltonian_node, tmp_path):
    """Datasets stand side by side with what they share; a structure on both sides of a split is pointed out."""
    nodes = [make_hamiltonian_node(seed=seed, gap=1.0 + seed / 100) for seed in (63, 64, 65)]
    first = DatasetData.from_nodes({'train': nodes[:2], 'test': nodes[2:]}).store()
    second = DatasetData.from_nodes({'train': nodes[1:], 'test': nodes[:1]}).store()
    assert str(first.pk) in invoke(cmd_dataset, 'list').output
    result = invoke(cmd_dataset, 'compare', first.pk, second.pk)
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert rows['basis_hash'].endswith('equal') and not rows['fingerprint'].endswith('equal')
    assert 'share: 1 train, 0 validation, 0 test' in result.output
    assert '2 Hamiltonians are for training in one of them' in ' '.join(result.output.split())
    result = invoke(cmd_dataset, 'plot', first.pk, '-o', tmp_path / 'gaps.svg')
    assert result.exit_code == 0 and (tmp_path / 'gaps.svg').is_file()


def test_export(invoke, make_hamiltonian_node, tmp_path):
    """The exported files are those that a training without AiiDA reads, or another program; nothing is overwritten."""
    nodes = [make_hamiltonian_node(seed=seed) for seed in (67, 68, 69)]
    dataset = DatasetData.from_nodes({'train': nodes[:2], 'test': nodes[2:]}).store()
    result = invoke(cmd_dataset, 'export', dataset.pk, '-o', tmp_path / 'data')
    assert result.exit_code == 0 and 'wrote 2 train, 1 test' in result.output
    config = load_config(tmp_path / 'data/train.yaml', TrainConfig)
    assert config.data.validation == []
    for pattern, expected in ((config.data.train, nodes[:2]), (config.data.test, nodes[2:])):
        [written] = [sorted((tmp_path / 'data').glob(name)) for name in pattern]
        assert [file_sha256(path) for path in written] == [node.base.attributes.get('sha256') for node in expected]
    again = invoke(cmd_dataset, 'export', dataset.pk, '-o', tmp_path / 'data')
    assert again.exit_code != 0 and 'there are files in it' in ' '.join(again.output.split())
    result = invoke(cmd_dataset, 'export', dataset.pk, '--format', 'deepx', '-o', tmp_path / 'deepx')
    assert result.exit_code == 0, result.output
    found = FORMATS['deepx'].read(tmp_path / 'deepx/test').to_hamiltonian()
    kpoints = np.array([[0.1, 0.2, 0.3]])
    np.testing.assert_allclose(eigenvalues(found, kpoints), eigenvalues(nodes[2].open(), kpoints), atol=1e-9)


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
