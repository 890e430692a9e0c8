"""`hamlr train` in several processes: it trains, and its exit status is that of its processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from aiida_hamlr.errors import NoGPU
from aiida_hamlr.jobs.processes import joint_status, run_processes
from aiida_hamlr.model.training.processes import Processes
from aiida_hamlr.model.training.trainer import choose_accelerator

HAMLR = [sys.executable, '-m', 'aiida_hamlr.jobs.cli']
TRAIN = """
data: {{train: ['{study}/train/*.h5'], validation: ['{study}/valid/*.h5'], test: ['{study}/test/*.h5']}}
model:
  variant: sr
  short_range: {{layers: 1, scalar_channels: 4, natural_channels: 4, unnatural_channels: 2, hidden_channels: 8,
    pair_channels: 8, radial_hidden: 8}}
training: {training}
output: run/
"""


@pytest.fixture
def write_config(study, tmp_path):
    """Function: write train.yaml."""

    def write(**training):
        training = json.dumps({'max_epochs': 2, 'seed': 1, 'device': 'cpu', **training})
        (tmp_path / 'train.yaml').write_text(TRAIN.format(study=study, training=training))
        return tmp_path / 'train.yaml'

    return write


@pytest.mark.parametrize(
    ('exit_codes', 'status'),
    [
        ([0, 0], 0),
        ([3, 3], 3),
        ([-15, 3], 3),
        # One process has no memory left, the other loses its connection to it.
        ([5, 1], 5),
        ([-signal.SIGKILL, -signal.SIGTERM], 137),
        ([1, -signal.SIGTERM], 1),
        ([-signal.SIGTERM, 0], 1),
    ],
)
def test_status_of_all_is_that_of_the_one_that_failed(exit_codes, status):
    assert joint_status(exit_codes) == status


def test_several_machines_need_a_job_on_them(monkeypatch):
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)
    with pytest.raises(ValueError, match='--machines 2: several machines need a SLURM job'):
        run_processes(['train', 'train.yaml'], 1, 2)
    monkeypatch.setenv('SLURM_JOB_ID', '7')
    monkeypatch.setenv('SLURM_JOB_NUM_NODES', '3')
    with pytest.raises(ValueError, match='--machines 2: the SLURM job has 3'):
        run_processes(['train', 'train.yaml'], 1, 2)
    monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '2')
    monkeypatch.delenv('MASTER_ADDR', raising=False)
    with pytest.raises(ValueError, match='MASTER_ADDR is not set'):
        run_processes(['train', 'train.yaml'], 1, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_missing_gpu_has_a_status_of_its_own(write_config, hamlr):
    result = hamlr('train', write_config(device='gpu'))
    assert result.exit_code == 6
    assert 'device is gpu, but torch finds no GPU' in result.stderr


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    processes = Processes(rank=0, size=4, local_size=4, n_nodes=1)
    with pytest.raises(NoGPU, match='4 processes on this machine, but torch finds 2 GPUs'):
        choose_accelerator('auto', processes)
    assert choose_accelerator('cpu', processes) == 'cpu'


def test_bad_input_is_one_line(write_config):
    config = write_config(max_epoch=3)
    command = [*HAMLR, 'train', str(config), '--processes', '2']
    run = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert run.returncode == 2
    assert run.stderr.count('\n') == 1 and "did you mean 'max_epochs'?" in run.stderr


@pytest.mark.slow
def test_status_and_results_of_two_processes(write_config):
    command = [*HAMLR, 'train', str(write_config(walltime=1)), '--processes', '2']
    run = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert run.returncode == 3, run.stderr
    assert 'hamlr: walltime of 1 s reached' in run.stderr
    write_config()
    run = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert run.returncode == 0, run.stderr
    summary = json.loads((write_config().parent / 'run/summary.json').read_text())
    # Three structures, two processes: two steps in every epoch.
    assert summary['epochs'] == 2 and summary['steps'] == 4
    assert summary['test_mae_meV'] > 0


def find_children(pid: int) -> list[int]:
    """Process identifiers of the children of a process, once it has two."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        children = [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
        if len(children) == 2:
            return children
        time.sleep(0.1)
    raise TimeoutError('there are no two processes')


@pytest.mark.slow
@pytest.mark.parametrize('victim', ['child', 'parent'])
def test_killed_processes_leave_none_behind(write_config, victim):
    config = write_config(max_epochs=1000000)
    with subprocess.Popen([*HAMLR, 'train', str(config), '--processes', '2'], stdout=subprocess.PIPE, text=True) as run:
        children = find_children(run.pid)
        # The first line is printed in a process that has begun.
        assert 'structures for train' in run.stdout.readline()
        os.kill(children[0] if victim == 'child' else run.pid, signal.SIGKILL)
        run.communicate(timeout=300)
    assert run.returncode == (137 if victim == 'child' else -signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in children):
        assert time.monotonic() < deadline, 'a process goes on alone'
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody waits for has ended, too."""
    try:
        return 'State:\tZ' not in Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_terminated_training_ends_at_once_and_not_as_if_it_were_done(write_config, monkeypatch):
    """As a job of SLURM with four tasks, of which the training is none."""
    monkeypatch.setenv('SLURM_NTASKS', '4')
    monkeypatch.setenv('SLURM_NTASKS_PER_NODE', '4')
    config = write_config(max_epochs=1000000)
    with subprocess.Popen([*HAMLR, 'train', str(config)], stdout=subprocess.PIPE, text=True) as run:
        assert 'structures for train' in run.stdout.readline()
        assert 'epoch 1,' in run.stdout.readline()
        run.terminate()
        run.communicate(timeout=300)
    assert run.returncode == -signal.SIGTERM


@pytest.mark.slow
def test_two_machines_find_each_other(write_config):
    """Both are this one, in what look like the two tasks of a step of a job."""
    job = {'SLURM_JOB_ID': str(os.getpid()), 'SLURM_STEP_NUM_TASKS': '2', 'MASTER_ADDR': '127.0.0.1'}
    command = [*HAMLR, 'train', str(write_config()), '--machines', '2']
    runs = [subprocess.Popen(command, env=os.environ | job, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        _, stderr = run.communicate(timeout=500)
        assert run.returncode == 0, stderr
    summary = json.loads((write_config().parent / 'run/summary.json').read_text())
    assert summary['epochs'] == 2 and summary['steps'] == 4
