"""How many references active learning saves: uncertain and diverse structures against structures drawn at random.

    OMP_NUM_THREADS=1 python benchmarks/active_learning.py --plot docs/images/active_learning.png

The candidates are the rattled and strained Al(x)Ga(1-x)As cells of `data/alloys.py`, made by pw.x when they are first
needed; many are quiet, a few are hot. For each seed, a new model is trained on the first cells, drawn at random; then
the rigidity of the last layer says how uncertain it is of each of the other candidates, `select_uncertain` (which the
work chain `hamlr.active_learning` calls, too) chooses the next ones, and so on. The other curve goes on at random.
Errors are those of test cells drawn like the candidates. Trainings that are finished are used again, so that an
interrupted call can be repeated. Prints one JSON object; the exit status is 1 if active learning never needs less than
60 % of the references.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from _report import report
from data import alloys
from matplotlib import rc_context
from matplotlib.ticker import NullLocator

from aiida_hamlr.electronic.fingerprints import fingerprints
from aiida_hamlr.electronic.selection import select_uncertain
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.inference import load_model
from aiida_hamlr.model.reference_matrices import read_reference
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.model.uncertainty import structure_value
from aiida_hamlr.plotting.style import COLOURS, GREY, SETTINGS, new_figure, save

#: The network of the protocol `fast`.
NETWORK = {
    'variant': 'lr',
    'short_range': {
        'layers': 1,
        'scalar_channels': 16,
        'natural_channels': 12,
        'unnatural_channels': 4,
        'hidden_channels': 64,
        'pair_channels': 80,
    },
}

#: Largest share of the references that active learning may need.
LARGEST_SHARE = 0.6

#: Cells that choose the best epoch and calibrate the uncertainty, and cells to test on.
VALIDATION, TEST = 6, 24

STRATEGIES = ('random', 'active')


@dataclass(frozen=True)
class Study:
    """Trainings on subsets of the candidates, each with its errors, kept in a folder."""

    folder: Path
    pool: list[Path]
    validation: list[Path]
    test: list[Path]
    steps: int

    def learn(self, chosen: list[int], seed: int) -> dict:
        """Errors (meV) of a model that learned some candidates, and its uncertainty (meV) of all candidates."""
        names = [self.pool[index].name for index in sorted(chosen)]
        key = hashlib.sha256(json.dumps([names, seed, self.steps, len(self.pool)]).encode()).hexdigest()[:16]
        path = self.folder / f'{key}.json'
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            found = self._learn([self.pool[index] for index in sorted(chosen)], seed)
            path.with_suffix('.part').write_text(json.dumps(found))
            path.with_suffix('.part').replace(path)
        return json.loads(path.read_text())

    def _learn(self, files: list[Path], seed: int) -> dict:
        settings = {'max_steps': self.steps, 'seed': seed, 'device': 'cpu', 'threads': 1}
        config = {'data': {'train': files, 'validation': self.validation}, 'model': NETWORK, 'training': settings}
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
            train(config, folder)
            errors = evaluate(folder, self.test, bands=False)
            predictor = load_model(folder)
        uncertainties = []
        for path in self.pool:
            predicted = predictor.predict_from(read_reference(path, 'a candidate'))
            uncertainties.append(structure_value(predicted.attributes.uncertainty))
        return {key: errors[key] for key in ('mae_meV', 'mae_onsite_meV')} | {'uncertainties_meV': uncertainties}


def curves_of(study: Study, sizes: list[int], seed: int, prints: np.ndarray) -> dict[str, list[dict]]:
    """Errors of one seed by strategy, for growing numbers of references; both begin with the same ones."""
    order = np.random.default_rng(seed).permutation(len(study.pool)).tolist()
    result = {}
    for strategy in STRATEGIES:
        chosen, result[strategy] = order[: sizes[0]], []
        uncertainties = np.zeros(len(study.pool))
        for size in sizes:
            if strategy == 'random':
                chosen = order[:size]
            elif size > len(chosen):
                left = [index for index in range(len(study.pool)) if index not in chosen]
                picked = select_uncertain(uncertainties[left], prints[left], size - len(chosen))
                chosen = chosen + [left[index] for index in picked]
            found = study.learn(chosen, seed)
            uncertainties = np.array(found.pop('uncertainties_meV'))
            result[strategy].append({'references': size, **found})
            print(seed, strategy, size, found, file=sys.stderr, flush=True)
    return result


def references_for(error: float, curve: list[dict], key: str = 'mae_meV') -> float | None:
    """Number of references at which a curve first reaches an error, by power laws between its points, or None."""
    for one, other in zip(curve, curve[1:], strict=False):
        if other[key] <= error <= one[key]:
            share = 1.0 if one[key] == other[key] else np.log(one[key] / error) / np.log(one[key] / other[key])
            return float(one['references'] * (other['references'] / one['references']) ** share)
    return None


def mean_curve(curves: list[list[dict]]) -> list[dict]:
    """Mean over seeds, and standard deviation over seeds as ``spread_meV``."""
    result = []
    for points in zip(*curves, strict=True):
        errors = np.array([point['mae_meV'] for point in points])
        result.append(
            {
                'references': points[0]['references'],
                'mae_meV': round(float(errors.mean()), 4),
                'spread_meV': round(float(errors.std(ddof=1)), 4) if len(errors) > 1 else None,
                'mae_onsite_meV': round(float(np.mean([point['mae_onsite_meV'] for point in points])), 3),
            }
        )
    return result


def plot(curves: dict[str, list[dict]], path: Path):
    """Draw the mean curves, with the standard deviations over seeds as bars."""
    with rc_context(SETTINGS):
        drawing = new_figure(5.2, 3.8)
        axes = drawing.subplots()
        names = {'random': 'drawn at random', 'active': 'most uncertain and diverse'}
        for (strategy, curve), marker, colour in zip(curves.items(), 'so', (GREY, COLOURS[0]), strict=True):
            numbers, errors, spreads = ([point[k] for point in curve] for k in ('references', 'mae_meV', 'spread_meV'))
            bars = None if None in spreads else spreads
            axes.errorbar(numbers, errors, bars, marker=marker, color=colour, capsize=2, label=names[strategy])
        axes.set(xlabel='references to train on', ylabel='error of $H$ on test cells (meV)', xscale='log')
        axes.set_xticks([point['references'] for point in curves['random']])
        axes.xaxis.set_major_formatter('{x:.0f}')
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend()
    save(drawing, path)


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.option('--candidates', type=int, default=32, help='Alloy cells to choose from.')
@click.option('--sizes', default='4,8,12,16,24', help='Numbers of references.')
@click.option('--seeds', type=int, default=3)
@click.option('--steps', type=int, default=200, help='Steps of each training.')
@click.option('--data', type=click.Path(path_type=Path, file_okay=False), default=Path('.benchmarks'))
@click.option('--plot', 'picture', type=click.Path(path_type=Path, dir_okay=False), help='PNG file of the curves.')
@click.option('--json', 'json_file', type=click.Path(path_type=Path, dir_okay=False))
def main(candidates, sizes, seeds, steps, data, picture, json_file):
    """Command line."""
    files = alloys.make_all(data / 'alloys', {'pool': candidates, 'validation': VALIDATION, 'test': TEST})
    study = Study(data / 'active_learning', files['pool'], files['validation'], files['test'], steps)
    sizes = [int(text) for text in sizes.split(',')]
    prints = fingerprints([read_reference(path, 'a candidate').atoms for path in study.pool])
    by_seed = [curves_of(study, sizes, seed, prints) for seed in range(seeds)]
    curves = {strategy: mean_curve([one[strategy] for one in by_seed]) for strategy in STRATEGIES}
    equal = []
    for point in curves['random'][1:]:
        needed = references_for(point['mae_meV'], curves['active'])
        share = None if needed is None else round(needed / point['references'], 3)
        equal.append({'random': point['references'], 'active': needed and round(needed, 1), 'share': share})
    if picture is not None:
        plot(curves, picture)
    shares = [one['share'] for one in equal if one['share'] is not None]
    passed = bool(shares) and min(shares) <= LARGEST_SHARE
    report(
        {
            'candidates': len(study.pool),
            'steps': steps,
            'seeds': seeds,
            **curves,
            'same_error': equal,
            'passed': passed,
        },
        json_file,
    )


if __name__ == '__main__':
    main()
