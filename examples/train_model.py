"""Train a network on Hamiltonians of small cells of AlAs, and test it on a larger one.

    python examples/train_model.py

Takes about a minute. The data are in examples/data, so that no DFT program is needed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from shipped import write_references

import aiida_hamlr as hamlr
from aiida_hamlr.plotting.training import plot_training, read_metrics

#: Steps of the training, one structure each.
STEPS = 320


def train_on_shipped_data(folder: Path, variant: str = 'lr', steps: int = STEPS) -> tuple[Path, dict]:
    """Train one variant of the network.

    Returns
    -------
    path, dict
        The folder of the model, and the summary of the training with errors on the test structure, meV.
    """
    files = write_references(folder / 'references')
    shutil.rmtree(folder / variant, ignore_errors=True)  # or it would resume from the checkpoint of an earlier run
    # The keywords are the keys of train.yaml.
    summary = hamlr.train(
        data={part: [str(path) for path in paths] for part, paths in files.items()},
        model={'variant': variant},
        training={'max_steps': steps, 'seed': 0, 'device': 'cpu'},
        output=folder / variant,
    )
    return folder / variant / 'model', summary


def main(folder: Path, steps: int = STEPS) -> dict:
    """Run the example; figure and model are written to `folder`."""
    _, summary = train_on_shipped_data(folder, steps=steps)
    plot_training({'with long range': read_metrics(folder / 'lr/metrics.csv')}, folder / 'training.png')
    print('Mean absolute errors on the 24-atom wave')
    print(f'  Hamiltonian, all elements   {summary["test_mae_meV"]:8.2f} meV')
    print(f'  Hamiltonian, on-site blocks {summary["test_mae_onsite_meV"]:8.2f} meV')
    print(f'  occupied bands              {summary["test_band_mae_occupied_meV"]:8.2f} meV')
    print(f'Model and learning curve are in {folder}')
    return summary


if __name__ == '__main__':
    main(Path(sys.argv[1] if len(sys.argv) > 1 else '.examples'))
