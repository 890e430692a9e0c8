"""Prediction that is repeated after a failure of the machine."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.links import LinkType
from aiida.engine import BaseRestartWorkChain, ExitCode, ProcessHandlerReport, process_handler, while_

from aiida_hamlr.calculations.many_nodes import ManyNodesMixin
from aiida_hamlr.calculations.predict import PredictCalculation, structure_labels
from aiida_hamlr.calculations.properties import SINGLE, define_single
from aiida_hamlr.calculations.storage import stash_options
from aiida_hamlr.data.remote import find_gone
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.protocols.utils import StrictProtocolMixin, get_protocol_path, load_codes, recursive_options

__all__ = ('PredictBaseWorkChain',)


class PredictBaseWorkChain(ManyNodesMixin, PlaysPausedMixin, StrictProtocolMixin, BaseRestartWorkChain):
    """Predict the Hamiltonians of structures; run again if the machine failed or the job was killed."""

    _process_class = PredictCalculation

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(PredictCalculation, namespace='predict', namespace_options={'help': 'Inputs of the job.'})
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )
        spec.expose_outputs(PredictCalculation)
        define_single(spec, 'Of a single structure')
        spec.exit_code(
            310,
            'ERROR_KNOWN_UNRECOVERABLE_FAILURE',
            message='The prediction failed, and repeating it would not help: {reason}.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('predict.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls, code, model=None, structures=None, *, protocol=None, overrides=None, options=None
    ):
        """Return a builder with the inputs of a protocol.

        :param code: code of the `hamlr` executable, or its label.
        :param model: the model node; without it the builder is incomplete, for a work chain that trains the model.
        :param structures: structures by label, or one trajectory.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol; ``storage: remote`` leaves the Hamiltonians in
            the folder ``stash_folder`` of the computer.
        :param options: ``metadata.options`` of the jobs.
        :raises ValueError: if an override or an option is unknown.
        """
        (code,) = load_codes(code)
        inputs = cls.get_protocol_inputs(protocol, overrides)
        job_options = recursive_options(inputs['predict'], options, code, cls.set_default_resources, mpi=False)
        stash = stash_options(inputs['storage'], inputs.get('stash_folder'), PredictCalculation._STASHED)
        builder = cls.get_builder()
        if model is not None:
            builder.predict.model = model
        if isinstance(structures, orm.TrajectoryData):
            builder.predict.trajectory = structures
        elif structures is not None:
            builder.predict.structures = structures
        builder.predict.code = code
        builder.predict.parameters = orm.Dict(inputs['predict']['parameters'])
        builder.predict.storage = orm.Str(inputs['storage'])
        builder.predict.metadata = {'options': job_options | stash}
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        builder.max_iterations = orm.Int(inputs['max_iterations'])
        return builder

    def results(self):
        """Attach the outputs; those of a single structure also without its label."""
        code = super().results()
        node = self.ctx.children[self.ctx.iteration - 1]
        if len(structure_labels(self.inputs.predict)) == 1:
            for namespace, (name, _) in SINGLE.items():
                for output in node.outputs[namespace].values() if namespace in node.outputs else ():
                    self.out(name, output)
        return code

    def setup(self):
        """Initialise the context with the inputs of the first job."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(PredictCalculation, 'predict'))
        # The engine would write the nodes with each checkpoint and load them one by one.
        self.ctx.inputs.pop('structures', None)

    def run_process(self):
        """Run the next job."""
        if 'structures' in self.inputs.predict:
            incoming = self.node.base.links.get_incoming(
                orm.StructureData, LinkType.INPUT_WORK, link_label_filter=r'predict\_\_structures\_\_%'
            )
            self.ctx.inputs.structures = incoming.nested()['predict']['structures']
        started = super().run_process()
        self.ctx.inputs.pop('structures', None)
        return started

    @process_handler(
        priority=600,
        exit_codes=[
            PredictCalculation.exit_codes.ERROR_SCHEDULER_NODE_FAILURE,
            PredictCalculation.exit_codes.ERROR_KILLED,
        ],
    )
    def handle_interrupted(self, node):
        """Run again."""
        self.report(f'{node.process_label}<{node.pk}>: {node.exit_message} Action taken: running again')
        return ProcessHandlerReport(True)

    @process_handler(
        priority=550,
        exit_codes=[
            PredictCalculation.exit_codes.ERROR_BAD_INPUT,
            PredictCalculation.exit_codes.ERROR_NUMERICAL,
            PredictCalculation.exit_codes.ERROR_OUT_OF_MEMORY,
            PredictCalculation.exit_codes.ERROR_NO_GPU,
            PredictCalculation.exit_codes.ERROR_DISK_FULL,
        ],
    )
    def handle_lasting(self, node):
        """Stop and hand on the reason, because another job would fail for the same."""
        self.report(f'{node.process_label}<{node.pk}> failed: {node.exit_message}')
        return ProcessHandlerReport(
            True, self.exit_codes.ERROR_KNOWN_UNRECOVERABLE_FAILURE.format(reason=node.exit_message.rstrip('.'))
        )

    @process_handler(priority=500, exit_codes=[ExitCode(0)])
    def handle_files_gone(self, node):
        """Run again without the cache if files of a cached job are missing on the computer."""
        hamiltonians = node.outputs.hamiltonians if 'hamiltonians' in node.outputs else {}
        if not node.base.caching.is_created_from_cache or not find_gone(hamiltonians.values()):
            return None
        self.ctx.inputs.metadata.disable_cache = True
        self.report(f'{node.process_label}<{node.pk}> comes from the cache and its files are missing: running it again')
        return ProcessHandlerReport(True)
