"""Predictions of many structures through AiiDA: what AiiDA costs, and what a kill and new structures cost again.

    OMP_NUM_THREADS=1 python benchmarks/screening.py > screening.json

starts the cluster of the tests (sshd, SLURM and PostgreSQL on the loopback device, in a temporary folder) and a daemon
with two workers, makes a group of cells of 8 to 16 atoms of AlAs and GaAs, and predicts their gaps with `hamlr.screen`
and a model of random weights in small orbitals, for the jobs do not count here. When a part of the results is there,
the daemon is killed (SIGKILL to all its processes) and started again. Then ten structures are added to the group and
the same screening runs again. Reported: processor time of the daemon, its broker and the database for each structure,
nodes for each structure, and how often each structure was predicted.

The exit status is 1 if a structure has no result or two, or a figure is beyond its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from ase import Atoms
from ase.build import bulk

# AiiDA reads AIIDA_PATH when it is imported: the benchmark keeps to a configuration of its own.
os.environ['AIIDA_PATH'] = tempfile.mkdtemp(prefix='hamlr-screening-')
os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

from aiida import orm
from aiida.engine import submit
from aiida.manage import get_manager
from high_throughput import count_nodes, make_computer, processor_seconds
from loopback_cluster import LoopbackCluster, make_codes, started_profile, wait_until

from aiida_hamlr.data.model import ModelData
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.files import write_model
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.workflows.screen import ScreenWorkChain

PROFILE = 'screening'

#: Largest processor time of AiiDA, s, and number of nodes for each structure.
CPU_LIMIT, NODES_LIMIT = 0.05, 3.0

ELEMENTS = ('Al', 'Ga', 'As')

#: Structures that are added to the group after the first screening.
N_ADDED = 10


def make_model(folder: Path, size: str, radius: float) -> ModelData:
    """Return a model of random weights, which predicts H0 and costs what a trained one costs."""
    pseudos = {element: make_pseudopotential(element) for element in ELEMENTS}
    basis = Basis({element: generate_basis(pseudo, size, radius) for element, pseudo in pseudos.items()})
    shells = {element: list(species.angular_momenta) for element, species in basis.items()}
    model = HamiltonianModel(shells, ModelConfig(variant='lr'), 6.5, 28.0)
    texts = {element: pseudo.text for element, pseudo in pseudos.items()}
    write_model(folder, model, model.state_dict(), basis, texts, {'functional': 'lda', 'ecutrho_Ry': 30.0})
    return ModelData.from_folder(folder).store()


def make_cell(seed: int) -> Atoms:
    """Return a rattled alloy of 8, 12 or 16 atoms."""
    random = np.random.default_rng(seed)
    if seed % 3 == 1:
        atoms = bulk('AlAs', 'zincblende', a=5.66).repeat((1, 2, 3))
    else:
        atoms = bulk('AlAs', 'zincblende', a=5.66, cubic=True).repeat((1, 1, 1 + seed % 3 // 2))
    symbols = np.array(atoms.get_chemical_symbols())
    symbols[(symbols == 'Al') & (random.random(len(atoms)) < 0.5)] = 'Ga'
    atoms.set_chemical_symbols(symbols.tolist())
    atoms.rattle(0.05, rng=random)
    return atoms


def add_structures(group: orm.Group, seeds):
    """Store structures and put them into the group."""
    nodes = [orm.StructureData(ase=make_cell(seed)).store() for seed in seeds]
    group.add_nodes(nodes)


def count_predictions() -> Counter:
    """Return how many results each structure has, by primary key."""
    query = orm.QueryBuilder().append(orm.StructureData, project='id', tag='structure')
    query.append(orm.CalcJobNode, with_incoming='structure', edge_project='label', project='id', tag='job')
    jobs = {(job, label.removeprefix('structures__')): structure for structure, job, label in query.iterall()}
    query = orm.QueryBuilder().append(orm.CalcJobNode, project='id', tag='job')
    query.append(orm.Dict, with_incoming='job', edge_filters={'label': {'like': 'results%'}}, edge_project='label')
    return Counter(jobs[job, label.removeprefix('results__')] for job, label in query.iterall())


def kill_daemon(client) -> float:
    """Kill the daemon, its workers and its broker at once; return the processor time that they had used, s."""
    parent = psutil.Process(client.get_daemon_pid())
    used, processes = processor_seconds(parent.pid), [*parent.children(recursive=True), parent]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, 20)
    return used


def is_reachable() -> bool:
    """Return whether the broker answers, asked anew: its sockets are others than before it was killed."""
    manager = get_manager()
    manager.reset_broker()
    manager.reset_runner()
    return manager.get_broker().check_service_reachable()


def screen(builder, client, arguments, database: int) -> tuple[dict, orm.WorkChainNode]:
    """Run a screening; return what it cost."""
    before = {'nodes': sum(count_nodes().values()), 'database': processor_seconds(database)}
    daemon, started = processor_seconds(client.get_daemon_pid()), time.monotonic()
    node, used = submit(builder), -daemon
    if arguments.kill_at is not None:
        wanted = arguments.kill_at * arguments.count
        wait_until(lambda: count_predictions().total() >= wanted or node.is_terminated, 'results', 3600, 0.5)
        used += kill_daemon(client)
        client.start_daemon(number_workers=2)
        wait_until(is_reachable, 'the broker starts again', 300, 2.0)
    wait_until(lambda: node.is_terminated, 'the screening ends', 36000, 0.5)
    used += processor_seconds(client.get_daemon_pid())
    return {
        'exit_status': node.exit_status,
        'wall_s': time.monotonic() - started,
        'daemon_cpu_s': used,
        'database_cpu_s': processor_seconds(database) - before['database'],
        'nodes': sum(count_nodes().values()) - before['nodes'],
        'jobs': len([job for job in node.called_descendants if isinstance(job, orm.CalcJobNode)]),
    }, node


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=1000, help='number of structures')
    parser.add_argument('--batch-size', type=int, default=100, help='structures of a job')
    parser.add_argument('--window', type=int, default=2, help='jobs at a time')
    parser.add_argument('--interval', type=float, default=5.0, help='s between connections and looks at the queue')
    parser.add_argument('--transport', choices=('ssh', 'local'), default='ssh', help='ssh and SLURM, or neither')
    parser.add_argument('--kill-at', type=float, default=0.3, help='part of the results at which the daemon is killed')
    parser.add_argument('--no-kill', dest='kill_at', action='store_const', const=None)
    parser.add_argument('--size', default='sz', help='orbitals of the model')
    parser.add_argument('--radius', type=float, default=5.0, help='of the orbitals, bohr')
    arguments = parser.parse_args()
    settings = dict(vars(arguments))
    with LoopbackCluster() as cluster, started_profile(cluster, PROFILE) as client:
        codes = make_codes(make_computer(cluster, arguments.transport, arguments.interval))
        model = make_model(cluster.folder / 'model', arguments.size, arguments.radius)
        group = orm.Group(label='alloys').store()
        add_structures(group, range(arguments.count))
        builder = ScreenWorkChain.get_builder_from_protocol(
            codes['hamlr'],
            model,
            group,
            protocol='fast',
            overrides={'batch_size': arguments.batch_size, 'max_concurrent': arguments.window},
            options={'max_wallclock_seconds': 3600},
        )
        database = cluster.get_pid('postgres')
        first, node = screen(builder, client, arguments, database)
        rows = node.outputs.results.get_content().count('\n') - 1 if 'results' in node.outputs else 0
        predicted = count_predictions()
        times = [
            job.outputs.output_parameters['cpu_s']
            for job in node.called_descendants
            if isinstance(job, orm.CalcJobNode)
        ]
        add_structures(group, range(arguments.count, arguments.count + N_ADDED))
        arguments.kill_at = None
        second, _ = screen(builder, client, arguments, database)
        again = count_predictions()
        cpu = (first['daemon_cpu_s'] + first['database_cpu_s']) / arguments.count
        nodes = 1 + first['nodes'] / arguments.count
        checks = {
            'all_have_a_result': len(predicted) == rows == arguments.count and first['exit_status'] == 0,
            'none_has_two': max(predicted.values()) == 1,
            'only_new_ones_the_second_time': again.total() == len(again) == arguments.count + N_ADDED,
            'cpu_s_per_structure': cpu <= CPU_LIMIT,
            'nodes_per_structure': nodes <= NODES_LIMIT,
        }
        result = {
            'settings': settings,
            'first': first,
            'jobs_cpu_s_per_structure': sum(times) / arguments.count,
            'aiida_cpu_s_per_structure': cpu,
            'nodes_per_structure': nodes,
            'second': second,
            'checks': checks,
            'nodes_by_type': dict(count_nodes().most_common()),
        }
    json.dump(result, sys.stdout, indent=2)
    print()
    return int(not all(checks.values()))


if __name__ == '__main__':
    sys.exit(main())
