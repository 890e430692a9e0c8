"""How many references a model of AlAs saves when Al(x)Ga(1-x)As is learned: fine-tuned against new models.

    OMP_NUM_THREADS=1 python benchmarks/fine_tuning.py --json fine_tuning.json --plot fine_tuning.png

The parent learns the AlAs cells of the pool of `data/alloys.py`. For several numbers of those cells of the pool that
have Ga, a new model is trained and the parent fine-tuned, both for the same number of steps, and evaluated on the test
cells with Ga. Each seed has another parent and another order of the cells. Finished trainings in the work folder are
used again, so that an interrupted call can be repeated. Prints one JSON object; the exit status is 1 if fine-tuned
models are not better at every number of references.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from _curves import references_for
from _report import report
from _training import SMALL_NETWORK, kept
from data import alloys

from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.plotting.learning import plot_errors

#: Learning rates of new models, and of models that start from another one.
RATES = {'new': 4e-3, 'fine-tuned': 2e-3}


@dataclass(frozen=True)
class Study:
    """Trainings of one seed.

    Parameters
    ----------
    host, alloy, test : list of path
        Cells that the parent learns, cells to learn afterwards, in the order in which they are taken, and test cells.
    steps : int
        Of each training.
    seed : int
    work : path
        Folder for parents and for the results of finished trainings.
    """

    host: list[Path]
    alloy: list[Path]
    test: list[Path]
    steps: int
    seed: int
    work: Path

    @property
    def parent(self) -> Path:
        """Folder of the model of AlAs, which is trained first if need be."""
        folder = self.work / f'parent-{len(self.host)}-{self.steps}-{self.seed}'
        if not (folder / 'summary.json').exists():
            self._train(self.host, RATES['new'], folder)
        return folder

    def measure(self, kind: str, number: int) -> dict[str, float]:
        """Errors (meV) of a model that is new or fine-tuned on a number of cells."""
        chosen = self.alloy[:number]

        def compute():
            with tempfile.TemporaryDirectory() as folder:
                self._train(chosen, RATES[kind], Path(folder), self.parent if kind == 'fine-tuned' else None)
                found = evaluate(folder, self.test, bands=False)
            return {key: found[key] for key in ('mae_meV', 'mae_onsite_meV')}

        return kept(self.work, [kind, RATES[kind], [path.stem for path in chosen], self.steps, self.seed], compute)

    def _train(self, files: list[Path], rate: float, folder: Path, parent: Path | None = None):
        config = {
            'data': {'train': files},
            'training': {
                'max_steps': self.steps,
                'seed': self.seed,
                'device': 'cpu',
                'threads': 1,
                'schedule': {'learning_rate': rate},
            },
        }
        with redirect_stdout(sys.stderr):
            train(config | ({'model': SMALL_NETWORK} if parent is None else {'parent': parent}), folder)


def make_studies(data: Path, steps: int, seeds: int, work: Path) -> list[Study]:
    """Studies of all seeds; references are made if need be."""
    files = alloys.make_all(data, alloys.ALLOYS)
    parts: dict[str, list[Path]] = {'host': [], 'alloy': [], 'test': []}
    for split in ('pool', 'test'):
        for path in files[split]:
            composition, _ = alloys.alloy_kind(*alloys.parse_name(path.stem))
            if split == 'pool':
                parts['host' if composition == 'AlAs' else 'alloy'].append(path)
            elif composition != 'AlAs':
                parts['test'].append(path)
    studies = []
    for seed in range(seeds):
        order = np.random.default_rng([2030, seed]).permutation(len(parts['alloy']))
        shuffled = [parts['alloy'][index] for index in order]
        studies.append(Study(parts['host'], shuffled, parts['test'], steps, seed, work))
    return studies


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.option('--numbers', default='4,8,16', help='Numbers of alloy cells.')
@click.option('--seeds', type=int, default=3)
@click.option('--steps', type=int, default=300, help='Steps of each training.')
@click.option('--data', type=click.Path(path_type=Path, file_okay=False), default=Path('.benchmarks/alloys'))
@click.option('--work', type=click.Path(path_type=Path, file_okay=False), default=Path('.benchmarks/fine_tuning'))
@click.option('--plot', type=click.Path(path_type=Path, dir_okay=False), help='Figure of the errors.')
@click.option('--json', 'json_file', type=click.Path(path_type=Path, dir_okay=False))
def main(numbers, seeds, steps, data, work, plot, json_file):
    """Command line."""
    numbers = [int(text) for text in numbers.split(',')]
    errors: dict[str, list[list[float]]] = {kind: [] for kind in RATES}
    onsite: dict[str, list[list[float]]] = {kind: [] for kind in RATES}
    for study in make_studies(data, steps, seeds, work):
        for kind in RATES:
            found = [study.measure(kind, number) for number in numbers]
            errors[kind].append([one['mae_meV'] for one in found])
            onsite[kind].append([one['mae_onsite_meV'] for one in found])
            print(study.seed, kind, np.round(errors[kind][-1], 3).tolist(), file=sys.stderr, flush=True)
    means = {kind: np.mean(errors[kind], axis=0).tolist() for kind in RATES}
    equal = [
        {'fine_tuned': number, 'new': references_for(error, numbers, means['new'])}
        for number, error in zip(numbers, means['fine-tuned'], strict=True)
    ]
    if plot is not None:
        plot_errors(numbers, {f'{kind} models': values for kind, values in errors.items()}, plot)
    better = bool((np.array(means['fine-tuned']) < np.array(means['new'])).all())
    report(
        {
            'steps': steps,
            'numbers': numbers,
            'mae_meV': errors,
            'mae_onsite_meV': onsite,
            'mean_mae_meV': means,
            'references_for_the_same_error': equal,
            'passed': better,
        },
        json_file,
    )


if __name__ == '__main__':
    main()
