"""How many references a model of AlAs saves when Al(x)Ga(1-x)As is learned: fine-tuned against new models.

    OMP_NUM_THREADS=1 python benchmarks/fine_tuning.py .benchmarks/uncertainty/24-600-0

The parent is a model of AlAs, as `uncertainty.py` trains it. For several numbers of alloy cells of `data/alloys.py` a
new model is trained and the parent fine-tuned, both for the same number of steps, and evaluated on test cells. Prints
one JSON object.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import click
import numpy as np
from _report import report
from data import alloys

from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.training.fit import train

#: Learning rates of new models, and of models that start from another one.
NEW, FINE = 4e-3, 2e-3


def references_for(error: float, numbers: list[int], errors: list[float]) -> float | None:
    """Number of references at which a curve reaches an error, by power laws between its points, or None."""
    for n in range(1, len(numbers)):
        if errors[n] <= error <= errors[n - 1]:
            share = np.log(errors[n - 1] / error) / np.log(errors[n - 1] / errors[n])
            return float(numbers[n - 1] * (numbers[n] / numbers[n - 1]) ** share)
    return None


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.argument('parent', type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option('--numbers', default='4,8,16,32', help='Numbers of alloy cells.')
@click.option('--steps', type=int, default=400)
@click.option('--data', type=click.Path(path_type=Path, file_okay=False), default=Path('.benchmarks/alloys'))
@click.option('--json', 'json_file', type=click.Path(path_type=Path, dir_okay=False))
def main(parent, numbers, steps, data, json_file):
    """Command line."""
    files = alloys.make_all(data)
    numbers = [int(text) for text in numbers.split(',')]
    curves: dict[str, list[dict]] = {'new': [], 'fine_tuned': []}
    for number in numbers:
        for name, rate in (('new', NEW), ('fine_tuned', FINE)):
            config = {
                'data': {'train': files['pool'][:number]},
                'training': {'max_steps': steps, 'device': 'cpu', 'threads': 1, 'schedule': {'learning_rate': rate}},
                'parent': parent if name == 'fine_tuned' else None,
            }
            with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
                train(config, folder)
                found = evaluate(folder, files['test'], bands=False)
            errors = {key: round(found[key], 4) for key in ('mae_meV', 'mae_onsite_meV')}
            curves[name].append({'references': number, **errors})
            print(name, number, errors, file=sys.stderr, flush=True)
    new = [one['mae_meV'] for one in curves['new']]
    equal = [
        {
            'fine_tuned_references': one['references'],
            'new_references': references_for(one['mae_meV'], numbers, new),
        }
        for one in curves['fine_tuned']
    ]
    better = all(a['mae_meV'] < b['mae_meV'] for a, b in zip(curves['fine_tuned'], curves['new'], strict=True))
    report({'steps': steps, **curves, 'same_error': equal, 'passed': better}, json_file)


if __name__ == '__main__':
    main()
