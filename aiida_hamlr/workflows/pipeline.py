"""References, dataset, training, prediction and comparison in one work chain."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, if_, while_
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_quantumespresso.common.types import ElectronicType

from aiida_hamlr.calculations.functions.compare import compare_hamiltonians
from aiida_hamlr.calculations.validation import find_structure_problem, validate_pseudos
from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.workflows.basis import BasisStepsMixin, find_basis_problem
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.references import ReferencesMixin, find_equal_structures, find_references_problem
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain
from aiida_hamlr.workflows.utils import StrictProtocolMixin, get_protocol_path

__all__ = ('PipelineWorkChain',)

PARTS = (*SPLITS, 'predict')


def validate_structures(value, _) -> str | None:
    """Return which structure cannot be used, or nothing."""
    for part, structures in (value or {}).items():
        for label, structure in structures.items():
            problem = find_structure_problem(structure)
            if problem is not None:
                return f'{part}.{label}: {problem}'
    return None


def validate_inputs(inputs, _) -> str | None:
    """Return why the inputs do not fit together, or nothing; nothing has run yet."""
    structures = inputs.get('structures', {})
    if not structures.get('train'):
        return '`structures.train` is empty'
    symbols = {
        part: set().union(*(node.get_symbols_set() for node in structures.get(part, {}).values())) for part in PARTS
    }
    elements = set().union(*symbols.values())
    missing = sorted(elements - set(inputs.get('pseudos', {})))
    if missing:
        return f'`pseudos` has no pseudopotential of {", ".join(missing)}'
    unseen = sorted(elements - symbols['train'])
    if unseen:
        return f'no structure in `structures.train` contains {", ".join(unseen)}: a model cannot know it'
    labelled = {f'{part}.{label}': node for part in SPLITS for label, node in structures.get(part, {}).items()}
    problem = find_equal_structures(labelled) or find_basis_problem(inputs, elements)
    if problem is not None:
        return problem
    return find_references_problem(inputs.get('reference', {}), to_learn=True)


class PipelineWorkChain(PlaysPausedMixin, BasisStepsMixin, ReferencesMixin, StrictProtocolMixin, WorkChain):
    """Make references of structures, train a network on them, predict other structures and compare with their DFT."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'structures', validator=validate_structures, help='Structures by what they are for and by a label.'
        )
        for part, purpose in zip(PARTS, ('learn from', 'choose the best epoch', 'test', 'predict'), strict=True):
            spec.input_namespace(
                f'structures.{part}',
                valid_type=orm.StructureData,
                dynamic=True,
                required=part == 'train',
                help=f'Structures to {purpose}.' if part != 'validation' else f'Structures that {purpose}.',
            )
        spec.input_namespace(
            'pseudos',
            valid_type=UpfData,
            dynamic=True,
            validator=validate_pseudos,
            help='Norm-conserving pseudopotentials by chemical symbol.',
        )
        cls.define_basis(spec)
        spec.input('seed', valid_type=orm.Int, default=lambda: orm.Int(0), help='Seed of the dataset and the training.')
        spec.input(
            'compare',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help='Whether to make references also of the structures to predict, and compare.',
        )
        spec.input(
            'clean_workdir',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help='Whether to clean the remote folders: of a reference as soon as it has its Hamiltonian, of training '
            'and prediction at the end. What failed is left to be looked at.',
        )
        cls.define_references(spec)
        spec.expose_inputs(
            TrainBaseWorkChain,
            namespace='train',
            exclude=('train.dataset', 'train.seed', 'train.parent_folder', 'clean_workdir'),
            namespace_options={'help': 'Inputs of the training.'},
        )
        spec.expose_inputs(
            PredictBaseWorkChain,
            namespace='predict',
            exclude=('predict.model', 'predict.structures', 'predict.trajectory', 'clean_workdir'),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'Inputs of the prediction.',
            },
        )
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            if_(cls.should_generate_basis)(cls.run_basis, cls.inspect_basis),
            cls.setup_references,
            while_(cls.should_run_references)(cls.run_references),
            cls.inspect_references,
            cls.make_dataset,
            cls.run_train,
            cls.inspect_train,
            if_(cls.should_predict)(cls.run_predict, cls.inspect_predict),
        )
        spec.output('dataset', valid_type=DatasetData, help='The references and how they are split.')
        spec.expose_outputs(
            TrainBaseWorkChain, namespace='train', namespace_options={'help': 'The model and how it was learned.'}
        )
        spec.expose_outputs(
            PredictBaseWorkChain, namespace='predict', namespace_options={'required': False, 'help': 'The predictions.'}
        )
        spec.output_namespace(
            'comparison',
            valid_type=orm.Dict,
            dynamic=True,
            required=False,
            help='Errors of the predictions in meV, by label.',
        )
        spec.exit_code(
            403,
            'ERROR_SUB_PROCESS_FAILED_TRAIN',
            message='The training failed, see its report: {reason}',
        )
        spec.exit_code(
            404,
            'ERROR_SUB_PROCESS_FAILED_PREDICT',
            message='The prediction failed, see the job: {reason}',
        )
        spec.exit_code(
            405,
            'ERROR_DATASET',
            message='The references give no dataset: {reason}. Change the split or the structures.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('pipeline.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls,
        pw_code,
        hamlr_code,
        structures,
        *,
        protocol=None,
        overrides=None,
        options=None,
        basis=None,
        pp_code=None,
        electronic_type=ElectronicType.INSULATOR,
        **_,
    ):
        """Return a builder with the inputs of a protocol.

        :param pw_code: code of pw.x, or its label; the same for ``hamlr_code`` and ``pp_code``.
        :param structures: structures by label, of each of ``train``, ``validation``, ``test`` and ``predict``.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol; ``reference``, ``train`` and ``predict`` hold
            the overrides of the parts.
        :param options: ``metadata.options`` of all jobs.
        :param basis: orbitals; if not given, they are generated first.
        :param pp_code: if given, pp.x makes the potentials of the references.
        :param electronic_type: an insulator gets fixed occupations, a metal smeared ones.
        """
        hamlr_code = orm.load_code(hamlr_code) if isinstance(hamlr_code, str) else hamlr_code
        overrides = dict(overrides or {})
        parts = {name: overrides.pop(name, None) for name in ('reference', 'train', 'predict')}
        inputs = cls.get_protocol_inputs(protocol, overrides)
        builder = cls.get_builder()
        builder.structures = structures
        cls.fill_reference_inputs(
            builder,
            [node for part in structures.values() for node in part.values()],
            pw_code=pw_code,
            hamlr_code=hamlr_code,
            pp_code=pp_code,
            protocol=protocol,
            overrides=parts['reference'],
            options=options,
            basis=basis,
            electronic_type=electronic_type,
        )
        cls.fill_reference_settings(builder, inputs)
        train = TrainBaseWorkChain._get_builder_without_dataset(hamlr_code, protocol, parts['train'], options, None)
        train.pop('clean_workdir')
        train.train.pop('seed')
        builder.train = train
        if structures.get('predict'):
            predict = PredictBaseWorkChain._get_builder_without_structures(
                hamlr_code, protocol, parts['predict'], options
            )
            predict.pop('clean_workdir')
            predict.predict.pop('structures')
            builder.predict = predict
        builder.seed = orm.Int(inputs['seed'])
        builder.compare = orm.Bool(inputs['compare'])
        return builder

    def setup(self):
        """Start from the given orbitals, if there are some."""
        self.ctx.basis = self.inputs.get('basis')

    def get_reference_structures(self):
        """Return the structures of all parts; those to predict only if there is to be a comparison."""
        parts = PARTS if self.inputs.compare.value else SPLITS
        return {
            f'{part}_{label}': structure
            for part in parts
            for label, structure in sorted(self.inputs.structures.get(part, {}).items())
        }

    @property
    def pseudos(self) -> dict:
        """Return the pseudopotentials of all elements."""
        return dict(self.inputs.pseudos)

    def make_dataset(self):
        """Make the dataset node."""
        split = {part: [f'{part}_{label}' for label in sorted(self.inputs.structures.get(part, {}))] for part in SPLITS}
        split = {part: [name for name in names if name in self.ctx.references] for part, names in split.items()}
        hamiltonians = {name: self.ctx.references[name] for names in split.values() for name in names}
        return self.attach_dataset(split, hamiltonians)

    def run_train(self):
        """Train the network."""
        inputs = AttributeDict(self.exposed_inputs(TrainBaseWorkChain, 'train'))
        inputs.train.dataset = self.ctx.dataset
        inputs.train.seed = self.inputs.seed
        inputs.metadata.call_link_label = 'train'
        node = self.submit(TrainBaseWorkChain, **inputs)
        self.report(f'launching {TrainBaseWorkChain.__name__}<{node.pk}>')
        return ToContext(training=node)

    def inspect_train(self):
        """Attach the model."""
        node = self.ctx.training
        if not node.is_finished_ok:
            self.report(f'{node.process_label}<{node.pk}> failed: {node.exit_message}')
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_TRAIN.format(reason=node.exit_message)
        self.out_many(self.exposed_outputs(node, TrainBaseWorkChain, namespace='train'))
        return None

    def should_predict(self) -> bool:
        """Return whether there is something to predict."""
        return bool(self.inputs.structures.get('predict'))

    def run_predict(self):
        """Predict."""
        inputs = AttributeDict(self.exposed_inputs(PredictBaseWorkChain, 'predict'))
        inputs.predict.model = self.ctx.training.outputs.model
        inputs.predict.structures = dict(self.inputs.structures.predict)
        inputs.metadata.call_link_label = 'predict'
        node = self.submit(PredictBaseWorkChain, **inputs)
        self.report(f'launching {PredictBaseWorkChain.__name__}<{node.pk}>')
        return ToContext(prediction=node)

    def inspect_predict(self):
        """Attach the predictions, and their errors where there is a reference."""
        node = self.ctx.prediction
        if not node.is_finished_ok:
            self.report(f'{node.process_label}<{node.pk}> failed: {node.exit_message}')
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_PREDICT.format(reason=node.exit_message)
        self.out_many(self.exposed_outputs(node, PredictBaseWorkChain, namespace='predict'))
        predicted = node.outputs.hamiltonians if 'hamiltonians' in node.outputs else {}
        for label in sorted(self.inputs.structures.predict):
            reference = self.ctx.references.get(f'predict_{label}')
            if reference is None or label not in predicted:
                continue
            errors, process = compare_hamiltonians.run_get_node(
                predicted=predicted[label],
                reference=reference,
                metadata={'call_link_label': f'compare_{label}'},
            )
            if process.is_finished_ok:
                self.out(f'comparison.{label}', errors)
            else:
                self.report(f'{label}: no comparison: {process.exit_message}')
        return None
