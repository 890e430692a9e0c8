"""Several processes of one command on one or more machines, through torchrun, with the exit status of `hamlr`."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence

from aiida_hamlr.jobs.status import Status

#: First port of the rendezvous of machines, and how many there are to choose from by the number of the job.
FIRST_PORT, N_PORTS = 20000, 20000

#: Environment variable with the identifier of the process that started the several ones.
PARENT = 'HAMLR_PARENT_PROCESS'

#: Option of Linux's prctl: which signal a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


def run_processes(command: Sequence[str], n_processes: int, n_machines: int = 1) -> int:
    """Run a command of the executable in several processes that train together; return its exit status.

    Parameters
    ----------
    command : sequence of str
        Arguments of `hamlr`.
    n_processes : int
        Processes on every machine.
    n_machines : int
        With more than one, this runs in a SLURM job and starts itself on each of its machines with srun; or it was
        started there, as one of ``n_machines`` tasks.

    Raises
    ------
    ValueError
        If there are several machines, but no SLURM job on that number of machines.
    """
    if n_machines == 1:
        return _run_here(command, n_processes, ['--standalone'])
    if _variable('SLURM_JOB_ID') is None:
        raise ValueError(f'--machines {n_machines}: several machines need a SLURM job')
    if _variable('SLURM_STEP_NUM_TASKS') == str(n_machines):
        return _run_here(command, n_processes, _rendezvous(n_machines))
    command = [*command, '--processes', str(n_processes), '--machines', str(n_machines)]
    if int(_variable('SLURM_JOB_NUM_NODES') or 1) != n_machines:
        raise ValueError(
            f'--machines {n_machines}: the SLURM job has {_variable("SLURM_JOB_NUM_NODES") or "an unknown number"}'
        )
    return _run_there(command, n_machines)


def die_with_parent():
    """Let one of several processes end when the one that started them dies, however that happens; Linux only."""
    parent = _variable(PARENT)
    if parent is None or sys.platform != 'linux':
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(128 + signal.SIGKILL)  # It was dead before.


def joint_status(exit_codes: Iterable[int]) -> int:
    """The exit status of several processes, from their exit codes; negative ones are signals.

    When one fails, torchrun ends the others with SIGTERM, or they lose their connection to it: what an exit status of
    the executable or another signal says comes first.
    """
    codes = [code for code in exit_codes if code]
    told = [code for code in codes if code in list(Status)]
    killed = [128 - code for code in codes if code < 0 and code != -signal.SIGTERM]
    return max(told) if told else (killed or [1 if codes else 0])[0]


def _variable(name: str) -> str | None:
    return os.environ.get(name) or None


def _rendezvous(n_machines: int) -> list[str]:
    """Arguments of torchrun: where the machines of a SLURM job find each other."""
    job = int(os.environ['SLURM_JOB_ID'])
    address = _variable('MASTER_ADDR')
    if address is None:
        raise ValueError('MASTER_ADDR is not set: it must name the first machine of the job')
    port = _variable('MASTER_PORT') or FIRST_PORT + job % N_PORTS
    endpoint = ['--rdzv-backend', 'c10d', '--rdzv-id', str(job), '--rdzv-endpoint', f'{address}:{port}']
    return ['--nnodes', str(n_machines), *endpoint]


def _run_here(command: Sequence[str], n_processes: int, where: Sequence[str]) -> int:
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # torchrun would set it to one.
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, _count_cpus() // n_processes)))
    os.environ[PARENT] = str(os.getpid())
    module = ['--nproc-per-node', str(n_processes), '--module', 'aiida_hamlr.jobs.cli']
    try:
        torchrun.run(torchrun.parse_args([*where, *module, *command]))
    except ChildFailedError as error:
        return joint_status(failure.exitcode for failure in error.failures.values())
    except SignalException as error:
        return 128 + int(error.sigval)
    return Status.DONE


def _run_there(command: Sequence[str], n_machines: int) -> int:
    """Start a command once on every machine of the job, with all that the job has there."""
    tasks = ['--nodes', str(n_machines), '--ntasks', str(n_machines), '--ntasks-per-node', '1', '--mpi', 'none']
    cpus = _variable('SLURM_CPUS_ON_NODE')
    tasks += ['--cpus-per-task', cpus] if cpus else []
    # srun's status is the largest of its tasks.
    return subprocess.run(
        ['srun', *tasks, sys.executable, '-m', 'aiida_hamlr.jobs.cli', *command], check=False
    ).returncode


def _count_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
