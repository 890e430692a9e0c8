"""Train the same network with and without the long-range channel, and compare both with DFT on a polarisation wave.

    python examples/long_range_on_off.py

Takes one to two minutes. Both networks learn from cells of 8 and 16 atoms; the wave has 24.
"""

from __future__ import annotations

import sys
from pathlib import Path

from train_model import STEPS, train_on_shipped_data

import aiida_hamlr as hamlr
from aiida_hamlr.plotting.levels import plot_levels

VARIANTS = {'with long range': 'lr', 'short range only': 'sr'}

ROWS = {
    'test_mae_meV': 'Hamiltonian',
    'test_mae_onsite_meV': 'its on-site blocks',
    'test_band_mae_occupied_meV': 'occupied bands',
    'test_gap_error_meV': 'band gap',
}


def main(folder: Path, steps: int = STEPS) -> dict[str, dict]:
    """Run the example; the figure is written to `folder`."""
    errors, models = {}, {}
    for name, variant in VARIANTS.items():
        models[name], errors[name] = train_on_shipped_data(folder, variant, steps)

    reference = hamlr.Hamiltonian.read(folder / 'references/test_wave24.h5')
    predictions = {name: hamlr.load_model(model).predict(reference.atoms) for name, model in models.items()}
    levels = {
        name: hamlr.onsite_levels(hamiltonian) for name, hamiltonian in ({'DFT': reference} | predictions).items()
    }
    plot_levels(reference.atoms.positions[:, 2], levels, folder / 'long_range.png', reference.symbols)

    print('Mean absolute error on the 24-atom wave, meV'.ljust(46) + ''.join(name.rjust(18) for name in VARIANTS))
    for key, row in ROWS.items():
        print(f'  {row}'.ljust(46) + ''.join(f'{errors[name][key]:18.2f}' for name in VARIANTS))
    print(f'The levels along the wave are drawn in {folder / "long_range.png"}')
    return errors


if __name__ == '__main__':
    main(Path(sys.argv[1] if len(sys.argv) > 1 else '.examples'))
