"""A study of one polar system: references, networks and predictions through AiiDA, then table, pictures and archive."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _measure import by_range, format_table, mean_errors, profile_errors
from _pictures import draw_levels, draw_sizes
from _references import LARGER, TEST, TRAIN, Machine, Settings, make_dataset, open_profile
from aiida import orm
from aiida.engine import ProcessState, run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import WorkflowFactory
from aiida.tools.archive import create_archive
from ase import Atoms

from aiida_hamlr.calculations.functions.compare import compare_hamiltonians
from aiida_hamlr.data.structures import structure_from_atoms

#: The networks, and what stands in the section ``model`` of their training.
VARIANTS = {
    'sr': {'variant': 'sr'},
    'ea': {'variant': 'ea'},
    'lr': {'variant': 'lr'},
    'lr+ea': {'variant': 'lr+ea'},
    'response': {'variant': 'lr', 'response': True},
}

#: Variants in the picture of the levels.
DRAWN = ('sr', 'lr+ea', 'response')

#: trial: whether everything works, with too few references for good networks; small: 45 minutes on two cores;
#: full: days; paper: for a cluster.
SCALES = ('trial', 'small', 'full', 'paper')


@dataclass(frozen=True)
class System:
    """What is computed of one system, by scale.

    Parameters
    ----------
    name : str
        For titles.
    size : str
        What ``atoms.info['size']`` counts; the axis of a picture.
    settings : mapping of str to Settings
        Of the references.
    structures : function of str
        The structures of a scale by part and label, each with ``info['size']``.
    materials : sequence of sequences of str
        Species of each material.
    margin : float
        Atoms within this distance of the ends of a material are not inner ones, Å.
    drawn : mapping of str to str
        Label of the structure whose levels are drawn.
    steps : mapping of str to int
        Steps of a training.
    training : mapping
        Further keys of the section ``training``.
    """

    name: str
    size: str
    settings: Mapping[str, Settings]
    structures: Callable[[str], dict[str, dict[str, Atoms]]]
    materials: Sequence[Sequence[str]]
    margin: float
    drawn: Mapping[str, str]
    steps: Mapping[str, int]
    training: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One run of a script: a system at a scale, in a folder, on a machine."""

    system: System
    scale: str
    folder: Path
    machine: Machine
    steps: int

    def train(self, dataset, variant: str, seed: int) -> orm.Node:
        """The model of one variant and seed; a finished training with the same inputs is reused."""
        training = {'max_steps': self.steps, **self.system.training}
        if self.machine.is_here:
            training |= {'device': 'cpu', 'threads': 1}
        builder = WorkflowFactory('hamlr.train.base').get_builder_from_protocol(
            self.machine.codes['hamlr'],
            dataset,
            seed=seed,
            gpus=self.machine.gpus,
            overrides={'train': {'parameters': {'model': VARIANTS[variant], 'training': training}}},
            options=dict(self.machine.train_options),
        )
        return self._run(builder, f'{variant}_{seed}').model

    def predict(self, model, structures: Mapping[str, Atoms]) -> dict[str, orm.Node]:
        """Predicted Hamiltonians by label."""
        builder = WorkflowFactory('hamlr.predict.base').get_builder_from_protocol(
            self.machine.codes['hamlr'],
            model,
            {label: structure_from_atoms(atoms) for label, atoms in structures.items()},
            overrides={'predict': {'parameters': {'outputs': ['hamiltonian']}}, 'clean_workdir': True},
            options=dict(self.machine.train_options),
        )
        return dict(self._run(builder, 'predict').hamiltonians)

    def compare(self, predicted: Mapping[str, orm.Node], references: Mapping[str, orm.Node]) -> dict[str, dict]:
        """Errors by label."""
        found = {}
        for label, node in predicted.items():
            with enable_caching():
                errors = compare_hamiltonians(node, references[label]).get_dict()
            opened = [one.open(('hamiltonian', 'h0', 'overlap')) for one in (node, references[label])]
            errors |= by_range(errors) | profile_errors(*opened, self.system.materials, self.system.margin)
            found[label] = errors
        return found

    def measure(self, dataset, variants: Sequence[str], seeds: Sequence[int], references: Mapping) -> dict:
        """Errors by variant, seed and label; and the predictions of the first seed by variant."""
        tested = {label: atoms for part in (TEST, LARGER) for label, atoms in self.parts[part].items()}
        tested = {label: atoms for label, atoms in tested.items() if label in references}
        errors: dict = {}
        predictions = {}
        for variant in variants:
            for seed in seeds:
                model = self.train(dataset, variant, seed)
                predicted = self.predict(model, tested)
                predictions.setdefault(variant, predicted)
                errors.setdefault(variant, {})[str(seed)] = self.compare(predicted, references)
                self.write('errors.json', errors)
        return {'errors': errors, 'predictions': predictions}

    @property
    def parts(self) -> dict[str, dict[str, Atoms]]:
        """Structures by part and label."""
        return self.system.structures(self.scale)

    def summarise(self, errors: Mapping) -> dict:
        """Mean errors by variant, seed and part."""
        titles = {TEST: 'trained sizes', LARGER: 'larger sizes'}
        return {
            variant: {
                seed: {
                    title: mean_errors([found[label] for label in self.parts[part] if label in found])
                    for part, title in titles.items()
                }
                for seed, found in seeds.items()
            }
            for variant, seeds in errors.items()
        }

    def draw(self, errors: Mapping, predictions: Mapping, references: Mapping):
        """Pictures of the errors over the size and of the levels across one structure."""
        sizes = {label: atoms.info['size'] for part in self.parts.values() for label, atoms in part.items()}
        trained = max(sizes[label] for label in self.parts[TRAIN])
        draw_sizes(errors, sizes, trained, self.system.size, self.folder / 'sizes.png')
        label = self.system.drawn[self.scale]
        if label in references:
            nodes = {'DFT': references[label]} | {
                name: predictions[name][label] for name in DRAWN if name in predictions
            }
            draw_levels(nodes, self.folder / 'levels.png')

    def write(self, name: str, content):
        """Write a JSON file into the folder, under a temporary name first."""
        temporary = self.folder / f'{name}.part'
        temporary.write_text(json.dumps(content, indent=1) + '\n')
        temporary.replace(self.folder / name)

    def _run(self, builder, label: str):
        builder.metadata.label = f'{self.system.name} {self.scale} {label}'
        with enable_caching():
            outputs, node = run_get_node(builder)
        if not node.is_finished_ok:
            raise RuntimeError(
                f'{node.process_label} <{node.pk}> ({label}) failed: {node.exit_message or node.exception}'
            )
        print(f'{label}: {node.process_label} <{node.pk}>', file=sys.stderr, flush=True)
        return node.outputs


