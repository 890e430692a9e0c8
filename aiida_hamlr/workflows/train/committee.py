"""Trainings of several seeds on one dataset: a committee whose spread says how uncertain its predictions are."""

from __future__ import annotations

from collections.abc import Sequence

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_

from aiida_hamlr.data.model import ModelData
from aiida_hamlr.workflows.engine import WaitsForFirstMixin
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.protocols.utils import StrictProtocolMixin, copy_inputs, get_protocol_path
from aiida_hamlr.workflows.reuse import find_training, known_hashes
from aiida_hamlr.workflows.steps import StepsMixin
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain

__all__ = ('TrainCommitteeWorkChain',)


def validate_inputs(inputs, _) -> str | None:
    """Return why the inputs do not fit together, or nothing."""
    for name in ('n_models', 'max_concurrent'):
        if name in inputs and inputs[name].value < 1:
            return f'`{name}` must be positive, not {inputs[name].value}'
    parents = inputs.get('parent_models') or {}
    if not parents or 'n_models' not in inputs:
        return None
    if 'parent_model' in inputs.get('train', {}):
        return 'give either `parent_models` or `train.parent_model`'
    expected = {f'model_{index}' for index in range(inputs['n_models'].value)}
    if set(parents) != expected:
        return f'`parent_models`: needs the labels {", ".join(sorted(expected))}, not {", ".join(sorted(parents))}'
    return None


class TrainCommitteeWorkChain(PlaysPausedMixin, WaitsForFirstMixin, StepsMixin, StrictProtocolMixin, WorkChain):
    """Train networks of several seeds on one dataset."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(
            TrainBaseWorkChain,
            exclude=('metadata', 'train.parent_folder', 'train.checkpoint'),
        )
        spec.input(
            'n_models',
            valid_type=orm.Int,
            default=lambda: orm.Int(3),
            help='Number of models; the first has the seed `train.seed`, each further one the next number.',
        )
        spec.input_namespace(
            'parent_models',
            valid_type=ModelData,
            dynamic=True,
            required=False,
            help='Models to fine-tune, one for each model, by the labels of the output `models`. For one parent of all '
            'models, give `train.parent_model`.',
        )
        spec.input(
            'max_concurrent',
            valid_type=orm.Int,
            default=lambda: orm.Int(3),
            help='Maximum number of trainings that run at a time; when one ends, the next starts.',
        )
        spec.input(
            'reuse',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help='Whether to reuse the models of finished trainings in the database that have the same inputs.',
        )
        spec.inputs.validator = validate_inputs
        spec.outline(cls.setup, while_(cls.should_run_trainings)(cls.run_trainings), cls.inspect_trainings)
        spec.output('model', valid_type=ModelData, required=False, help='The model of the first seed.')
        spec.output_namespace(
            'models',
            valid_type=ModelData,
            dynamic=True,
            required=False,
            help='All models: `model_0` with the first seed, `model_1` with the next, and so on.',
        )
        spec.exit_code(
            403,
            'ERROR_SUB_PROCESS_FAILED_TRAIN',
            message='{number} of {total} trainings failed: {reasons}. See their reports, and run again: models that '
            'are there are reused.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('committee.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls, code, dataset=None, *, protocol=None, overrides=None, options=None, parent_model=None, **training
    ):
        """Return a builder with the inputs of a protocol.

        :param code: code of the `hamlr` executable, or its label.
        :param dataset: the dataset node; without it the builder is incomplete, for a work chain that makes the dataset.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol.
        :param options: ``metadata.options`` of the jobs.
        :param parent_model: a model to fine-tune, or several, one for each model of the committee.
        :param training: ``seed`` and ``gpus``, see `TrainBaseWorkChain`.
        :raises ValueError: if an override or an option is unknown.
        """
        overrides = dict(overrides or {})
        own = {name: overrides.pop(name) for name in ('n_models', 'max_concurrent', 'reuse') if name in overrides}
        inputs = cls.get_protocol_inputs(protocol, own)
        parents = list(parent_model) if isinstance(parent_model, Sequence) else []
        base = TrainBaseWorkChain.get_builder_from_protocol(
            code,
            dataset,
            protocol=protocol,
            overrides=overrides,
            options=options,
            parent_model=parents[0] if parents else parent_model,
            **training,
        )
        if parents:
            base.train.pop('parent_model')
        builder = cls.get_builder()
        copy_inputs(base, builder)
        if parents:
            builder.parent_models = {f'model_{index}': model for index, model in enumerate(parents)}
        for name in ('n_models', 'max_concurrent'):
            builder[name] = orm.Int(inputs[name])
        builder.reuse = orm.Bool(inputs['reuse'])
        return builder

    def setup(self):
        """Initialise the context."""
        self.ctx.queue = list(range(self.inputs.n_models.value))
        self.ctx.running, self.ctx.models, self.ctx.failures = {}, {}, {}

    def should_run_trainings(self) -> bool:
        """Return whether trainings are waiting or running."""
        return bool(self.ctx.queue or self.ctx.running)

    def run_trainings(self):
        """Collect the trainings that ended, and submit the next ones."""
        for label, pk in list(self.ctx.running.items()):
            node = orm.load_node(pk)
            if node.is_terminated:
                del self.ctx.running[label]
                reason = self.find_failure(node)
                if reason is None:
                    self._keep(label, node.outputs.model)
                else:
                    self.ctx.failures[label] = reason
        while self.ctx.queue and len(self.ctx.running) < self.inputs.max_concurrent.value:
            index, *self.ctx.queue = self.ctx.queue
            self._submit(index)
        self.wait_for_first(self.ctx.running.values())

    def _submit(self, index: int):
        """Submit the training of a member, or take the model of a finished one with the same inputs."""
        label = f'model_{index}'
        inputs = AttributeDict(self.exposed_inputs(TrainBaseWorkChain))
        inputs.train.seed = orm.Int(self.inputs.train.seed.value + index).store()
        if self.inputs.get('parent_models'):
            inputs.train.parent_model = self.inputs.parent_models[label]
        known = find_training(*known_hashes(inputs)) if self.inputs.reuse.value else None
        if known is not None:
            self.report(f'{label}: reusing ModelData<{known.pk}> of an earlier training with the same inputs')
            self._keep(label, known)
            return
        self.ctx.running[label] = self.launch(TrainBaseWorkChain, inputs, label).pk

    def _keep(self, label: str, model: ModelData):
        self.ctx.models[label] = model
        self.out(f'models.{label}', model)
        if label == 'model_0':
            self.out('model', model)

    def inspect_trainings(self):
        """Check that all trainings succeeded."""
        if self.ctx.failures:
            reasons = '; '.join(f'{label}: {reason}' for label, reason in sorted(self.ctx.failures.items()))
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_TRAIN.format(
                number=len(self.ctx.failures), total=self.inputs.n_models.value, reasons=reasons
            )
        return None
