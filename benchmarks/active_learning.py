"""How many references active learning saves: the most uncertain cells of a pool against random ones, by pw.x.

    OMP_NUM_THREADS=1 python benchmarks/active_learning.py --json active.json --plot active_learning.png

Each seed draws the first cells of the pool of `data/alloys.py`; a network is trained on them. Active learning adds in
each round the cells that `hamlr.active_learning` would choose (uncertainty times distance of fingerprints), random
sampling adds random ones; each round trains a new network for the same number of steps. The references of all cells of
the pool are made beforehand, and looked up. Errors are those of the test cells, all kinds alike (`kinds`) or each kind
as often as in the pool (`pool`). Finished trainings in the work folder are used again, so that an interrupted call can
be repeated. Prints one JSON object; the exit status is 1 if active learning needs more than 60 % of the references.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np
from _curves import references_for
from _report import report
from _training import SMALL_NETWORK, kept
from data import alloys

from aiida_hamlr.electronic.fingerprints import fingerprints
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.selection import select_uncertain
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.inference import load_model
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.uncertainty import structure_value
from aiida_hamlr.plotting.learning import plot_errors

#: Structures that are predicted at once.
BATCH = 8

#: Largest share of the references of random sampling that active learning may need for the same error.
LARGEST_SHARE = 0.6

METHODS = ('random', 'active')
TITLES = {'random': 'random sampling', 'active': 'active learning'}


@dataclass(frozen=True)
class Study:
    """Trainings on parts of the pool.

    Parameters
    ----------
    files : mapping of str to list of path
        ``pool``, ``validation`` and ``test``.
    steps : int
        Of each training.
    work : path
        Folder for the results of finished trainings.
    """

    files: Mapping[str, list[Path]]
    steps: int
    work: Path

    @cached_property
    def fingerprints(self) -> np.ndarray:
        """Of the pool."""
        return fingerprints([Hamiltonian.read(path, ()).atoms for path in self.files['pool']])

    def learn(self, chosen: Sequence[int], seed: int, selects: bool) -> dict[str, dict[str, float]]:
        """Train on some cells of the pool.

        Returns
        -------
        dict
            ``test``: mean absolute errors of the elements of H of the test cells, and if the model ``selects`` more
            ``pool``: expected errors of all cells of the pool; both meV and by the name of the file.
        """
        settings = {'max_steps': self.steps, 'seed': seed, 'device': 'cpu', 'threads': 1}

        def compute():
            data = {'train': [self.files['pool'][index] for index in chosen], 'validation': self.files['validation']}
            with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
                train({'data': data, 'model': SMALL_NETWORK, 'training': settings}, folder)
                predictor = load_model(folder)
            errors = evaluate(predictor, self.files['test'], bands=False)['structures']
            test = {Path(one['path']).stem: one['mae_meV'] for one in errors}
            return {'test': test, 'pool': self._expect(predictor) if selects else {}}

        # The order of the structures decides about the batches.
        return kept(self.work, [list(chosen), SMALL_NETWORK, settings, selects], compute)

    def _expect(self, predictor) -> dict[str, float]:
        """Expected errors of the cells of the pool."""
        expected = {}
        for start in range(0, len(self.files['pool']), BATCH):
            paths = self.files['pool'][start : start + BATCH]
            predictions = predictor.predict_batch([Hamiltonian.read(path, ('h0', 'overlap')) for path in paths])
            values = [structure_value(one.attributes.uncertainty) for one in predictions]
            expected |= dict(zip((path.stem for path in paths), values, strict=True))
        return expected

    def run(self, method: str, seed: int, numbers: Sequence[int]) -> list[dict]:
        """Rounds of one method and seed, with the numbers of references of each."""
        order = np.random.default_rng([2029, seed]).permutation(len(self.files['pool'])).tolist()
        chosen, expected, rounds = order[: numbers[0]], {}, []
        for number in numbers:
            if method == 'random':
                chosen = order[:number]
            elif expected:
                chosen = chosen + self._select(expected, chosen, number - len(chosen))
            # Both methods have the first training in common.
            selects = number == numbers[0] or (method == 'active' and number != numbers[-1])
            found = self.learn(chosen, seed, selects)
            expected = found['pool']
            rounds.append({'references': number, 'chosen': list(chosen), **weigh(found['test'], self.files['pool'])})
            shown = {key: round(rounds[-1][key], 3) for key in ('kinds', 'pool')}
            print(method, seed, number, shown, file=sys.stderr, flush=True)
        return rounds

    def _select(self, expected: Mapping[str, float], chosen: Sequence[int], number: int) -> list[int]:
        left = [index for index in range(len(self.files['pool'])) if index not in chosen]
        values = np.array([expected[self.files['pool'][index].stem] for index in left])
        return [left[index] for index in select_uncertain(values, self.fingerprints[left], number)]


def kind_of(name: str) -> tuple[str, str]:
    """Kind of a cell by the name of its file."""
    return alloys.alloy_kind(*alloys.parse_name(name))


def weigh(errors: Mapping[str, float], pool: Sequence[Path]) -> dict[str, float]:
    """Mean error of the test cells, with all kinds alike (``kinds``) and each as often as in the pool (``pool``)."""
    frequency = Counter(kind_of(path.stem) for path in pool)
    test = Counter(kind_of(name) for name in errors)
    values = np.array(list(errors.values()))
    weights = {
        'kinds': [1 / test[kind_of(name)] for name in errors],
        'pool': [frequency[kind_of(name)] / test[kind_of(name)] for name in errors],
    }
    return {name: float(np.average(values, weights=weight)) for name, weight in weights.items()}


def compare(rounds: Mapping[str, list[list[dict]]], key: str) -> dict:
    """Mean curves of both methods, and the references that active learning needs for the last error of random ones."""
    numbers = [one['references'] for one in rounds['random'][0]]
    means = {m: np.mean([[one[key] for one in seed] for seed in rounds[m]], axis=0).tolist() for m in METHODS}
    equal = [
        {'random': number, 'active': references_for(error, numbers, means['active'])}
        for number, error in zip(numbers[1:], means['random'][1:], strict=True)
    ]
    needed = equal[-1]['active']
    return {
        'mean_mae_meV': {'references': numbers, **means},
        'references_for_the_same_error': equal,
        'share': None if needed is None else needed / numbers[-1],
    }


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.option('--numbers', default='8,16,24,32', help='Numbers of references to train on.')
@click.option('--seeds', type=int, default=3)
@click.option('--steps', type=int, default=300, help='Steps of each training.')
@click.option('--data', type=click.Path(path_type=Path, file_okay=False), default=Path('.benchmarks/alloys'))
@click.option('--work', type=click.Path(path_type=Path, file_okay=False), default=Path('.benchmarks/active_learning'))
@click.option('--plot', type=click.Path(path_type=Path, dir_okay=False), help='Figure of the errors.')
@click.option('--json', 'json_file', type=click.Path(path_type=Path, dir_okay=False))
def main(numbers, seeds, steps, data, work, plot, json_file):
    """Command line."""
    study = Study(alloys.make_all(data, alloys.ALLOYS), steps, work)
    numbers = [int(text) for text in numbers.split(',')]
    rounds: dict[str, list[list[dict]]] = {method: [] for method in METHODS}
    for seed in range(seeds):
        for method in METHODS:
            rounds[method].append(study.run(method, seed, numbers))
    result = {key: compare(rounds, key) for key in ('kinds', 'pool')}
    if plot is not None:
        curves = {TITLES[method]: [[one['kinds'] for one in seed] for seed in rounds[method]] for method in METHODS}
        plot_errors(numbers, curves, plot)
    share = result['kinds']['share']
    passed = share is not None and share <= LARGEST_SHARE
    report({'steps': steps, 'seeds': seeds, **result, 'rounds': rounds, 'passed': passed}, json_file)


if __name__ == '__main__':
    main()
