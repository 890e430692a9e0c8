"""Train a network on Hamiltonians of small cells of AlAs, and test it on a larger one.

    python examples/train_model.py

Takes about a minute. The data are in examples/data, so that no DFT program is needed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from shipped import write_references

from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.plotting.training import plot_training, read_metrics

#: Eight structures for training, one per step: 320 steps.
EPOCHS = 40


def train_on_shipped_data(folder: Path, variant: str = 'lr', epochs: int = EPOCHS) -> tuple[Path, dict]:
    """Train one variant of the network.

    Returns
    -------
    path, dict
        The folder of the model, and its errors on the test structure, meV.
    """
    files = write_references(folder / 'references')
    # The keys of `model` and `training` are those of train.yaml.
    config = {
        'data': files,
        'model': {'variant': variant},
        'training': {'max_epochs': epochs, 'seed': 0, 'device': 'cpu'},
    }
    shutil.rmtree(folder / variant, ignore_errors=True)  # or it would resume from the checkpoint of an earlier run
    train(config, folder / variant)
    model = folder / variant / 'model'
    return model, evaluate(model, files['test'])


def main(folder: Path, epochs: int = EPOCHS) -> dict:
    """Run the example; figure and model are written to `folder`."""
    _, errors = train_on_shipped_data(folder, epochs=epochs)
    plot_training({'with long range': read_metrics(folder / 'lr/metrics.csv')}, folder / 'training.png')
    print('Mean absolute errors on the 24-atom wave')
    print(f'  Hamiltonian, all elements   {errors["mae_meV"]:8.2f} meV')
    print(f'  Hamiltonian, on-site blocks {errors["mae_onsite_meV"]:8.2f} meV')
    print(f'  occupied bands              {errors["band_mae_occupied_meV"]:8.2f} meV')
    print(f'Model and learning curve are in {folder}')
    return errors


if __name__ == '__main__':
    main(Path(sys.argv[1] if len(sys.argv) > 1 else '.examples'))
