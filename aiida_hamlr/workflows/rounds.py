"""The steps of active learning: references, dataset, trainings, predictions of all candidates, selection, record."""

from __future__ import annotations

from statistics import fmean

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext

from aiida_hamlr.calculations.functions.dataset import assemble_dataset, create_dataset
from aiida_hamlr.calculations.functions.learning import record_round, select_structures
from aiida_hamlr.calculations.validation import find_structure_problem
from aiida_hamlr.data.dataset import SPLITS
from aiida_hamlr.data.structures import choose_species
from aiida_hamlr.workflows.draw import draw_parts
from aiida_hamlr.workflows.references import ReferencesMixin
from aiida_hamlr.workflows.screen import ScreenWorkChain
from aiida_hamlr.workflows.sources import SOURCES, load_structures
from aiida_hamlr.workflows.train.committee import TrainCommitteeWorkChain

__all__ = ('RoundsMixin', 'get_rounds')


def get_rounds(learning: orm.WorkChainNode) -> list[dict]:
    """Return the records of the rounds of an `ActiveLearningWorkChain`, which may still be running."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': learning.pk}, tag='learning')
    query.append(
        orm.CalcFunctionNode, with_incoming='learning', edge_filters={'label': {'like': r'record\_%'}}, tag='function'
    )
    query.append(orm.Dict, with_incoming='function', project='attributes', tag='record')
    return query.order_by({'record': 'id'}).all(flat=True)


class RoundsMixin(ReferencesMixin):
    """Outline steps of the rounds of an `ActiveLearningWorkChain`, which has the inputs and exit codes.

    Labels of structures are those of screenings: `s` and the primary key. ``ctx.parts`` holds all structures chosen so
    far, in the order of their choice, with what each is for; all else follows from it.
    """

    @property
    def pseudos(self) -> dict:
        """Return the pseudopotentials of all elements."""
        return dict(self.inputs.pseudos)

    def setup(self):
        """Find the candidates, take the known Hamiltonians, and draw the first structures."""
        self.ctx.basis = self.inputs.get('basis')
        self.ctx.round, self.ctx.end, self.ctx.error = 0, None, None
        self.ctx.hamiltonians, self.ctx.split, self.ctx.failed = {}, {part: [] for part in SPLITS}, {}
        candidates = {
            pk: node for pk, node in load_structures(self.inputs).items() if find_structure_problem(node) is None
        }
        self.ctx.candidates = sorted(candidates)
        if 'dataset' in self.inputs:
            for part in SPLITS:
                known = self.inputs.dataset.get_hamiltonians(part)
                labels = [f'{part}_{index}' for index in range(len(known))]
                self.ctx.hamiltonians.update(zip(labels, known, strict=True))
                self.ctx.split[part] = labels
        numbers = {
            part: 0 if self.ctx.split[part] else self.inputs[name].value
            for part, name in (('test', 'n_test'), ('validation', 'n_validation'), ('train', 'n_initial'))
        }
        drawn = draw_parts(candidates.values(), self.inputs.seed.value, numbers, self._get_species, self._known_species)
        #: What each structure is for, by label, in the order in which they were chosen.
        self.ctx.parts = {f's{node.pk}': part for part, nodes in drawn.items() for node in nodes}
        # More than asked for if the species need it.
        total = max(len(self.ctx.parts), sum(numbers.values()))
        if len(candidates) <= total:
            return self.exit_codes.ERROR_NO_STRUCTURES.format(
                reason=f'{len(candidates)} can be computed, and {total} are drawn at random'
            )
        self.report(f'{len(candidates)} candidates, {total} drawn at random, {len(self.ctx.hamiltonians)} known')
        return None

    def _get_species(self, structure: orm.StructureData) -> set[str]:
        """Return the species of a structure."""
        return set(choose_species(structure, self.pseudos).values())

    @property
    def _known_species(self) -> set[str]:
        """Return the species of the known Hamiltonians to train on."""
        known = [self.ctx.hamiltonians[label] for label in self.ctx.split['train']]
        return set().union(*(node.species for node in known))

    def should_continue(self) -> bool:
        """Return whether there is another round."""
        return self.ctx.end is None

    def get_reference_structures(self):
        """Return the structures of this round."""
        labels = [name for name in self.ctx.parts if name not in self.ctx.hamiltonians and name not in self.ctx.failed]
        return {name: orm.load_node(int(name[1:])) for name in labels}

    def inspect_references(self):
        """Check that no more references failed than `max_failures` in this round."""
        return self._leave(super().inspect_references())

    def make_dataset(self):
        """Make a dataset of the Hamiltonians of all rounds."""
        self.ctx.failed.update(self.ctx.failures)
        known = {node.base.attributes.get('sha256') for node in self.ctx.hamiltonians.values()}
        # In the order of the selection and not of the ends: the same in another run.
        for name, part in self.ctx.parts.items():
            if name not in self.ctx.references or name in self.ctx.hamiltonians:
                continue
            node = self.ctx.references[name]
            if node.base.attributes.get('sha256') in known:
                self.ctx.failed[name] = 'the same structure is in the dataset'
                continue
            known.add(node.base.attributes.get('sha256'))
            self.ctx.hamiltonians[name] = node
            self.ctx.split[part] = [*self.ctx.split[part], name]
        split, hamiltonians = dict(self.ctx.split), dict(self.ctx.hamiltonians)
        try:
            # In the calculation function this would be an exception.
            assemble_dataset(split, self.inputs.seed.value, hamiltonians)
        except ValueError as error:
            return self._leave(self.exit_codes.ERROR_DATASET.format(reason=str(error)))
        self.ctx.dataset = create_dataset(
            split=orm.Dict(split),
            seed=self.inputs.seed,
            failures=orm.Dict(dict(self.ctx.failed)),
            **hamiltonians,
            metadata={'call_link_label': f'dataset_{self.ctx.round:02d}'},
        )
        return None

    def run_training(self):
        """Train the models of this round."""
        inputs = AttributeDict(self.exposed_inputs(TrainCommitteeWorkChain, 'train'))
        inputs.train.dataset, inputs.train.seed = self.ctx.dataset, self.inputs.seed
        inputs.reuse = self.inputs.reuse
        if self.ctx.round and self.inputs.fine_tune.value:
            inputs.train.pop('parent_model', None)
            inputs.parent_models = dict(self.ctx.models)
        return ToContext(training=self.launch(TrainCommitteeWorkChain, inputs, f'train_{self.ctx.round:02d}'))

    def inspect_training(self):
        """Take the models and their error, and decide whether to go on."""
        node = self.ctx.training
        reason = self.find_failure(node)
        if reason is not None:
            return self._leave(self.exit_codes.ERROR_SUB_PROCESS_FAILED_TRAIN.format(reason=reason))
        self.ctx.models = dict(node.outputs.models)
        key = 'test_mae_meV' if self.ctx.split['test'] else 'validation_mae_meV'
        self.ctx.error = fmean(summary[key] for summary in self._summaries.values())
        self.ctx.selection = None
        self.ctx.end = self._find_end()
        return None

    @property
    def _summaries(self) -> dict[str, orm.Dict]:
        """Return the summaries of the trainings of the models, by label."""
        return {label: model.creator.outputs.output_parameters for label, model in self.ctx.models.items()}

    def _find_end(self) -> str | None:
        """Return why this is the last round, or nothing."""
        n_references = len(self.ctx.parts)
        if 'target' in self.inputs and self.ctx.error <= self.inputs.target.value:
            return 'the target is reached'
        if self.ctx.round >= self.inputs.max_rounds.value:
            return f'{self.inputs.max_rounds.value} rounds are done'
        if 'max_references' in self.inputs and n_references >= self.inputs.max_references.value:
            return f'{n_references} references are done'
        if n_references >= len(self.ctx.candidates):
            return 'all candidates are done'
        return None

    def should_screen(self) -> bool:
        """Return whether there is another round."""
        return self.ctx.end is None

    def run_screen(self):
        """Predict all candidates with the models of this round."""
        inputs = AttributeDict(self.exposed_inputs(ScreenWorkChain, 'screen'))
        inputs.update({name: self.inputs[name] for name in SOURCES if self.inputs.get(name)})
        first, *others = sorted(self.ctx.models)
        inputs.models = {'model': self.ctx.models[first]}
        if others:
            inputs.predict.predict.committee = {label: self.ctx.models[label] for label in others}
        inputs.reuse, inputs.predict.clean_workdir = self.inputs.reuse, self.inputs.clean_workdir
        return ToContext(screening=self.launch(ScreenWorkChain, inputs, f'screen_{self.ctx.round:02d}'))

    def inspect_screen(self):
        """Select the structures of the next round."""
        node = self.ctx.screening
        reason = self.find_failure(node)
        if reason is not None:
            return self._leave(self.exit_codes.ERROR_SUB_PROCESS_FAILED_SCREEN.format(reason=reason))
        number, taken = self.inputs.n_per_round.value, [int(name[1:]) for name in self.ctx.parts]
        if 'max_references' in self.inputs:
            number = min(number, self.inputs.max_references.value - len(taken))
        query = orm.QueryBuilder().append(orm.StructureData, filters={'id': {'in': taken}}, project='uuid')
        settings = {
            'column': 'committee_spread_meV' if len(self.ctx.models) > 1 else 'uncertainty_meV',
            'number': number,
            'known': sorted(query.all(flat=True)) if taken else [],
        }
        selection, process = select_structures.run_get_node(
            table=node.outputs.results,
            settings=orm.Dict(settings),
            metadata={'call_link_label': f'select_{self.ctx.round:02d}'},
        )
        if not process.is_finished_ok:
            self.ctx.end = f'no candidates are left: {process.exit_message}'
            return None
        self.ctx.selection = selection
        chosen = [orm.load_node(uuid).pk for uuid in selection['structures']]
        self.ctx.parts.update({f's{pk}': 'train' for pk in chosen})
        return None

    def finish_round(self):
        """Record the round."""
        number, split = self.ctx.round, self.ctx.split
        numbers = {
            'round': number,
            **{f'n_{part}': len(split[part]) for part in SPLITS},
            'n_references': len(self.ctx.hamiltonians),
            'n_failed': len(self.ctx.failed),
            'n_models': len(self.ctx.models),
            'error_meV': self.ctx.error,
            'error_of': 'test' if split['test'] else 'validation',
            'end': self.ctx.end or '',
        }
        given = {} if self.ctx.selection is None else {'selection': self.ctx.selection}
        record = record_round(
            numbers=orm.Dict(numbers),
            **given,
            **self._summaries,
            metadata={'call_link_label': f'record_{number:02d}'},
        )
        self.out(f'rounds.round_{number:02d}', record)
        self.report(
            f'round {number}: {len(split["train"])} references to train on, error {self.ctx.error:.3f} meV'
            + (f'; {self.ctx.end}' if self.ctx.end else '')
        )
        self.ctx.round += 1

    def inspect_target(self):
        """Attach the models of the last round, and compare their error with the target."""
        self._attach()
        if 'target' not in self.inputs or self.ctx.error <= self.inputs.target.value:
            return None
        return self.exit_codes.ERROR_TARGET_NOT_REACHED.format(
            error=self.ctx.error,
            references=len(self.ctx.hamiltonians),
            target=self.inputs.target.value,
            reason=self.ctx.end,
        )

    def _attach(self):
        """Attach the newest dataset and the newest models."""
        if 'dataset' in self.ctx:
            self.out('dataset', self.ctx.dataset)
        for label, model in self.ctx.get('models', {}).items():
            self.out(f'models.{label}', model)
            if label == 'model_0':
                self.out('model', model)

    def _leave(self, exit_code):
        """Attach what there is if the work chain ends with an exit code, and return this."""
        if exit_code is not None:
            self._attach()
        return exit_code