def seal_interrupted():
    """Close the processes of earlier calls that were stopped: an archive takes only those that have ended.

    Only for a profile in which nothing else runs.
    """
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={'attributes': {'!has_key': 'sealed'}})
    for node in query.all(flat=True):
        node.set_process_state(ProcessState.KILLED)
        node.seal()


def run_study(system: System, description: str):
    """Command line of one system."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='of the AiiDA profile and the results')
    parser.add_argument('--scale', choices=SCALES, default='small')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--steps', type=int, help='of a training; default: those of the scale')
    parser.add_argument('--data-only', action='store_true', help='make the references and stop')
    parser.add_argument('--archive', action='store_true', help='write study.aiida with everything and its provenance')
    cluster = parser.add_argument_group('a cluster (default: the programs of this machine)')
    cluster.add_argument('--pw', default='', help='label of the code of pw.x in the default profile')
    cluster.add_argument('--hamlr', default='', help='label of the code of hamlr')
    cluster.add_argument('--options', type=json.loads, help='JSON: metadata.options of the jobs')
    cluster.add_argument('--gpus', type=int, help='GPUs of a training')
    given = parser.parse_args()
    machine = Machine(given.pw, given.hamlr, gpus=given.gpus)
    if given.options:
        machine = Machine(given.pw, given.hamlr, given.options, given.options, given.gpus)
    folder = given.folder / given.scale
    study = Study(system, given.scale, folder, machine, given.steps or system.steps[given.scale])
    open_profile(given.folder, machine)
    folder.mkdir(exist_ok=True)
    try:
        made = make_dataset(folder, study.parts, system.settings[given.scale], machine)
        if given.data_only:
            return
        references = dict(made.outputs.references)
        found = study.measure(made.outputs.dataset, given.variants, given.seeds, references)
    except RuntimeError as error:
        parser.exit(1, f'{error}\n')
    summary = study.summarise(found['errors'])
    study.write('summary.json', {'scale': given.scale, 'steps': study.steps, 'errors': summary})
    table = format_table(summary)
    (folder / 'table.md').write_text(table)
    print(table)
    study.draw(found['errors'], found['predictions'], references)
    if given.archive:
        if machine.is_here:
            seal_interrupted()
        nodes = [made.outputs.dataset, *(node for one in found['predictions'].values() for node in one.values())]
        create_archive(nodes, filename=folder / 'study.aiida', overwrite=True)
