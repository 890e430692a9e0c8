"""What becomes of the work chains when a cluster misbehaves: every fault is caused for real, on a loopback cluster.

    python tests/fault_drill.py --json drill.json

starts sshd, SLURM and PostgreSQL in a temporary folder (see `loopback_cluster`) and a daemon with two workers, causes
one fault after the other while references or a training run, and prints a table: how the work chain ended, whether a
process was left excepted, paused or unfinished, and whether a reference that was finished was computed again. The exit
status is 1 if a fault was not survived. ``--fault NAME``, which may be repeated, selects some. Those of a file system
that is full need root. What happens to files while a job runs is in `file_faults`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil
from ase.build import bulk

if __name__ == '__main__':
    # AiiDA reads AIIDA_PATH when it is imported: the drill keeps to a configuration of its own.
    os.environ['AIIDA_PATH'] = tempfile.mkdtemp(prefix='hamlr-drill-')

from aiida import orm
from aiida.common import timezone
from aiida.engine import ProcessState, submit
from aiida.engine.processes.control import get_active_processes, kill_processes, revive_processes
from file_faults import FILE_FAULTS
from loopback_cluster import (
    LoopbackCluster,
    make_codes,
    make_pseudo_family,
    start_daemon,
    started_profile,
    wait_until,
)

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.workflows.dataset import DatasetWorkChain
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain

PW = 'aiida.calculations:quantumespresso.pw'
RECONSTRUCT = 'aiida.calculations:hamlr.reconstruct'
TRAIN = 'aiida.calculations:hamlr.train'
#: Longest time in s for what a fault waits for, and for the end of its work chain.
PATIENCE, LIMIT = 600, 1500
#: A process that is in the state Created for longer has no task any more.
LOST = timedelta(seconds=120)


@dataclass
class Result:
    """What became of a work chain."""

    fault: str
    process: str
    exit_status: int | None
    exit_message: str
    is_documented: bool
    is_told: bool
    excepted: list[str]
    stuck: list[str]
    computed_twice: list[str]
    excused: str
    jobs: dict[str, int]
    seconds: float
    passed: bool = field(init=False)

    def __post_init__(self):
        excepted = [text for text in self.excepted if not (self.excused and text.startswith(self.excused))]
        self.passed = self.is_documented and self.is_told and not (excepted or self.stuck or self.computed_twice)

    def as_row(self) -> str:
        """Return a row of the table."""
        jobs = ', '.join(f'{number} {name.rsplit(".", 1)[-1]}' for name, number in sorted(self.jobs.items()))
        left = ', '.join(self.excepted + self.stuck) or 'none'
        end = 'finished' if self.exit_status == 0 else f'exit code {self.exit_status}: {self.exit_message}'
        return (
            f'| {self.fault} | {end} | {jobs} | {left} | {len(self.computed_twice)} | {self.seconds:.0f} | '
            f'{"yes" if self.passed else "NO"} |'
        )


HEADER = (
    '| fault | the work chain | jobs | excepted or stuck | references computed twice | s | survived |\n'
    '|---|---|---|---|---|---|---|'
)


class Drill:
    """Causes faults on a cluster while work chains run there."""

    def __init__(self, cluster: LoopbackCluster, client, pseudo_family: str):
        self.cluster = cluster
        self.client = client
        self.pseudo_family = pseudo_family
        self.codes = make_codes(cluster.make_computer('drill'))
        self._seed = 0
        self._dataset: DatasetData | None = None
        self._model: ModelData | None = None
        #: Runs whose files were deleted before anything came of them.
        self._lost: set[int] = set()
        self._revived: set[int] = set()

    def run(self, fault: str) -> Result:
        """Cause a fault and say what became of the work chain."""
        self.make_dataset()
        first = orm.QueryBuilder().append(orm.Node, project='id').order_by({orm.Node: {'id': 'desc'}}).first(flat=True)
        started = time.monotonic()
        node = FAULTS[fault].cause(self)
        with contextlib.suppress(RuntimeError):
            wait_until(lambda: self._has_ended(node, first), 'the work chain ends', LIMIT, 0.5)
            # What it called to clean up, or what it does not wait for.
            wait_until(lambda: not self._find_stuck(first), 'all processes end', 60, 0.5)
        result = self._judge(fault, node, first, time.monotonic() - started)
        kill_processes(get_active_processes(), force_kill=True, timeout=20) if get_active_processes() else None
        return result

    def _has_ended(self, node: orm.ProcessNode, first: int) -> bool:
        """Return whether a work chain has ended; revive what a stopping daemon created without handing it to a broker.

        aiida-core stores a process before it sends the task. A daemon that stops in between leaves it in the state
        Created for ever, until ``verdi process repair`` makes the task again, see robustness.md.
        """
        lost = [
            process
            for process in self._find_stuck(first)
            if process.process_state == ProcessState.CREATED and timezone.delta(process.ctime) > LOST
        ]
        if lost and not self._revived.issuperset(process.pk for process in lost):
            self._revived.update(process.pk for process in lost)
            print(f'revived: {", ".join(process.process_label for process in lost)}')
            revive_processes(lost)
        return node.is_terminated

    def _find_processes(self, first: int) -> list[orm.ProcessNode]:
        return orm.QueryBuilder().append(orm.ProcessNode, filters={'id': {'>': first}}).all(flat=True)

    def _find_stuck(self, first: int) -> list[orm.ProcessNode]:
        # One that is paused has not ended either.
        return [node for node in self._find_processes(first) if not node.is_terminated]

    def _judge(self, fault: str, node: orm.WorkChainNode, first: int, seconds: float) -> Result:
        processes = self._find_processes(first)
        finished = Counter(
            process.inputs.structure.uuid
            for process in processes
            if process.process_type == PW
            and process.is_finished_ok
            and not process.base.caching.is_created_from_cache
            and process.pk not in self._lost
        )
        return Result(
            fault=FAULTS[fault].title,
            process=node.process_label,
            exit_status=node.exit_status,
            exit_message=node.exit_message or '',
            is_documented=node.is_finished
            and node.exit_status in {code.status for code in node.process_class.spec().exit_codes.values()} | {0},
            is_told=FAULTS[fault].says in '\n'.join(self._find_messages(processes)),
            excepted=[f'{process.process_label}: {process.exception}' for process in processes if process.is_excepted],
            stuck=[f'{process.process_label}: {process.process_status}' for process in self._find_stuck(first)],
            excused=FAULTS[fault].excused,
            computed_twice=[uuid for uuid, number in finished.items() if number > 1],
            jobs=dict(Counter(node.process_type for node in processes if isinstance(node, orm.CalcJobNode))),
            seconds=seconds,
        )

    @staticmethod
    def _find_messages(processes: list[orm.ProcessNode]) -> Iterator[str]:
        """Return what processes and executables said."""
        for process in processes:
            yield process.exit_message or ''
            if isinstance(process, orm.CalcJobNode) and 'retrieved' in process.outputs:
                files = process.outputs.retrieved.base.repository
                if 'hamlr.out' in files.list_object_names():
                    yield files.get_object_content('hamlr.out', mode='rb').decode(errors='replace')

    # What runs while a fault is caused.

    def submit_dataset(
        self, count: int = 3, structures=None, codes=None, generates_basis: bool = False, **inputs
    ) -> orm.WorkChainNode:
        """Submit the references of rattled AlAs, new for each fault; by pp.x if there is a code of it."""
        if structures is None:
            structures = {f's{index}': self.make_structure() for index in range(count)}
        codes = codes or self.codes
        builder = DatasetWorkChain.get_builder_from_protocol(
            codes['pw'],
            codes['hamlr'],
            structures,
            protocol='fast',
            overrides={
                'max_concurrent': 2,
                'split': {'validation': 1 / len(structures), 'test': 0.0},
                'reference': {
                    'scf': {
                        'pseudo_family': self.pseudo_family,
                        'kpoints_distance': 0.8,
                        'max_iterations': 2,
                        'pw': {'parameters': {'ELECTRONS': {'electron_maxstep': 40}}},
                    },
                    'generate_basis': {'parameters': {'size': 'szp', 'cutoff_radius': 6.0}},
                },
            },
            options={'withmpi': False, 'max_wallclock_seconds': 600},
            basis=None if generates_basis else self._dataset and self._dataset.creator.caller.outputs.basis,
            pp_code=codes.get('pp'),
        )
        for name, value in inputs.items():
            builder[name] = value
        if 'max_paused_seconds' in inputs:
            builder.reference.max_paused_seconds = inputs['max_paused_seconds']
        return submit(builder)

    def make_structure(self, lattice_constant: float = 5.66) -> orm.StructureData:
        """Return AlAs, rattled in another way each time."""
        self._seed += 1
        atoms = bulk('AlAs', 'zincblende', a=lattice_constant)
        atoms.rattle(0.05, seed=self._seed)
        return orm.StructureData(ase=atoms)

    def make_dataset(self):
        """Make what to train on, once."""
        if self._dataset is None:
            node = self.submit_dataset(2)
            wait_until(lambda: node.is_terminated, 'there is a dataset', PATIENCE, 0.5)
            if not node.is_finished_ok:
                raise RuntimeError(f'no dataset to train on: {node.exit_message}')
            self._dataset = node.outputs.dataset

    def make_model(self):
        """Make what to predict with, once."""
        if self._model is None:
            node = self.submit_training(1, waits=False)
            wait_until(lambda: node.is_terminated, 'there is a model', PATIENCE, 0.5)
            if not node.is_finished_ok:
                raise RuntimeError(f'no model to predict with: {node.exit_message}')
            self._model = node.outputs.model

    def submit_prediction(self, code: orm.Code) -> orm.WorkChainNode:
        """Submit the prediction of a structure."""
        self.make_model()
        options = {'max_wallclock_seconds': 600}
        builder = PredictBaseWorkChain.get_builder_from_protocol(
            code, self._model, {'s': self.make_structure()}, protocol='fast', options=options
        )
        return submit(builder)

    def submit_training(
        self, max_epochs: int = 400, walltime: int = 600, code: orm.Code | None = None, waits: bool = True
    ) -> orm.WorkChainNode:
        """Submit a training, and wait for its first checkpoints."""
        training = {'max_epochs': max_epochs, 'device': 'cpu', 'threads': 1, 'validate_every': 5}
        builder = TrainBaseWorkChain.get_builder_from_protocol(
            code or self.codes['hamlr'],
            self._dataset,
            protocol='fast',
            overrides={'train': {'parameters': {'training': training}}},
            options={'max_wallclock_seconds': walltime},
        )
        node = submit(builder)
        if not waits:
            return node
        wait_until(lambda: node.is_terminated or self.find_checkpoints(node), 'there are checkpoints', PATIENCE)
        if node.is_terminated:
            raise RuntimeError(f'the training ended before the fault: {node.exit_message}')
        return node

    @staticmethod
    def find_checkpoints(node: orm.WorkChainNode) -> list[Path]:
        """Return the checkpoints of a training, of the last and of the best epoch, if both are there."""
        folders = [Path(job.get_remote_workdir()) for job in node.called if job.get_remote_workdir()]
        for folder in folders:
            found = [folder / f'run/checkpoints/{name}.ckpt' for name in ('last', 'best')]
            if all(path.exists() for path in found):
                return found
        return []

    def find_jobs(self, node: orm.WorkChainNode, process_type: str) -> list[orm.CalcJobNode]:
        """Return the jobs of a type that a work chain has called so far."""
        return [job for job in node.called_descendants if job.process_type == process_type]

    def wait_for_finished(self, node: orm.WorkChainNode, process_type: str, count: int = 1):
        """Wait until so many jobs are finished."""
        wait_until(
            lambda: sum(job.is_finished for job in self.find_jobs(node, process_type)) >= count,
            f'{count} jobs of type {process_type} end',
            PATIENCE,
        )

    def wait_for_running(self, node: orm.WorkChainNode, process_type: str) -> orm.CalcJobNode:
        """Return a job that is in the queue or runs."""
        found = []

        def look():
            queue = self.cluster.jobs()
            found[:] = [job for job in self.find_jobs(node, process_type) if job.get_job_id() in queue]
            return bool(found)

        wait_until(look, f'a job of type {process_type} runs', PATIENCE)
        return found[0]

    def signal_training(self, number: int):
        """Send a signal to the processes of the training."""
        found = [
            process
            for process in psutil.process_iter(['cmdline', 'cwd'])
            if 'train.yaml' in ' '.join(process.info['cmdline'] or ())
            and Path(process.info['cwd'] or '/').is_relative_to(self.cluster.work)
        ]
        if not found:
            raise RuntimeError('there is no process of the training')
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    # The faults.

    def kill_training(self) -> orm.WorkChainNode:
        """kill -9."""
        node = self.submit_training()
        self.signal_training(signal.SIGKILL)
        return node

    def exceed_walltime(self) -> orm.WorkChainNode:
        """A training that hangs cannot stop in order before its wall-time is over: SLURM ends it."""
        node = self.submit_training(walltime=120)
        self.signal_training(signal.SIGSTOP)
        return node

    def cancel_training(self) -> orm.WorkChainNode:
        """Scancel of a training."""
        node = self.submit_training()
        self.cluster.run('scancel', self.wait_for_running(node, TRAIN).get_job_id())
        return node

    def cancel_reference(self) -> orm.WorkChainNode:
        """Scancel of one of the pw.x runs."""
        node = self.submit_dataset(max_failures=orm.Int(1))
        self.cluster.run('scancel', self.wait_for_running(node, PW).get_job_id())
        return node

    def restart_daemon(self) -> orm.WorkChainNode:
        """The daemon is stopped in order, and started after some time."""
        node = self.submit_dataset()
        self.wait_for_finished(node, RECONSTRUCT)
        self.client.stop_daemon(wait=True, timeout=60)
        time.sleep(10)
        start_daemon(self.client)
        return node

    def kill_workers(self) -> orm.WorkChainNode:
        """kill -9 of both workers of the daemon; the daemon starts others."""
        node = self.submit_dataset()
        self.wait_for_finished(node, RECONSTRUCT)
        for pid in self.client.get_worker_info()['info']:
            os.kill(int(pid), signal.SIGKILL)
        return node

    def stop_sshd(self) -> orm.WorkChainNode:
        """The login node is gone for a minute."""
        node = self.submit_dataset()
        self.wait_for_finished(node, PW)
        self.cluster.stop_sshd()
        time.sleep(60)
        self.cluster.start_sshd()
        return node

    def fill_disk(self) -> orm.WorkChainNode:
        """The file system of the work directories is full, and stays so."""
        with self.mount_small() as (codes, fill, _):
            # Killed as soon as the engine has given up, not after days.
            node = self.submit_dataset(codes=codes, max_paused_seconds=0)
            self.wait_for_finished(node, RECONSTRUCT)
            fill()
            wait_until(lambda: node.is_terminated, 'the work chain ends', LIMIT, 0.5)
        return node

    def fill_disk_for_a_time(self) -> orm.WorkChainNode:
        """The file system is full for eight minutes, longer than the engine repeats an upload."""
        with self.mount_small() as (codes, fill, free):
            node = self.submit_dataset(codes=codes, max_failures=orm.Int(2))
            self.wait_for_finished(node, RECONSTRUCT)
            fill()
            time.sleep(480)
            free()
            wait_until(lambda: node.is_terminated, 'the work chain ends', LIMIT, 0.5)
        return node

    @contextlib.contextmanager
    def mount_small(self):
        """Mount a file system of 100 MB; return codes that work on it, and functions that fill and free it."""
        self._seed += 1
        folder = self.cluster.folder / f'small{self._seed}'
        folder.mkdir()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=100m', 'tmpfs', folder], check=True)
        ballast, is_free = folder / 'ballast', threading.Event()

        def fill():
            threading.Thread(target=keep_full, args=(ballast, is_free), daemon=True).start()

        def free():
            is_free.set()
            ballast.unlink()

        try:
            computer = self.cluster.make_computer(folder.name, folder / 'work')
            (folder / 'work').mkdir()
            yield make_codes(computer), fill, free
        finally:
            is_free.set()
            subprocess.run(['umount', '--lazy', folder], check=True)

    def add_unconverged(self) -> orm.WorkChainNode:
        """One of ten structures has so long bonds that its levels are degenerate: fixed occupations cannot converge."""
        structures = {f's{index}': self.make_structure() for index in range(9)}
        structures['stretched'] = self.make_structure(9.0)
        return self.submit_dataset(structures=structures, max_failures=orm.Int(1), max_concurrent=orm.Int(3))

    def delete_scf_folder(self) -> orm.WorkChainNode:
        """The folder of a finished pw.x run is deleted before the Hamiltonian was made of it."""
        node = self.submit_dataset(2, max_failures=orm.Int(1))
        self.wait_for_finished(node, PW)
        job = next(job for job in self.find_jobs(node, PW) if job.is_finished)
        subprocess.run(['rm', '-r', job.get_remote_workdir()], check=True)
        self._lost.add(job.pk)
        return node

    def delete_training_folder(self) -> orm.WorkChainNode:
        """The folder of a training is deleted while it runs."""
        node = self.submit_training()
        subprocess.run(['rm', '-r', self.wait_for_running(node, TRAIN).get_remote_workdir()], check=True)
        return node


def keep_full(path: Path, is_free: threading.Event):
    """Take what space there is on a file system, also what others give back."""
    with path.open('wb', buffering=0) as stream:
        while not is_free.wait(0.05):
            with contextlib.suppress(OSError):
                while stream.write(bytes(4096)):
                    pass


@dataclass(frozen=True)
class Fault:
    """A fault: its name in the table, and what causes it."""

    title: str
    cause: Callable[[Drill], orm.WorkChainNode]
    #: What a process or an executable must say.
    says: str = ''
    #: Process of another package that aiida-core leaves excepted.
    excused: str = ''


FAULTS = {
    'kill-training': Fault('kill -9 of the training', Drill.kill_training),
    'walltime': Fault('SLURM ends the training at its wall-time', Drill.exceed_walltime),
    'scancel-training': Fault('scancel of the training', Drill.cancel_training),
    'scancel-reference': Fault('scancel of a pw.x run', Drill.cancel_reference),
    'daemon-restart': Fault('daemon stopped and started', Drill.restart_daemon),
    'daemon-killed': Fault('kill -9 of both daemon workers', Drill.kill_workers),
    'sshd': Fault('sshd down for a minute', Drill.stop_sshd),
    'disk-full': Fault('work directory full for good', Drill.fill_disk),
    'disk-full-for-a-time': Fault('work directory full for eight minutes', Drill.fill_disk_for_a_time),
    'unconverged': Fault('one structure of ten cannot converge', Drill.add_unconverged),
    'deleted-scf': Fault('folder of a finished pw.x run deleted', Drill.delete_scf_folder),
    'deleted-training': Fault('folder of a running training deleted', Drill.delete_training_folder),
    **{name: Fault(*row) for name, row in FILE_FAULTS.items()},
}


def main() -> int:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--fault', action='append', choices=FAULTS, help='one of the faults; may be repeated')
    parser.add_argument('--json', type=Path, help='where to write the results')
    arguments = parser.parse_args()
    results = []
    print(HEADER)
    with LoopbackCluster() as cluster, started_profile(cluster) as client:
        drill = Drill(cluster, client, make_pseudo_family(cluster))
        for fault in arguments.fault or FAULTS:
            results.append(drill.run(fault))
            print(results[-1].as_row(), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + '\n')
    return 0 if all(result.passed for result in results) else 1


if __name__ == '__main__':
    sys.exit(main())
