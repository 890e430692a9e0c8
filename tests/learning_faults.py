"""Faults of the drill that happen to an active learning of two rounds, with models of two seeds and a new element."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
from aiida import orm
from aiida.engine import submit
from aiida.manage import get_manager
from ase.build import bulk
from loopback_cluster import start_daemon, wait_until

from aiida_hamlr.workflows.active_learning import ActiveLearningWorkChain

if TYPE_CHECKING:
    from fault_drill import Drill

#: Longest time in s until the trainings of the second round run, and until the broker answers again.
LIMIT, RESTART_LIMIT = 3000, 300

#: Models of each round.
N_MODELS = 2

TRAIN = 'aiida.calculations:hamlr.train'


def submit_learning(drill: Drill) -> orm.WorkChainNode:
    """Submit an active learning that starts from a model of AlAs; one of the candidates is silicon."""
    structures = {f'c{index}': drill.make_structure() for index in range(4)}
    silicon = bulk('Si', a=5.43)
    silicon.rattle(0.05, seed=1)
    structures['silicon'] = orm.StructureData(ase=silicon)
    orbitals = {'size': 'szp', 'cutoff_radius': 6.0}
    builder = ActiveLearningWorkChain.get_builder_from_protocol(
        drill.codes['pw'],
        drill.codes['hamlr'],
        structures,
        protocol='fast',
        parent_model=drill.make_model(),
        overrides={
            'n_initial': 2,
            'n_validation': 0,
            'n_test': 1,
            'n_per_round': 1,
            'max_rounds': 1,
            'fine_tune': True,
            'reference': {
                'scf': {'pseudo_family': drill.pseudo_family, 'kpoints_distance': 0.8},
                'generate_basis': {'parameters': orbitals},
            },
            'train': {'n_models': N_MODELS, 'train': {'parameters': {'training': {'max_steps': 3}}}},
            'screen': {'predict': {'predict': {'parameters': {'kpoints_distance': 0.8}}}},
        },
        options={'withmpi': False, 'max_wallclock_seconds': 600},
    )
    return submit(builder)


def kill_daemon(drill: Drill) -> orm.WorkChainNode:
    """kill -9 of the daemon, its workers and its broker while the second round trains; then a new daemon."""
    node = submit_learning(drill)
    wait_until(lambda: node.is_terminated or _trains_again(drill, node), 'the second round trains', LIMIT, 0.5)
    if node.is_terminated:
        raise RuntimeError(f'the active learning ended before the fault: {node.exit_message}')
    parent = psutil.Process(drill.client.get_daemon_pid())
    processes = [*parent.children(recursive=True), parent]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, 20)
    start_daemon(drill.client)
    wait_until(_is_reachable, 'the broker answers', RESTART_LIMIT, 2.0)
    return node


def _trains_again(drill: Drill, node: orm.WorkChainNode) -> bool:
    return len(drill.find_jobs(node, TRAIN)) > N_MODELS


def _is_reachable() -> bool:
    """Return whether the broker answers, asked anew: its sockets are others than before it was killed."""
    manager = get_manager()
    manager.reset_broker()
    manager.reset_runner()
    return manager.get_broker().check_service_reachable()


#: Title and cause.
LEARNING_FAULTS = {
    'daemon-killed-learning': ('kill -9 of daemon, workers and broker in an active learning', kill_daemon),
}
