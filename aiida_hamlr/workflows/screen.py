"""Predictions of many structures: a group, a query or a trajectory in, numbers that can be queried out."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_

from aiida_hamlr.calculations.functions.screening import collect_results
from aiida_hamlr.calculations.many_nodes import transaction
from aiida_hamlr.calculations.validation import find_structure_problem
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.workflows.engine import WaitsForFirstMixin
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.protocols.utils import StrictProtocolMixin, get_protocol_path
from aiida_hamlr.workflows.results import find_results
from aiida_hamlr.workflows.sources import define_sources, find_sources_problem, load_structures, set_source
from aiida_hamlr.workflows.steps import StepsMixin

__all__ = ('ScreenWorkChain',)

#: Jobs in a row without any result after which no more are started: the fault is not of single structures.
MOST_EMPTY_JOBS = 10


def validate_inputs(inputs, namespace) -> str | None:
    """Return why the inputs do not fit together, or nothing."""
    # A work chain may exclude these ports and set them later.
    problem = find_sources_problem(inputs) if 'group' in namespace else None
    if problem is not None:
        return problem
    if 'models' in namespace and not inputs.get('models'):
        return 'give at least one model in `models`'
    for name in ('batch_size', 'max_concurrent'):
        if name in inputs and inputs[name].value < 1:
            return f'`{name}` must be positive, not {inputs[name].value}'
    return None


class ScreenWorkChain(PlaysPausedMixin, WaitsForFirstMixin, StepsMixin, StrictProtocolMixin, WorkChain):
    """Predict many structures in batches, a limited number of jobs at a time; what is known is not predicted again."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        define_sources(spec)
        spec.input_namespace(
            'models',
            valid_type=ModelData,
            dynamic=True,
            help='Models by label; each predicts all structures, and tables have mean and spread of several.',
        )
        spec.input(
            'batch_size',
            valid_type=orm.Int,
            default=lambda: orm.Int(100),
            help='Maximum number of structures of a job.',
        )
        spec.input(
            'max_concurrent',
            valid_type=orm.Int,
            default=lambda: orm.Int(4),
            help='Maximum number of jobs that run at a time; when one ends, the next starts.',
        )
        spec.input(
            'reuse',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help='Whether structures that have a result of the same model and parameters are left out.',
        )
        spec.expose_inputs(
            PredictBaseWorkChain,
            namespace='predict',
            exclude=('predict.model', 'predict.structures', 'predict.trajectory'),
            namespace_options={'help': 'Inputs of the predictions.'},
        )
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            while_(cls.should_run_batches)(cls.run_batches),
            cls.inspect_batches,
        )
        spec.output(
            'results',
            valid_type=orm.SinglefileData,
            required=False,
            help='Table in CSV: one row for each structure; with several models, mean and spread of energies.',
        )
        spec.exit_code(
            405,
            'ERROR_NO_STRUCTURES',
            message='There is nothing to screen: {reason}. Check the group, the query and the models.',
        )
        spec.exit_code(
            406,
            'ERROR_ALL_STRUCTURES_FAILED',
            message='No structure could be predicted; the first reason: {reason}. Check that the models were trained '
            'for such structures.',
        )
        spec.exit_code(
            407,
            'ERROR_JOBS_FAILED',
            message='The last {number} jobs gave no result and no more were started; the last reason: {reason}. '
            'Correct the code or the options, and run again: what was predicted is kept.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('screen.yaml')

    @classmethod
    def get_builder_from_protocol(cls, code, models, structures, *, protocol=None, overrides=None, options=None):
        """Return a builder with the inputs of a protocol.

        :param code: code of the `hamlr` executable, or its label.
        :param models: a model, or several by label.
        :param structures: a group, a query (`QueryBuilder`), a trajectory, or structures by label.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol; ``predict`` holds those of the predictions.
        :param options: ``metadata.options`` of all jobs.
        :raises ValueError: if an override or an option is unknown.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        predict = inputs.pop('predict')
        predict['clean_workdir'] = inputs['clean_workdir']
        base = PredictBaseWorkChain.get_builder_from_protocol(code, overrides=predict, options=options)
        for name in ('model', 'structures', 'trajectory'):
            base.predict.pop(name, None)
        builder = cls.get_builder()
        builder.models = dict(models) if isinstance(models, Mapping) else {'model': models}
        set_source(builder, structures)
        builder.predict = base
        for name in ('batch_size', 'max_concurrent'):
            builder[name] = orm.Int(inputs[name])
        builder.reuse = orm.Bool(inputs['reuse'])
        return builder

    @property
    def committee(self) -> list[str]:
        """Return the UUIDs of the models whose spread the predictions have."""
        return [node.uuid for node in self.inputs.predict.predict.get('committee', {}).values()]

    @property
    def parameters(self) -> dict:
        """Return the parameters of the predictions."""
        return self.inputs.predict.predict.parameters.get_dict()

    def setup(self):
        """Find what has to be predicted, and put it into batches of structures of similar size."""
        self.ctx.queue, self.ctx.running, self.ctx.failures = [], {}, {}
        self.ctx.n_jobs = self.ctx.n_empty = 0
        self.ctx.last_reason = ''
        structures = load_structures(self.inputs)
        if not structures:
            return self.exit_codes.ERROR_NO_STRUCTURES.format(reason='the source has no structures')
        self.ctx.structures = sorted(structures)
        with transaction():
            sizes = {pk: len(node.base.attributes.get('sites')) for pk, node in structures.items()}
            kinds = {pk: set(node.get_kind_names()) for pk, node in structures.items()}
            problems = {pk: find_structure_problem(node) for pk, node in structures.items()}
        for label, model in self.inputs.models.items():
            known = set(model.species)
            failures = {pk: problem for pk, problem in problems.items() if problem is not None}
            for pk, names in kinds.items():
                unknown = sorted(names - known)
                if unknown:
                    failures.setdefault(pk, f'the model never saw {", ".join(unknown)}')
            done = self._find_results(structures, model) if self.inputs.reuse.value else {}
            self.ctx.failures[label] = {pk: reason for pk, reason in failures.items() if pk not in done}
            waiting = sorted((pk for pk in structures if pk not in done and pk not in failures), key=sizes.get)
            size = self.inputs.batch_size.value
            self.ctx.queue += [[label, waiting[start : start + size]] for start in range(0, len(waiting), size)]
            self.report(
                f'{label}: {len(structures)} structures, {len(done)} with a result, {len(failures)} that cannot be '
                f'predicted, {len(waiting)} to predict'
            )
        return None

    def _find_results(self, structures, model) -> dict:
        """Return the results in the database that are of the same inputs as those of this screening, by structure."""
        return find_results(structures, model, self.parameters, self.committee)

    def should_run_batches(self) -> bool:
        """Return whether batches are waiting or running."""
        return bool(self.ctx.queue or self.ctx.running)

    def run_batches(self):
        """Collect the jobs that ended, and submit the next ones."""
        for pk, (label, batch) in list(self.ctx.running.items()):
            node = orm.load_node(pk)
            if node.is_terminated:
                del self.ctx.running[pk]
                self._collect(node, label, batch)
        if self.ctx.n_empty >= MOST_EMPTY_JOBS:
            self.ctx.queue = []
        while self.ctx.queue and len(self.ctx.running) < self.inputs.max_concurrent.value:
            (label, batch), *self.ctx.queue = self.ctx.queue
            self.ctx.running[self._submit(label, batch)] = [label, batch]
        self.wait_for_first(self.ctx.running)

    def _submit(self, label: str, batch: list[int]) -> int:
        """Submit a batch; return the process, or the one that a step submitted which was interrupted then."""
        name = f'batch_{self.ctx.n_jobs:05d}'
        self.ctx.n_jobs += 1
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': self.node.pk}, tag='self')
        query.append(orm.WorkChainNode, with_incoming='self', edge_filters={'label': name}, project='id')
        known = query.first(flat=True)
        if known is not None:
            return known
        inputs = AttributeDict(self.exposed_inputs(PredictBaseWorkChain, 'predict'))
        nodes = orm.QueryBuilder().append(orm.StructureData, filters={'id': {'in': batch}}).all(flat=True)
        inputs.predict.model = self.inputs.models[label]
        inputs.predict.structures = {f's{node.pk}': node for node in nodes}
        return self.launch(PredictBaseWorkChain, inputs, name).pk

    def _collect(self, node: orm.WorkChainNode, label: str, batch: list[int]):
        """Look which structures of a batch have a result; split what is left, or note why nothing came."""
        reason = self.find_failure(node)
        done, failures = find_outcome(node)
        self.ctx.failures[label].update({pk: why for pk, why in failures.items() if pk not in done})
        left = [pk for pk in batch if pk not in done and pk not in failures]
        self.ctx.n_empty = 0 if done else self.ctx.n_empty + 1
        if reason is not None:
            self.ctx.last_reason = reason
        if len(left) > 1 or (left and done):
            half = len(left) // 2
            self.ctx.queue += [[label, part] for part in (left[:half], left[half:]) if part]
            self.report(f'{label}: {len(left)} structures of the job have no result; they run again in smaller jobs')
        elif left:
            self.ctx.failures[label][left[0]] = reason or 'the job gave no result for it'

    def inspect_batches(self):
        """Make the table of all results."""
        results = {label: self._find_results(self.ctx.structures, model) for label, model in self.inputs.models.items()}
        failures = {
            label: {pk: reason for pk, reason in each.items() if pk not in results[label]}
            for label, each in self.ctx.failures.items()
        }
        n_done, n_failed = sum(map(len, results.values())), sum(map(len, failures.values()))
        self.report(f'{n_done} results, {n_failed} failures')
        if n_done:
            self.out('results', self._collect_table(results, failures))
        if self.ctx.n_empty >= MOST_EMPTY_JOBS:
            return self.exit_codes.ERROR_JOBS_FAILED.format(number=self.ctx.n_empty, reason=self.ctx.last_reason)
        if not n_done:
            reasons = [reason for each in failures.values() for reason in each.values()]
            return self.exit_codes.ERROR_ALL_STRUCTURES_FAILED.format(reason=reasons[0] if reasons else 'unknown')
        return None

    def _collect_table(self, results: dict, failures: dict) -> orm.SinglefileData:
        """Make the table node, which links to what was retrieved of all jobs."""
        structures = orm.QueryBuilder().append(
            orm.StructureData, filters={'id': {'in': self.ctx.structures}}, project=['id', 'uuid', 'label'], tag='node'
        )
        about = {
            f's{pk}': {'structure': uuid, 'label': label or f's{pk}'}
            for pk, uuid, label in structures.order_by({'node': 'id'}).iterall()
        }
        jobs: dict[int, dict] = {}
        for label, each in results.items():
            for pk, result in each.items():
                job = jobs.setdefault(result.job, {'model': label, 'structures': {}})
                job['structures'][result.label] = f's{pk}'
        query = orm.QueryBuilder().append(orm.CalcJobNode, filters={'id': {'in': list(jobs)}}, project='id', tag='job')
        query.append(orm.FolderData, with_incoming='job', edge_filters={'label': 'retrieved'}, project='*')
        return collect_results(
            structures=orm.Dict(about),
            models=orm.Dict(
                {label: {f's{pk}': reason for pk, reason in each.items()} for label, each in failures.items()}
            ),
            jobs=orm.Dict({f'job_{pk}': job for pk, job in jobs.items()}),
            **{f'job_{pk}': node for pk, node in query.iterall()},
            metadata={'call_link_label': 'collect_results'},
        )


def find_outcome(node: orm.WorkChainNode) -> tuple[set[int], dict[int, str]]:
    """Return the structures of a batch that have a result, and why others have none, from all its jobs."""
    done, failures = set(), {}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': node.pk}, tag='chain')
    query.append(orm.CalcJobNode, with_incoming='chain', tag='job')
    query.append(orm.Dict, with_incoming='job', edge_project='label', project='attributes.failed')
    for failed, label in query.iterall():
        if label.startswith('results__s'):
            done.add(int(label.removeprefix('results__s')))
        for entry in failed or ():
            failures[int(entry['name'].removeprefix('s'))] = entry['reason']
    return done, failures
