"""Training in several processes on a cluster."""

from pathlib import Path

import psutil
from aiida import orm
from aiida.engine import submit
from loopback_cluster import wait_until

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain


def find_ranks(folder: Path) -> set[str]:
    """Return the ranks of the processes of torchrun that work in a folder, of those that are two together."""
    ranks = set()
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            if variables.get('WORLD_SIZE') == '2' and Path(process.cwd()).is_relative_to(folder):
                ranks.add(variables['RANK'])
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return ranks


def test_two_processes(cluster, started_daemon_client, submit_and_await, hamlr_code, make_hamiltonian_node):
    """torchrun starts two processes in the job, which train one model together with gloo."""
    nodes = [make_hamiltonian_node(seed=seed) for seed in range(3)]
    dataset = DatasetData.from_nodes({'train': nodes[:2], 'validation': nodes[2:]}).store()
    builder = TrainBaseWorkChain.get_builder_from_protocol(
        hamlr_code,
        dataset,
        protocol='fast',
        overrides={'train': {'parameters': {'training': {'max_epochs': 3, 'device': 'cpu', 'threads': 1}}}},
        options={
            'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1, 'num_cores_per_mpiproc': 2},
            'max_wallclock_seconds': 600,
        },
    )
    builder.train.processes = orm.Int(2)
    node = submit(builder)
    wait_until(lambda: find_ranks(cluster.work) == {'0', '1'} or node.is_terminated, 'two processes train', 600)
    assert not node.is_terminated, node.exit_message
    submit_and_await(node, timeout=600)
    assert node.is_finished_ok, node.exit_message
    assert len(node.outputs.learning_curve.get_array('epoch')) == 3
    assert node.outputs.model.species == ['Al', 'As']
