"""What AiiDA itself costs in a study of many references: processor time, nodes and bytes for each structure.

    OMP_NUM_THREADS=1 python benchmarks/high_throughput.py > high_throughput.json

starts the cluster of the tests (sshd, SLURM and PostgreSQL on the loopback device, in a temporary folder; with
``--transport local`` jobs run without sshd and SLURM) and a daemon with two workers, makes the references of 100 cells
of two atoms with one `hamlr.dataset`, at settings as cheap as they can be, and counts: the processor time of the
daemon, its broker and the database, but not that of the jobs; nodes by type; bytes in the repository and the database;
and what is left in the work directory. The exit status is 1 if a reference failed or if files are left there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from ase.build import bulk

# AiiDA reads AIIDA_PATH when it is imported: the benchmark keeps to a configuration of its own.
os.environ['AIIDA_PATH'] = tempfile.mkdtemp(prefix='hamlr-throughput-')
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

from aiida import orm
from aiida.engine import submit
from loopback_cluster import LoopbackCluster, make_codes, make_pseudo_family, started_profile, wait_until

from aiida_hamlr.cli.installation import create_localhost
from aiida_hamlr.workflows.dataset import DatasetWorkChain

PROFILE = 'throughput'


def processor_seconds(pid: int) -> float:
    """Processor time of a process and all its children, also of those that have ended."""
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return sum(entry.user + entry.system + entry.children_user + entry.children_system for entry in times)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())


def count_nodes() -> Counter:
    """Nodes by type; of processes by what they are."""
    query = orm.QueryBuilder().append(orm.Node, project=['node_type', 'process_type'])
    return Counter((process_type or node_type).rsplit(':', 1)[-1].strip('.') for node_type, process_type in query.all())


class Meter:
    """Reads what has been used so far."""

    def __init__(self, cluster: LoopbackCluster, client):
        self.cluster = cluster
        self.pids = {'daemon': client.get_daemon_pid(), 'database': cluster.get_pid('postgres')}
        self.repository = cluster.folder / 'repository'

    def read(self) -> dict:
        """Return processor time in s, nodes, and bytes."""
        return {
            **{f'{name}_cpu_s': processor_seconds(pid) for name, pid in self.pids.items()},
            'nodes': sum(count_nodes().values()),
            'repository_bytes': folder_bytes(self.repository),
            'database_bytes': self.cluster.count_database_bytes(PROFILE),
        }


def make_computer(cluster: LoopbackCluster, transport: str, interval: float) -> orm.Computer:
    """Return the computer that jobs run on: the cluster, or this machine without a scheduler."""
    if transport == 'ssh':
        return cluster.make_computer(interval=interval)
    computer = create_localhost(workdir=cluster.work)
    computer.set_minimum_job_poll_interval(interval)
    computer.configure(safe_interval=interval, use_login_shell=False)
    return computer


def make_builder(codes: dict, family: str, count: int, window: int):
    """Return a dataset of rattled cells of AlAs, with few plane waves, one k-point and the smallest basis."""
    return DatasetWorkChain.get_builder_from_protocol(
        codes['pw'],
        codes['hamlr'],
        {'alas': orm.StructureData(ase=bulk('AlAs', 'zincblende', a=5.66))},
        recipes={'rattled': {'of': ['alas'], 'kind': 'rattle', 'count': count}},
        protocol='fast',
        overrides={
            'max_concurrent': window,
            'reference': {
                'conduction_bands': 4,
                'scf': {'pseudo_family': family, 'kpoints_distance': 2.0},
                'generate_basis': {'parameters': {'size': 'sz', 'cutoff_radius': 6.0}},
            },
        },
        options={'withmpi': False, 'max_wallclock_seconds': 600},
    )


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=100, help='number of structures')
    parser.add_argument('--window', type=int, default=8, help='references at a time')
    parser.add_argument('--interval', type=float, default=5.0, help='s between connections and looks at the queue')
    parser.add_argument('--transport', choices=('ssh', 'local'), default='ssh', help='ssh and SLURM, or neither')
    arguments = parser.parse_args()
    with LoopbackCluster() as cluster, started_profile(cluster, PROFILE) as client:
        family = make_pseudo_family(cluster, 12.0)
        codes = make_codes(make_computer(cluster, arguments.transport, arguments.interval))
        builder = make_builder(codes, family, arguments.count, arguments.window)
        meter, started = Meter(cluster, client), time.monotonic()
        before = meter.read()
        node = submit(builder)
        wait_until(lambda: node.is_terminated, 'the dataset is made', 36000, 1.0)
        wall = time.monotonic() - started
        wait_until(lambda: not cluster.jobs(), 'the queue is empty')
        time.sleep(10)  # Folders are cleaned after the state of a process is known.
        used = {name: value - before[name] for name, value in meter.read().items()}
        used['bytes'] = used['repository_bytes'] + used['database_bytes']
        references = orm.QueryBuilder().append(
            orm.WorkChainNode, filters={'process_type': 'aiida.workflows:hamlr.reference', 'attributes.exit_status': 0}
        )
        left = sorted(str(path.relative_to(cluster.work)) for path in cluster.work.rglob('*') if path.is_file())
        result = {
            'structures': arguments.count,
            'window': arguments.window,
            'interval_s': arguments.interval,
            'transport': arguments.transport,
            'exit_status': node.exit_status,
            'references': references.count(),
            'wall_s': wall,
            'used': used,
            'per_structure': {name: value / arguments.count for name, value in used.items()},
            'nodes_by_type': dict(count_nodes().most_common()),
            'scratch_files_left': left,
        }
    json.dump(result, sys.stdout, indent=2)
    print()
    return int(node.exit_status != 0 or bool(left))


if __name__ == '__main__':
    sys.exit(main())
