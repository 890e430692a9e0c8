"""Accuracy and cost of the network on rattled AlAs cells of eight atoms, alone and beside DeePTB.

    OMP_NUM_THREADS=1 python benchmarks/model.py accuracy --seconds 90
    OMP_NUM_THREADS=1 python benchmarks/model.py cost
    OMP_NUM_THREADS=1 python benchmarks/model.py curve --seconds 180
    OMP_NUM_THREADS=1 python benchmarks/model.py curve --steps 3000 --cells 16 --cells 250
    OMP_NUM_THREADS=1 python benchmarks/model.py deeptb
    OMP_NUM_THREADS=1 python benchmarks/model.py compile

Prints one JSON object on standard output, progress on standard error. The exit status is 1 if a gate is failed. The
cells are made by pw.x when they are first needed, see data/alas.py.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import datetime, timezone
from pathlib import Path

import click
import numpy as np
import yaml
from _training import train_for
from data.alas import make_all

from aiida_hamlr import __version__
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model.evaluation import evaluate

PARTS = ('accuracy', 'cost', 'curve', 'deeptb', 'compile')

#: Training cells of the part "curve".
CELLS = (16, 32, 64)

#: Å; "within" counts the elements of on-site blocks and of pairs up to there.
NEAR = 6.5

#: Seconds of training from which on each of the largest errors (meV) holds.
GATES = {
    90.0: {'mae_meV': 0.10},
    600.0: {
        'mae_meV': 0.04,
        'mae_onsite_meV': 0.6,
        'mae_near_meV': 0.10,
        'band_mae_occupied_meV': 0.6,
        'band_mae_conduction_meV': 0.6,
        'gap_error_meV': 0.6,
    },
}


def accuracy(files: dict, seconds: float | None, config: dict) -> dict:
    """Train for some seconds, or steps, and compare with the references of the test set.

    Parameters
    ----------
    files : dict
        Hamiltonian files by split.
    seconds : float or None
        Wall time of the training, the validations in it included; None: ``max_steps`` in ``config`` says its length.
    config : dict
        Sections ``model`` and ``training``, as far as they are not the default ones.

    Returns
    -------
    dict
        Errors of `evaluate`, with ``mae_near_meV``; seconds, steps, ``curve`` (seconds and validation error, meV), the
        gates that hold for this time and whether all are ``passed``.
    """
    data = {split: files[split] for split in ('train', 'validation', 'test')}
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        cpu = time.process_time()
        summary = train_for(seconds, data, config.get('model', {}), folder, **config.get('training', {}))
        cpu = time.process_time() - cpu
        curve = _learning_curve(Path(folder) / 'metrics.csv')
        found = evaluate(Path(folder) / 'model', data['test'])
    keys = ('variant', 'n_parameters', 'pair_cutoff_angstrom', 'steps', 'training_s', 'species_charges')
    result = {key: summary[key] for key in keys if key in summary}
    result |= {'cpu_s': cpu, 'ms_per_step': 1e3 * summary['training_s'] / summary['steps'], 'changed': config}
    result |= {key: value for key, value in found.items() if key.endswith('_meV')}
    result['mae_near_meV'] = float(np.mean([_near(one) for one in found['structures']]))
    result |= {'mae_by_distance': found['mae_by_distance'], 'n_test': found['n_structures'], 'curve': curve}
    gates = {}
    for least, limits in GATES.items():
        gates |= limits if seconds is not None and seconds >= least else {}
    return result | judge({key: (result[key], limit) for key, limit in gates.items()})


def curve(files: dict, seconds: float | None, config: dict, numbers: Sequence[int]) -> dict:
    """Errors of trainings with fewer and with more cells, each of the same time or number of steps.

    Returns
    -------
    dict
        ``cells``: a result of `accuracy` for each of the numbers, with ``n_train``; ``exponent``, by name of the error,
        of the number of cells in a power law through the errors of the smallest and the largest of several numbers.
    """
    cells = []
    for n_train in numbers:
        print(f'{n_train} cells', file=sys.stderr, flush=True)
        found = accuracy({**files, 'train': files['train'][:n_train]}, seconds, config)
        cells.append({'n_train': n_train} | found)
    if len(cells) == 1:
        return {'cells': cells}
    names = [name for name in GATES[600.0] if name in cells[0]]
    growth = np.log(numbers[-1] / numbers[0])
    exponent = {name: float(np.log(cells[-1][name] / cells[0][name]) / growth) for name in names}
    return {'cells': cells, 'exponent': exponent}


def judge(gates: dict[str, tuple[float, float]]) -> dict:
    """Gates as values and limits by name; whether all values are at most their limits."""
    told = {name: {'value': value, 'limit': limit, 'passed': value <= limit} for name, (value, limit) in gates.items()}
    return {'gates': told, 'passed': all(one['passed'] for one in told.values())}


def _near(one: dict) -> float:
    """Mean absolute error of the elements of on-site blocks and of pairs within `NEAR` of a structure, meV."""
    hamiltonian = Hamiltonian.read(one['path'], ())
    n_onsite = int((hamiltonian.basis.n_orbitals(hamiltonian.atoms.get_chemical_symbols()) ** 2).sum())
    parts = [(n_onsite, one['mae_onsite_meV'])]
    parts += [(b['n_elements'], b['mae_meV']) for b in one['mae_by_distance'] if b['to_angstrom'] <= NEAR]
    numbers, errors = np.transpose(parts)
    return float(numbers @ errors / numbers.sum())


def _learning_curve(path: Path) -> list[list[float]]:
    lines = path.read_text().splitlines()
    names = lines[0].split(',')
    rows = [dict(zip(names, line.split(','), strict=True)) for line in lines[1:]]
    return [
        [round(float(row['wall_s']), 1), round(float(row['validation_mae_meV']), 4)]
        for row in rows
        if row['validation_mae_meV']
    ]


def _changed(settings) -> dict:
    """Sections of the configuration from ``section.key=value``."""
    config: dict = {}
    for text in settings:
        name, sign, value = text.partition('=')
        section, dot, key = name.partition('.')
        if not (sign and dot) or section not in ('model', 'training'):
            raise click.BadParameter(f'{text!r}: give model.KEY=VALUE or training.KEY=VALUE')
        config.setdefault(section, {})[key] = yaml.safe_load(value)
    return config


#: The commands in it stay on lines of their own.
HELP = __doc__.replace('\n\n    ', '\n\n\b\n    ')


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=HELP)
@click.argument('part', type=click.Choice([*PARTS, 'all']), default='all')
@click.option(
    '--seconds', type=float, default=90.0, help='Training time of the part "accuracy", and of each of "curve".'
)
@click.option(
    '--steps', type=click.IntRange(1), help='Length of these trainings in steps, whatever time they take; no gates.'
)
@click.option(
    '--cells',
    type=click.IntRange(1),
    multiple=True,
    default=CELLS,
    help='Numbers of training cells of the part "curve", ascending; up to 64 are those of the other parts.',
)
@click.option('--set', 'settings', multiple=True, help='Of these two parts: model.KEY=VALUE or training.KEY=VALUE.')
@click.option(
    '--data',
    type=click.Path(path_type=Path, file_okay=False),
    default=Path('.benchmarks/alas'),
    help='Folder of the references; made there if they are missing.',
)
def main(part, seconds, steps, cells, settings, data):
    """Command line."""
    config = _changed(settings)
    if steps:
        seconds, config['training'] = None, config.get('training', {}) | {'max_steps': steps}
    try:
        files = make_all(data, max(cells)) if part == 'curve' else make_all(data)
    except (RuntimeError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    result = {'code': f'aiida-hamlr {__version__}', 'date': datetime.now(timezone.utc).date().isoformat()}
    result['data'] = {key: value for key, value in files.items() if not isinstance(value, list)}
    if part in ('accuracy', 'all'):
        result['accuracy'] = accuracy(files, seconds, config)
    if part in ('cost', 'all'):
        from _model_cost import cost

        measured = cost([Path(path) for path in files['train']])
        result['cost'] = measured | judge(measured.pop('limits'))
    if part == 'curve':
        result['curve'] = curve(files, seconds, config, cells)
    if part == 'compile':
        from _model_cost import compiled_cost

        result['compile'] = compiled_cost([Path(path) for path in files['train']])
    if part == 'deeptb':
        from _deeptb import compare

        try:
            compared = compare(Path('.benchmarks/deeptb'))
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
        result['deeptb'] = compared | judge(compared.pop('limits'))
    click.echo(json.dumps(result, indent=1))
    raise SystemExit(0 if all(result[name].get('passed', True) for name in PARTS if name in result) else 1)


if __name__ == '__main__':
    main()
