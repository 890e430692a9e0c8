"""Whether uncertainties tell errors: a model of rattled zincblende AlAs on kinds of AlAs that it never saw.

    OMP_NUM_THREADS=1 python benchmarks/uncertainty.py --plot uncertainty.png

Trains models of several seeds on cells of `data/alas.py` for a number of steps, and compares with pw.x what the first
expects of its own errors (rigidity of the last layer) and what the models differ by, on test cells of the same kind and
on the kinds of `data/alloys.py`. Prints one JSON object; the exit status is 1 if a gate is failed. The references are
made by pw.x when they are first needed; trained models in the work folder are used again.
"""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import click
import numpy as np
from _report import report
from data import alas, alloys
from scipy.stats import spearmanr

from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.reference_matrices import fitted_shift, read_reference
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.uncertainty import atom_rms, committee_spread, structure_value
from aiida_hamlr.plotting.uncertainty import plot_calibration

#: Least rank correlation of expected and actual errors of the unseen structures, and least ratio of the mean error of
#: the most uncertain tenth to that of all.
LEAST_CORRELATION, LEAST_RATIO = 0.6, 2.0

ESTIMATES = ('rigidity', 'committee')


def errors_of(path: Path, predictors: list[Predictor]) -> dict[str, np.ndarray]:
    """Actual errors of the atoms of a structure and what each estimate says, meV."""
    reference = read_reference(path, 'nothing to compare with')
    predictions = [predictor.predict_from(reference) for predictor in predictors]
    cutoff = predictors[0].model.pair_cutoff
    error = predictions[0].hamiltonian - reference.hamiltonian
    error += fitted_shift(error, reference.overlap) * reference.overlap
    return {
        'actual': 1e3 * atom_rms(error, reference, cutoff),
        'rigidity': np.array(predictions[0].attributes.uncertainty),
        'committee': committee_spread(predictions, cutoff),
    }


def judge(found: dict[str, list[dict[str, np.ndarray]]], factor: float) -> dict:
    """Correlations and ratios of each estimate; ``factor`` multiplies the spread of the committee."""
    unseen = [one for kind in alloys.KINDS for one in found[kind]]
    everything = [one for ones in found.values() for one in ones]
    result = {}
    for name in ESTIMATES:
        actual = np.array([structure_value(one['actual']) for one in unseen])
        expected = np.array([structure_value(one[name]) for one in unseen])
        atoms_actual, atoms_expected = (np.concatenate([one[key] for one in everything]) for key in ('actual', name))
        tenth = np.argsort(atoms_expected)[-max(1, len(atoms_expected) // 10) :]
        scale = factor if name == 'committee' else 1.0
        within = np.abs(np.log(atoms_actual / (scale * atoms_expected))) < np.log(2)
        result[name] = {
            'spearman_of_unseen_structures': float(spearmanr(actual, expected)[0]),
            'spearman_of_atoms': float(spearmanr(atoms_actual, atoms_expected)[0]),
            'most_uncertain_tenth_over_mean': float(atoms_actual[tenth].mean() / atoms_actual.mean()),
            'atoms_within_a_factor_of_2': float(within.mean()),
        }
    return result


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.option('--steps', type=int, default=1500, help='Steps of each training.')
@click.option('--models', type=int, default=3, help='Seeds of the committee.')
@click.option('--cells', type=int, default=32, help='Cells to train on.')
@click.option('--data', type=click.Path(path_type=Path, file_okay=False), default=Path('.benchmarks'))
@click.option('--plot', type=click.Path(path_type=Path, dir_okay=False), help='PNG file of the calibration.')
@click.option('--json', 'json_file', type=click.Path(path_type=Path, dir_okay=False))
def main(steps, models, cells, data, plot, json_file):
    """Command line."""
    seen, unseen = alas.make_all(data / 'alas'), alloys.make_all(data / 'alloys')
    files = {'train': seen['train'][:cells], 'validation': seen['validation']}
    predictors, seconds = [], []
    for seed in range(models):
        folder = data / 'uncertainty' / f'{cells}-{steps}-{seed}'
        start = time.process_time()
        if not (folder / 'summary.json').exists():
            settings = {'max_steps': steps, 'seed': seed, 'device': 'cpu', 'threads': 1}
            with redirect_stdout(sys.stderr):
                train({'data': files, 'training': settings}, folder)
        seconds.append(round(time.process_time() - start, 1))
        predictors.append(load_model(folder))
    groups = {'test': seen['test'], **{kind: unseen[kind] for kind in alloys.KINDS}}
    found = {kind: [errors_of(path, predictors) for path in paths] for kind, paths in groups.items()}
    # One factor for the spread of the committee, from the validation cells, as the model has one for its rigidity.
    known = [errors_of(path, predictors) for path in seen['validation']]
    ratios = np.concatenate([one['actual'] / one['committee'] for one in known])
    factor = float(np.sqrt(np.mean(ratios**2)))
    result = judge(found, factor)
    passed = all(
        one['spearman_of_unseen_structures'] >= LEAST_CORRELATION
        and one['most_uncertain_tenth_over_mean'] >= LEAST_RATIO
        for one in result.values()
    )
    by_kind = {
        kind: {
            name: round(float(np.mean([structure_value(one[name]) for one in ones])), 3)
            for name in ('actual', *ESTIMATES)
        }
        for kind, ones in found.items()
    }
    if plot is not None:
        pairs = {
            kind: tuple(np.concatenate([one[name] for one in ones]) for name in ('rigidity', 'actual'))
            for kind, ones in found.items()
        }
        plot_calibration(pairs, plot)
    report(
        {'steps': steps, 'cells': cells, 'models': models, 'training_cpu_s': seconds, 'committee_factor': factor}
        | result
        | {'mean_of_structures_meV': by_kind, 'passed': passed},
        json_file,
    )


if __name__ == '__main__':
    main()
