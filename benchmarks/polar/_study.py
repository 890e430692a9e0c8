"""A study of one polar system: references, networks and predictions through AiiDA, then table, pictures and archive."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from _measure import all_errors, format_table
from _peer import PEERS, Peer
from _pictures import draw_levels, draw_sizes
from _references import LARGER, TEST, TRAIN, Machine, Settings, make_dataset, open_profile
from _results import Results, checksum, write_json
from _running import run_all
from aiida import orm
from aiida.engine import ProcessBuilder, ProcessState
from aiida.manage.caching import enable_caching
from aiida.plugins import WorkflowFactory
from aiida.tools.archive import create_archive
from ase import Atoms

from aiida_hamlr.calculations.functions.compare import compare_hamiltonians
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.export import NAMES, export_hamiltonians

#: The networks, and what stands in the section ``model`` of their training.
VARIANTS = {
    'sr': {'variant': 'sr'},
    'ea': {'variant': 'ea'},
    'lr': {'variant': 'lr'},
    'lr+ea': {'variant': 'lr+ea'},
    'response': {'variant': 'lr', 'long_range': {'response': True}},
    'dipoles': {'variant': 'lr', 'long_range': {'response': True, 'permanent_dipoles': True}},
    'near': {'variant': 'lr', 'long_range': {'response': True, 'source_layers': 1}},
    'near+field': {'variant': 'lr', 'long_range': {'response': True, 'source_layers': 1, 'field_features': True}},
    'near+dipoles': {'variant': 'lr', 'long_range': {'response': True, 'permanent_dipoles': True, 'source_layers': 1}},
}

#: Those of a call that names none.
USUAL = ('sr', 'ea', 'lr', 'lr+ea', 'response', 'near')

#: What is read of a Hamiltonian for its errors.
MATRICES = ('hamiltonian', 'h0', 'overlap')

#: Variants in the picture of the levels: the first three that there are.
DRAWN = ('sr', 'response', 'near', 'near+field', 'lr+ea')

#: Steps of a training by scale. trial: whether everything works, with too few references for good networks; small: an
#: hour on one core; medium: some hours; full: days; paper: for a cluster.
STEPS = {'trial': 800, 'small': 1500, 'medium': 6000, 'full': 60000, 'paper': 300000}

#: Parts that are compared, and their titles in the table.
COMPARED = {TEST: 'trained sizes', LARGER: 'larger sizes'}


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
    overlap_threshold : float
        Of the predicted bands, see `eigenvalues`: where orbitals are nearly dependent, small errors of elements make
        ghost states.
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
    overlap_threshold: float = 0.0
    training: Mapping = field(default_factory=dict)

    def settings_of(self, scale: str) -> Settings:
        """Of the references; `trial` and `medium` have those of `small`."""
        return self.settings['small' if scale in ('trial', 'medium') else scale]


@dataclass(frozen=True)
class Study:
    """One run of a script: a system at a scale, in a folder, on a machine."""

    system: System
    scale: str
    folder: Path
    machine: Machine
    steps: int

    def training(self, dataset, variant: str, seed: int) -> ProcessBuilder:
        """Inputs of the training of one network."""
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
        builder.metadata.label = f'{self.system.name} {self.scale}: {variant}, seed {seed}'
        return builder

    def prediction(self, model, structures: Mapping[str, Atoms]) -> ProcessBuilder:
        """Inputs of the prediction of Hamiltonians by label."""
        builder = WorkflowFactory('hamlr.predict.base').get_builder_from_protocol(
            self.machine.codes['hamlr'],
            model,
            {label: structure_from_atoms(atoms) for label, atoms in structures.items()},
            overrides={'predict': {'parameters': {'outputs': ['hamiltonian']}}, 'clean_workdir': True},
            options=dict(self.machine.train_options),
        )
        builder.metadata.label = f'{self.system.name} {self.scale}: prediction of {model.pk}'
        return builder

    def compare(self, predicted: Mapping[str, orm.Node], references: Mapping[str, orm.Node]) -> dict[str, dict]:
        """Errors by label; the elements' and bands' also as nodes, without a threshold."""
        found = {}
        for label, node in predicted.items():
            with enable_caching():
                compare_hamiltonians(node, references[label])
            found[label] = self._errors(node.open(MATRICES), references[label].open(MATRICES))
        return found

    def _errors(self, predicted: Hamiltonian, reference: Hamiltonian) -> dict:
        system = self.system
        return all_errors(predicted, reference, system.materials, system.margin, system.overlap_threshold)

    def measure(self, dataset, variants: Sequence[str], seeds: Sequence[int], references: Mapping) -> Results:
        """Errors of the networks, those of earlier calls included."""
        tested = self._tested(references)
        common = {'scale': self.scale, 'steps': self.steps, 'references': checksum(references)}
        common['overlap_threshold'] = self.system.overlap_threshold
        results = Results.load(self.folder / 'results.json', common)
        networks = [(variant, seed) for seed in seeds for variant in variants]
        for start in range(0, len(networks), self.machine.at_once):
            batch = networks[start : start + self.machine.at_once]
            trained = run_all({f'{one[0]}, seed {one[1]}': self.training(dataset, *one) for one in batch})
            predicted = run_all({name: self.prediction(node.outputs.model, tested) for name, node in trained.items()})
            for one, node in zip(batch, predicted.values(), strict=True):
                hamiltonians = dict(node.outputs.hamiltonians)
                uuids = {label: found.uuid for label, found in hamiltonians.items()}
                results.add(*one, self.compare(hamiltonians, references), uuids)
        results.order([*VARIANTS, *PEERS])
        return results

    def measure_peers(self, results: Results, references: Mapping, cpu_seconds: float, seed: int):
        """Errors of DeePTB, trained for some CPU seconds on H less H0 and on H."""
        learned, tested = (
            {label: references[label].open(MATRICES) for label in labels if label in references}
            for labels in (self.parts[TRAIN], self._tested(references))
        )
        for name, target in PEERS.items():
            peer = Peer(self.folder / 'deeptb', target, cpu_seconds, seed)
            predicted, summary = peer.predict(learned, tested)
            print(f'{name}: {summary["steps"]} steps in {summary["cpu_s"]:.0f} CPU s', file=sys.stderr)
            results.add(name, seed, {label: self._errors(one, tested[label]) for label, one in predicted.items()}, {})

    def _tested(self, references: Mapping) -> dict[str, Atoms]:
        return {label: atoms for part in COMPARED for label, atoms in self.parts[part].items() if label in references}

    @cached_property
    def parts(self) -> dict[str, dict[str, Atoms]]:
        """Structures by part and label."""
        return self.system.structures(self.scale)

    def report(self, results: Results, references: Mapping) -> str:
        """Write table and pictures into the folder, and return the table."""
        summary = results.summarise({title: list(self.parts[part]) for part, title in COMPARED.items()})
        write_json(self.folder / 'summary.json', {**results.common, 'errors': summary})
        table = format_table(summary)
        (self.folder / 'table.md').write_text(table)
        sizes = {label: atoms.info['size'] for part in self.parts.values() for label, atoms in part.items()}
        trained = max(sizes[label] for label in self.parts[TRAIN])
        draw_sizes(results.errors, sizes, trained, self.system.size, self.folder / 'sizes.png')
        label = self.system.drawn[self.scale]
        if label in references:
            drawn = [name for name in DRAWN if name in results.predictions][:3]
            shown = {name: results.predictions[name][label] for name in drawn}
            nodes = {'DFT': references[label]} | {name: orm.load_node(uuid) for name, uuid in shown.items()}
            draw_levels(nodes, self.system.materials, self.folder / 'levels.png')
        return table

    def export(self, references: Mapping, formats: Sequence[str]):
        """Write the references for other programs, ``export/<format>/<part>``."""
        for part, structures in self.parts.items():
            names = [label for label in structures if label in references]
            for name in formats:
                opened = [references[label].open(('hamiltonian', 'overlap')) for label in names]
                export_hamiltonians(opened, names, name, self.folder / 'export' / name / part)


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
    parser.add_argument('--scale', choices=STEPS, default='small')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(USUAL))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--steps', type=int, help='of a training; default: those of the scale')
    parser.add_argument('--data-only', action='store_true', help='make the references and stop')
    parser.add_argument('--export', nargs='+', choices=NAMES, default=[], help='write the references in these formats')
    parser.add_argument('--deeptb', type=float, metavar='SECONDS', help='train DeePTB for as many CPU seconds, too')
    parser.add_argument('--archive', action='store_true', help='write study.aiida with everything and its provenance')
    parser.add_argument('--at-once', type=int, help='how many jobs; default: one for each core, on a cluster 20')
    cluster = parser.add_argument_group('a cluster (default: the programs of this machine)')
    cluster.add_argument('--pw', default='', help='label of the code of pw.x in the default profile')
    cluster.add_argument('--hamlr', default='', help='label of the code of hamlr')
    cluster.add_argument('--options', type=json.loads, help='JSON: metadata.options of the jobs')
    cluster.add_argument('--gpus', type=int, help='GPUs of a training')
    given = parser.parse_args()
    at_once = given.at_once or (20 if given.pw else os.cpu_count() or 1)
    machine = Machine(given.pw, given.hamlr, gpus=given.gpus, at_once=at_once)
    if given.options:
        machine = replace(machine, pw_options=given.options, train_options=given.options)
    folder = given.folder / given.scale
    study = Study(system, given.scale, folder, machine, given.steps or STEPS[given.scale])
    open_profile(given.folder, machine)
    folder.mkdir(exist_ok=True)
    try:
        made = make_dataset(folder, study.parts, system.settings_of(given.scale), machine)
        references = dict(made.outputs.references)
        study.export(references, given.export)
        if given.data_only:
            return
        results = study.measure(made.outputs.dataset, given.variants, given.seeds, references)
        if given.deeptb:
            study.measure_peers(results, references, given.deeptb, given.seeds[0])
    except RuntimeError as error:
        parser.exit(1, f'{error}\n')
    print(study.report(results, references))
    if given.archive:
        if machine.is_here:
            seal_interrupted()
        uuids = [uuid for one in results.predictions.values() for uuid in one.values()]
        nodes = [made.outputs.dataset, *map(orm.load_node, uuids)]
        create_archive(nodes, filename=folder / 'study.aiida', overwrite=True)
