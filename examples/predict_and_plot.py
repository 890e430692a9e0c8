"""Predict the Hamiltonian of a crystal that no DFT program has seen, and draw what follows from it.

    python examples/predict_and_plot.py

Takes about a minute, most of it to train a model, unless `examples/train_model.py` has left one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from alas import wave
from ase.build import bulk
from train_model import STEPS, train_on_shipped_data

import aiida_hamlr as hamlr
from aiida_hamlr.plotting.levels import plot_levels


def main(folder: Path, steps: int = STEPS) -> dict:
    """Run the example; the figures are written to `folder`."""
    model = folder / 'lr/model'
    if not model.exists():
        train_on_shipped_data(folder, steps=steps)
    predictor = hamlr.load_model(model)

    # The primitive cell: bands along the standard path.
    crystal = bulk('AlAs', 'zincblende', a=5.66)
    bands = hamlr.band_structure(predictor.predict(crystal))
    hamlr.plot_bands([bands], folder / 'predicted_bands.png', ['prediction'], window=(-13.0, 8.0))
    gap = bands.attributes.gap
    print(f'band gap of the crystal along the path: {gap:.2f} eV')

    # A wave of 48 atoms: the level of every atom follows the potential of the whole wave.
    atoms = wave(n_cells=12, amplitude=0.03)
    levels = hamlr.onsite_levels(predictor.predict(atoms))
    plot_levels(atoms.positions[:, 2], {'prediction': levels}, folder / 'predicted_levels.png', atoms.symbols)
    arsenic = levels[atoms.symbols == 'As']
    print(f'As levels along the wave of {len(atoms)} atoms: {np.ptp(arsenic):.2f} eV from trough to crest')
    print(f'Figures are in {folder}')
    return {'gap_eV': gap, 'level_range_eV': float(np.ptp(arsenic))}


if __name__ == '__main__':
    main(Path(sys.argv[1] if len(sys.argv) > 1 else '.examples'))
