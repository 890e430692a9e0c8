"""Training that resumes after wall-time, and that handles divergence and lack of memory."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, if_, process_handler, while_

from aiida_hamlr.calculations.train import CHECKPOINTS, TrainCalculation, nest_parameters
from aiida_hamlr.errors import DAMAGED_CHECKPOINT
from aiida_hamlr.model.config import ScheduleConfig, TrainingConfig
from aiida_hamlr.monitors.training import DIVERGED, FLAT
from aiida_hamlr.workflows.fetch import FetchStepsMixin
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.protocols.utils import (
    StrictProtocolMixin,
    count_tasks,
    get_protocol_path,
    load_codes,
    recursive_options,
    request_gpus,
)
from aiida_hamlr.workflows.reuse import INPUTS_HASH, hash_inputs
from aiida_hamlr.workflows.steps import StepsMixin

__all__ = ('TrainBaseWorkChain',)

CODES = TrainCalculation.exit_codes


class TrainBaseWorkChain(PlaysPausedMixin, FetchStepsMixin, StepsMixin, StrictProtocolMixin, BaseRestartWorkChain):
    """Train a network; resume from checkpoints, and reduce the learning rate or the batch when needed."""

    _process_class = TrainCalculation

    #: Factor for the learning rate after a divergence, and the maximum number of such reductions.
    _LEARNING_RATE_FACTOR = 0.3
    _MAX_DIVERGENCES = 3
    #: Maximum number of jobs that are killed without a known reason.
    _MAX_KILLS = 3

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(
            TrainCalculation, namespace='train', namespace_options={'help': 'Inputs of the training jobs.'}
        )
        # The job would refuse Hamiltonians on other computers, which the work chain fetches first.
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
            message='The training failed and cannot be continued automatically: {reason}. Change its parameters or its '
            'resources.',
        )
        spec.exit_code(
            311,
            'ERROR_NO_GPU',
            message='The jobs need more GPUs than they can see: {reason}. Check what the scheduler was asked for.',
        )
        spec.exit_code(
            312,
            'ERROR_DISK_FULL',
            message='{reason} To resume, start again with the output `remote_folder` as `train.parent_folder`.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('train.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls,
        code,
        dataset=None,
        *,
        protocol=None,
        overrides=None,
        options=None,
        seed=None,
        gpus=None,
        parent_model=None,
    ):
        """Return a builder with the inputs of a protocol.

        :param code: code of the `hamlr` executable, or its label.
        :param dataset: the dataset node; without it the builder is incomplete, for a work chain that makes the dataset.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol.
        :param options: ``metadata.options`` of the jobs. If ``resources`` asks for several tasks on each machine, as
            many processes train together, unless ``processes`` or ``gpus`` says otherwise.
        :param seed: seed of all random numbers; by default the seed of the protocol.
        :param parent_model: a model to fine-tune; its network takes the place of that of the protocol.
        :param gpus: GPUs on each machine, with one process for each; SLURM is asked for them, unless the
            ``custom_scheduler_commands`` of the options already do so.
        :raises ValueError: if an override or an option is unknown, or ``gpus`` is not positive.
        """
        (code,) = load_codes(code)
        inputs = cls.get_protocol_inputs(protocol, _nest_overrides(overrides))
        train, parameters = inputs['train'], inputs['train']['parameters']
        if parent_model is not None:
            # Only what the user asks for is compared with the settings of the parent.
            given = (_nest_overrides(overrides) or {}).get('train', {}).get('parameters', {})
            parameters['model'] = given.get('model', {})
        job_options = recursive_options(train, options, code, cls.set_default_resources, mpi=False)
        n_tasks = count_tasks((options or {}).get('resources', {}))
        processes = n_tasks if n_tasks > 1 else None
        if gpus is not None:
            job_options = request_gpus(job_options, gpus, code.computer.scheduler_type)
            parameters['training'] = {'device': 'gpu', **parameters.get('training', {})}
            processes = gpus
        processes = train.get('processes', processes)
        builder = cls.get_builder()
        if dataset is not None:
            builder.train.dataset = dataset
        if parent_model is not None:
            builder.train.parent_model = parent_model
        if processes is not None:
            builder.train.processes = orm.Int(processes)
        builder.train.code = code
        builder.train.parameters = orm.Dict(parameters)
        builder.train.seed = orm.Int(inputs['seed'] if seed is None else seed)
        builder.train.metadata = {'options': job_options}
        builder.train.monitors = {key: orm.Dict(monitor) for key, monitor in train.get('monitors', {}).items()}
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        builder.max_iterations = orm.Int(inputs['max_iterations'])
        return builder

    def setup(self):
        """Initialise the context with the inputs of the first job."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(TrainCalculation, 'train'))
        self.ctx.inputs.parameters = self.ctx.inputs.parameters.get_dict()
        self.ctx.divergences = self.ctx.kills = 0
        # Whether a job has resumed from another one of this work chain.
        self.ctx.has_resumed = False
        # Last epoch of the previous job if it reached its wall-time.
        self.ctx.epoch = None

    def data_target(self):
        """Return the dataset and the computer of the training."""
        return self.inputs.train.dataset, self.inputs.train.code.computer

    def use_data(self):
        """Train on the dataset with the fetched Hamiltonians."""
        self.ctx.inputs.dataset = self.ctx.dataset

    def report_action(self, node, action: str):
        """Report a failure and the action taken."""
        self.report(f'{node.process_label}<{node.pk}> failed with status {node.exit_status}: {node.exit_message}')
        self.report(f'Action taken: {action}')

    @process_handler(priority=600, exit_codes=[CODES.ERROR_OUT_OF_WALLTIME, CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME])
    def handle_walltime(self, node):
        """Resume from the last checkpoint if the job wrote a new one."""
        if not self._has_checkpoint(node):
            if node.base.caching.is_created_from_cache:
                self.ctx.inputs.metadata.disable_cache = True
                self.report_action(node, 'the checkpoint of the cached job is gone, starting again without the cache')
                return ProcessHandlerReport(True)
            return self._give_up(
                'the job reached its wall-time before the first checkpoint; increase `max_wallclock_seconds`'
            )
        epoch = self._get_epoch(node)
        if epoch is not None and epoch == self.ctx.epoch:
            return self._give_up(
                f'no epoch after epoch {epoch:g} was finished: the wall-time is too short for one epoch; increase '
                '`max_wallclock_seconds`, or set `training.checkpoints_per_epoch`'
            )
        self._resume(node)
        self.ctx.epoch = epoch
        return ProcessHandlerReport(True)

    @process_handler(priority=590, exit_codes=[CODES.ERROR_NO_CHECKPOINT])
    def handle_no_checkpoint(self, node):
        """Give up, because the same wall-time would not suffice again."""
        return self._give_up(
            f'{node.exit_message}; increase `max_wallclock_seconds`, or set `training.checkpoints_per_epoch`'
        )

    @process_handler(priority=580, exit_codes=[CODES.ERROR_SCHEDULER_NODE_FAILURE])
    def handle_node_failure(self, node):
        """Resume from the last checkpoint, or start again."""
        self._resume(node)
        return ProcessHandlerReport(True)

    @process_handler(priority=575, exit_codes=[CODES.ERROR_BAD_INPUT])
    def handle_damaged_checkpoints(self, node):
        """Start again if all checkpoints of an earlier job of this work chain are damaged; refuse those of the user."""
        if DAMAGED_CHECKPOINT not in node.exit_message:
            return None
        if not self.ctx.has_resumed:
            return self._give_up(node.exit_message)
        self.ctx.inputs.pop('parent_folder')
        self.ctx.inputs.pop('checkpoint', None)
        self.ctx.epoch = None
        self.report_action(node, 'starting again')
        return ProcessHandlerReport(True)

    @process_handler(priority=570, exit_codes=[CODES.ERROR_KILLED])
    def handle_killed(self, node):
        """Resume a few times; from the second time on with half the batch, because the memory may be the cause."""
        self.ctx.kills += 1
        if self.ctx.kills > self._MAX_KILLS:
            return self._give_up(f'the job was killed {self.ctx.kills} times; {node.exit_message}')
        halved = self._halve_batch() if self.ctx.kills > 1 else None
        self._resume(node, halved)
        return ProcessHandlerReport(True)

    @process_handler(priority=560, exit_codes=[CODES.ERROR_NUMERICAL])
    def handle_divergence(self, node):
        """Resume from the best checkpoint, or start again, with a lower learning rate."""
        return self._lower_learning_rate(node)

    @process_handler(priority=550, exit_codes=[CODES.ERROR_OUT_OF_MEMORY, CODES.ERROR_SCHEDULER_OUT_OF_MEMORY])
    def handle_out_of_memory(self, node):
        """Halve the batch, and accumulate more batches for each step."""
        halved = self._halve_batch()
        if halved is None:
            return self._give_up(
                'a single structure does not fit into the memory; request more memory, or train on smaller structures'
            )
        self._resume(node, halved)
        return ProcessHandlerReport(True)

    @process_handler(priority=540, exit_codes=[CODES.STOPPED_BY_MONITOR])
    def handle_stopped_by_monitor(self, node):
        """Accept the model of a training that no longer improves; lower the learning rate of one that diverged."""
        if node.exit_message.startswith(f'{DIVERGED}:'):
            return self._lower_learning_rate(node)
        if node.exit_message.startswith(f'{FLAT}:') and 'model' in node.outputs:
            self.report(f'{node.process_label}<{node.pk}>: {node.exit_message}')
            self.ctx.is_finished = True
            return ProcessHandlerReport(True)
        return self._give_up(node.exit_message)

    @process_handler(priority=530, exit_codes=[CODES.ERROR_NO_GPU])
    def handle_no_gpu(self, node):
        """Stop, because another job would not see a GPU either."""
        self.report_action(node, 'none')
        return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_GPU.format(reason=node.exit_message))

    @process_handler(priority=520, exit_codes=[CODES.ERROR_DISK_FULL])
    def handle_disk_full(self, node):
        """Stop, because another job would need even more space. The previous checkpoint is complete."""
        self.report_action(node, 'none')
        self._attach_outputs(node)
        return ProcessHandlerReport(True, self.exit_codes.ERROR_DISK_FULL.format(reason=node.exit_message))

    def results(self):
        """Attach the outputs, and note the hash by which later work chains find this training."""
        self.node.base.extras.set(INPUTS_HASH, hash_inputs(self.inputs))
        return super().results()

    def on_terminated(self):
        """Clean the remote folders if `clean_workdir` is set; a failed training keeps its checkpoints."""
        super(BaseRestartWorkChain, self).on_terminated()
        if self.inputs.clean_workdir.value and self.node.is_finished_ok:
            self.clean_folders(also_failed=True)

    def _lower_learning_rate(self, node) -> ProcessHandlerReport:
        self.ctx.divergences += 1
        if self.ctx.divergences > self._MAX_DIVERGENCES:
            return self._give_up(f'the training diverged {self.ctx.divergences} times; {node.exit_message}')
        self.ctx.inputs.parameters = nest_parameters(self.ctx.inputs.parameters, warn=False)
        schedule = self.ctx.inputs.parameters.setdefault('training', {}).setdefault('schedule', {})
        rate = schedule.get('learning_rate', ScheduleConfig().learning_rate) * self._LEARNING_RATE_FACTOR
        schedule['learning_rate'] = rate
        self._resume(node, f'learning rate {rate:.2g}', checkpoint='best')
        return ProcessHandlerReport(True)

    def _give_up(self, reason: str) -> ProcessHandlerReport:
        return ProcessHandlerReport(True, self.exit_codes.ERROR_KNOWN_UNRECOVERABLE_FAILURE.format(reason=reason))

    def _resume(self, node, change: str | None = None, checkpoint: str = 'last'):
        """Let the next job resume from a checkpoint of a job, or start again if the job has none."""
        self.ctx.epoch, inputs = None, self.ctx.inputs
        inputs.pop('checkpoint', None)
        if self._has_checkpoint(node, checkpoint):
            inputs.parent_folder = node.outputs.remote_folder
            self.ctx.has_resumed = True
            if checkpoint != 'last':
                inputs.checkpoint = orm.Str(checkpoint)
            action = f'resuming from the {checkpoint} checkpoint'
        else:
            inputs.pop('parent_folder', None)
            action = 'starting again'
        self.report_action(node, f'{action} with {change}' if change else action)

    def _halve_batch(self) -> str | None:
        """Divide the batch at least by two and accumulate more batches; return a description, or nothing."""
        training = self.ctx.inputs.parameters.setdefault('training', {})
        # If the number of edges is limited, it determines the batches.
        key = 'max_edges_per_batch' if training.get('max_edges_per_batch') else 'batch_size'
        size = training.get(key, getattr(TrainingConfig(), key))
        # The number of structures in a step does not change.
        smaller = max((part for part in range(1, size // 2 + 1) if size % part == 0), default=None)
        if smaller is None:
            return None
        training[key] = smaller
        training['accumulate'] = training.get('accumulate', TrainingConfig().accumulate) * (size // smaller)
        return f'{key} {smaller} and accumulate {training["accumulate"]}'

    @staticmethod
    def _get_epoch(node) -> float | None:
        """Return the last epoch in the learning curve of a job, or nothing."""
        if 'learning_curve' not in node.outputs:
            return None
        return float(node.outputs.learning_curve.get_array('epoch')[-1])

    @staticmethod
    def _has_checkpoint(node, checkpoint: str = 'last') -> bool:
        if 'remote_folder' not in node.outputs or node.outputs.remote_folder.is_cleaned:
            return False
        try:
            names = node.outputs.remote_folder.listdir(f'{TrainCalculation._OUTPUT_SUBFOLDER}/checkpoints')
        except OSError:
            return False
        return CHECKPOINTS[checkpoint] in names


def _nest_overrides(overrides: dict | None) -> dict | None:
    """Return overrides whose parameters have the sections of the protocol."""
    parameters = (overrides or {}).get('train', {}).get('parameters')
    if not isinstance(parameters, dict):
        return overrides
    return overrides | {'train': overrides['train'] | {'parameters': nest_parameters(parameters)}}
