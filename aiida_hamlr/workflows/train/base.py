"""Training that goes on after wall-time, and that mends what can be mended."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, if_, process_handler, while_
from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin

from aiida_hamlr.calculations.train import TrainCalculation
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.workflows.fetch import FetchStepsMixin
from aiida_hamlr.workflows.utils import get_protocol_path, recursive_options

__all__ = ('TrainBaseWorkChain',)


class TrainBaseWorkChain(FetchStepsMixin, ProtocolMixin, BaseRestartWorkChain):
    """Train a network; resume from the checkpoint after wall-time, lower the learning rate after a divergence."""

    _process_class = TrainCalculation

    #: What the learning rate is multiplied with after a divergence, and how often.
    _LEARNING_RATE_FACTOR = 0.3
    _MAX_DIVERGENCES = 3

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(TrainCalculation, namespace='train', namespace_options={'help': 'Inputs of the jobs.'})
        # Hamiltonians on other computers, which the job would refuse, are fetched first.
        validate = spec.inputs['train'].validator
        spec.inputs['train'].validator = lambda inputs, port: validate(
            {key: value for key, value in inputs.items() if key != 'dataset'}, port
        )
        cls.define_fetch(spec)
        spec.outline(
            cls.setup,
            cls.inspect_data,
            if_(cls.should_fetch)(cls.run_fetch, cls.inspect_fetch),
            cls.use_data,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )
        spec.expose_outputs(TrainCalculation)
        spec.exit_code(
            310,
            'ERROR_KNOWN_UNRECOVERABLE_FAILURE',
            message='The training cannot be mended: {reason}. Change its parameters.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('train.yaml')

    @classmethod
    def get_builder_from_protocol(cls, code, dataset, *, protocol=None, overrides=None, options=None, seed=None, **_):
        """Return a builder with the inputs of a protocol.

        :param code: code of the `hamlr` executable, or its label.
        :param dataset: the dataset node.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol.
        :param options: ``metadata.options`` of the jobs.
        :param seed: seed of all random numbers; by default that of the protocol.
        """
        code = orm.load_code(code) if isinstance(code, str) else code
        builder = cls._get_builder_without_dataset(code, protocol, overrides, options, seed)
        builder.train.dataset = dataset
        return builder

    @classmethod
    def _get_builder_without_dataset(cls, code, protocol, overrides, options, seed):
        inputs = cls.get_protocol_inputs(protocol, overrides)
        builder = cls.get_builder()
        builder.train.code = code
        builder.train.parameters = orm.Dict(inputs['train']['parameters'])
        builder.train.seed = orm.Int(inputs['seed'] if seed is None else seed)
        builder.train.metadata = {
            'options': recursive_options(
                inputs['train'], options, code.computer.scheduler_type, cls.set_default_resources
            )
        }
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        builder.max_iterations = orm.Int(inputs['max_iterations'])
        return builder

    def setup(self):
        """Keep the inputs of the next job in the context."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(TrainCalculation, 'train'))
        self.ctx.inputs.parameters = self.ctx.inputs.parameters.get_dict()
        self.ctx.divergences = 0

    def data_target(self):
        """Return the dataset, and the computer of the training."""
        return self.inputs.train.dataset, self.inputs.train.code.computer

    def use_data(self):
        """Train on the dataset whose files are at hand."""
        self.ctx.inputs.dataset = self.ctx.dataset

    def report_action(self, node, action: str):
        """Report a failure and what is done about it."""
        self.report(f'{node.process_label}<{node.pk}> failed with status {node.exit_status}: {node.exit_message}')
        self.report(f'Action taken: {action}')

    @process_handler(
        priority=600,
        exit_codes=[
            TrainCalculation.exit_codes.ERROR_OUT_OF_WALLTIME,
            TrainCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_WALLTIME,
            TrainCalculation.exit_codes.ERROR_SCHEDULER_NODE_FAILURE,
        ],
    )
    def handle_interrupted(self, node):
        """Go on from the last checkpoint, or from the start if there is none."""
        if self._has_checkpoint(node):
            self.ctx.inputs.parent_folder = node.outputs.remote_folder
            self.report_action(node, 'going on from the last checkpoint')
            return ProcessHandlerReport(True)
        if node.exit_status == TrainCalculation.exit_codes.ERROR_SCHEDULER_NODE_FAILURE.status:
            self.report_action(node, 'starting again')
            return ProcessHandlerReport(True)
        if node.base.caching.is_created_from_cache:
            self.ctx.inputs.metadata.disable_cache = True
            self.report_action(node, 'the checkpoint is gone, starting again without the cache')
            return ProcessHandlerReport(True)
        reason = 'the allotted time was over before the first checkpoint'
        return ProcessHandlerReport(True, self.exit_codes.ERROR_KNOWN_UNRECOVERABLE_FAILURE.format(reason=reason))

    @process_handler(priority=590, exit_codes=[TrainCalculation.exit_codes.ERROR_NUMERICAL])
    def handle_divergence(self, node):
        """Start again with a lower learning rate."""
        self.ctx.divergences += 1
        if self.ctx.divergences > self._MAX_DIVERGENCES:
            reason = f'it diverged {self.ctx.divergences} times; {node.exit_message}'
            return ProcessHandlerReport(True, self.exit_codes.ERROR_KNOWN_UNRECOVERABLE_FAILURE.format(reason=reason))
        training = self.ctx.inputs.parameters.setdefault('training', {})
        rate = training.get('learning_rate', TrainingConfig().learning_rate) * self._LEARNING_RATE_FACTOR
        training['learning_rate'] = rate
        self.ctx.inputs.pop('parent_folder', None)
        self.report_action(node, f'starting again with learning rate {rate:.2g}')
        return ProcessHandlerReport(True)

    @process_handler(
        priority=580,
        exit_codes=[
            TrainCalculation.exit_codes.ERROR_OUT_OF_MEMORY,
            TrainCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_MEMORY,
        ],
    )
    def handle_out_of_memory(self, node):
        """Halve the batch."""
        training = self.ctx.inputs.parameters.setdefault('training', {})
        # The number of edges, where one is given, is what limits the batches.
        key, unit = ('max_edges_per_batch', 'edges') if training.get('max_edges_per_batch') else ('batch_size', '')
        size = training.get(key, getattr(TrainingConfig(), key)) // 2
        if size < 1:
            reason = 'one structure at a time does not fit into memory'
            return ProcessHandlerReport(True, self.exit_codes.ERROR_KNOWN_UNRECOVERABLE_FAILURE.format(reason=reason))
        training[key] = size
        self.ctx.inputs.pop('parent_folder', None)
        self.report_action(node, f'starting again with batches of {size} {unit}'.rstrip())
        return ProcessHandlerReport(True)

    @staticmethod
    def _has_checkpoint(node) -> bool:
        folder = node.outputs.remote_folder
        if folder.is_cleaned:
            return False
        try:
            names = folder.listdir(f'{TrainCalculation._OUTPUT_SUBFOLDER}/checkpoints')
        except OSError:
            return False
        return 'last.ckpt' in names
