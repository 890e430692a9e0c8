"""Two processes that train together against one with batches of twice the size."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.errors import WalltimeReached
from aiida_hamlr.model.inference import load_model
from aiida_hamlr.model.training import loop
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.training.module import TrainingModule
from aiida_hamlr.model.training.processes import Processes, largest, summed

SMALL = {
    'scalar_channels': 8,
    'natural_channels': 6,
    'unnatural_channels': 4,
    'hidden_channels': 24,
    'pair_channels': 24,
    'radial_hidden': 16,
    'radial_basis': 8,
    'message_cutoff': 4.5,
}


def keep_first_gradients(module, optimizer):
    """Hook of Lightning, called with the gradients that all processes have averaged, before they are clipped."""
    if module.global_step == 0 and module.processes.is_first:
        gradients = {name: p.grad for name, p in module.model.named_parameters() if p.grad is not None}
        folder = Path(module.trainer.default_root_dir)
        folder.mkdir(exist_ok=True)
        torch.save(gradients, folder / 'gradients.pt')


def train_until_the_walltime_and_to_the_end(settings, output):
    """Stop after the first epoch, because the second process has little of the walltime left, and go on."""
    torch.set_num_threads(1)
    TrainingModule.on_before_optimizer_step = keep_first_gradients
    loop.EPOCHS_TO_FIT = 5000.0
    rank = Processes.of_environment().rank
    limited = settings | {'training': settings['training'] | {'walltime': 100000.0}}
    try:
        train(limited, output, time.monotonic() - (99890.0 if rank == 1 else 0.0))
    except WalltimeReached as error:
        (output / f'stopped.{rank}').write_text(str(error))
    train(settings, output)


def test_alone_there_is_nothing_to_reduce():
    assert Processes.of_environment() == Processes(0, 1, 1, 1)
    assert summed([1.5, 2.0]) == [1.5, 2.0] and largest(3.0) == 3.0


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(training_files, tmp_path, monkeypatch):
    """Also with a response whose labels one of the files has."""
    labelled = Hamiltonian.read(training_files[1])
    labelled.labels = {'dielectric_tensor': 7.5 * np.eye(3), 'born_charges': np.array([2 * np.eye(3), -2 * np.eye(3)])}
    labelled.write(training_files[1])
    settings = {
        'data': {'train': training_files[:4], 'validation': training_files[4:]},
        'model': {'variant': 'lr+ea', 'response': True, **SMALL},
        'training': {
            'max_epochs': 3,
            'device': 'cpu',
            'precision': 'float64',
            'validate_every': 1,
            'warmup_steps': 2,
            'dielectric_weight': 1.0,
            'born_weight': 1.0,
        },
    }
    monkeypatch.setattr(TrainingModule, 'on_before_optimizer_step', keep_first_gradients)
    train(settings | {'training': settings['training'] | {'batch_size': 2}}, tmp_path / 'one')
    (tmp_path / 'settings.json').write_text(json.dumps(settings, default=str))
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', __file__]
    run = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    # Both stopped, although for one of them there was time left, and only one spoke.
    assert all('after epoch 1' in (tmp_path / 'two' / f'stopped.{rank}').read_text() for rank in range(2))
    assert run.stdout.count('epoch 3,') == 1
    gradients = [torch.load(tmp_path / name / 'gradients.pt', weights_only=True) for name in ('one', 'two')]
    assert gradients[0].keys() == gradients[1].keys()
    largest_gradient = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert float((gradient - gradients[1][name]).abs().max()) < 1e-6 * largest_gradient, name
    weights = [load_model(tmp_path / name).model.state_dict() for name in ('one', 'two')]
    assert all(torch.allclose(weights[0][name], weights[1][name], rtol=1e-6, atol=1e-8) for name in weights[0])
    tables = [list(csv.DictReader((tmp_path / name / 'metrics.csv').open())) for name in ('one', 'two')]
    assert [row['step'] for row in tables[1]] == ['2', '4', '6']
    for key in ('train_mae_meV', 'validation_mae_meV', 'learning_rate'):
        expected = [float(row[key]) for row in tables[0]]
        assert [float(row[key]) for row in tables[1]] == pytest.approx(expected, rel=1e-6), key


if __name__ == '__main__':
    folder = Path(sys.argv[1])
    train_until_the_walltime_and_to_the_end(json.loads((folder / 'settings.json').read_text()), folder / 'two')
