"""From structures to a trained model and predictions, in one work chain."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ToContext, WorkChain, if_

from aiida_hamlr.calculations.functions.compare import compare_hamiltonians
from aiida_hamlr.calculations.validation import find_structure_problem
from aiida_hamlr.data.dataset import SPLITS
from aiida_hamlr.data.structures import choose_species, find_missing_species
from aiida_hamlr.workflows.basis import find_basis_problem
from aiida_hamlr.workflows.dataset import DatasetWorkChain
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain
from aiida_hamlr.workflows.protocols.utils import StrictProtocolMixin, get_protocol_path, load_codes, with_moments
from aiida_hamlr.workflows.references import find_equal_structures, find_references_problem
from aiida_hamlr.workflows.steps import StepsMixin
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain

__all__ = ('PipelineWorkChain',)

#: Exit codes of the dataset work chain that the pipeline ends with, too, with the same status and message.
PASSED_ON = ('ERROR_SUB_PROCESS_FAILED_BASIS', 'ERROR_SUB_PROCESS_FAILED_REFERENCE')

#: What the structures of each part are for.
PURPOSES = {
    'train': 'Structures to train on.',
    'validation': 'Structures whose errors choose the best epoch.',
    'test': 'Structures for the test errors of the model.',
    'predict': 'Structures to predict.',
}


def validate_structures(value, _) -> str | None:
    """Return which structure cannot be used, or nothing."""
    for part, structures in (value or {}).items():
        for label, structure in structures.items():
            problem = find_structure_problem(structure)
            if problem is not None:
                return f'{part}.{label}: {problem}'
    return None


def join_labels(parts: Mapping[str, Mapping]) -> dict:
    """Return the structures of several parts by one label each, as ``train_a`` for the structure ``a`` to train on."""
    return {f'{part}_{label}': node for part in parts for label, node in sorted(parts[part].items())}


def validate_inputs(inputs, _) -> str | None:
    """Return why the inputs do not fit together, or nothing; nothing has run yet."""
    structures = inputs.get('structures', {})
    if not structures.get('train'):
        return '`structures.train` is empty'
    pseudos = inputs.get('pseudos', {})
    missing = find_missing_species([node for part in PURPOSES for node in structures.get(part, {}).values()], pseudos)
    if missing:
        return f'`pseudos` has no pseudopotential of {", ".join(missing)}'
    species = {
        part: {label for node in structures.get(part, {}).values() for label in choose_species(node, pseudos).values()}
        for part in SPLITS
    }
    # A prediction knows the names of the kinds only.
    names = {name for node in structures.get('predict', {}).values() for name in node.get_kind_names()}
    labels = names.union(*species.values())
    unseen = sorted(labels - species['train'])
    if unseen:
        return (
            f'no structure in `structures.train` contains {", ".join(unseen)}, which the model must know; a kind is a '
            'species if `pseudos` names it, and else of its element'
        )
    labelled = {f'{part}.{label}': node for part in SPLITS for label, node in structures.get(part, {}).items()}
    problem = find_equal_structures(labelled) or find_basis_problem(inputs, labels)
    if problem is not None:
        return problem
    return find_references_problem(inputs.get('reference', {}))


class PipelineWorkChain(PlaysPausedMixin, StepsMixin, StrictProtocolMixin, WorkChain):
    """Make a dataset, train a network on it, predict other structures and compare them with DFT."""

    #: Inputs that the dataset work chain gets from the structures of the pipeline, and those defined here.
    _NOT_EXPOSED = ('structures', 'trajectory', 'recipes', 'split', 'excluded', 'group', 'seed', 'clean_workdir')

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(DatasetWorkChain, exclude=('metadata', *cls._NOT_EXPOSED))
        spec.input_namespace('structures', validator=validate_structures, help='Structures by purpose and by label.')
        for part, purpose in PURPOSES.items():
            spec.input_namespace(
                f'structures.{part}',
                valid_type=orm.StructureData,
                dynamic=True,
                required=part == 'train',
                help=purpose,
            )
        spec.input(
            'seed',
            valid_type=orm.Int,
            default=lambda: orm.Int(0),
            help='Seed of the training, kept in the dataset too.',
        )
        spec.input(
            'compare',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help='Whether to compute references of the structures to predict, too, and to compare the predictions with '
            'them. These references are not in the dataset.',
        )
        spec.input(
            'clean_workdir',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help='Whether to clean the remote folders: those of a reference as soon as its Hamiltonian is stored, '
            'those of training and prediction at the end. Folders of failed jobs are kept for inspection.',
        )
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
            cls.run_dataset,
            cls.inspect_dataset,
            cls.run_train,
            cls.inspect_train,
            if_(cls.should_predict)(cls.run_predict, cls.inspect_predict, cls.compare_predictions),
        )
        spec.expose_outputs(DatasetWorkChain)
        spec.expose_outputs(
            TrainBaseWorkChain, namespace='train', namespace_options={'help': 'The model and its learning curve.'}
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
        for label in PASSED_ON:
            code = DatasetWorkChain.exit_codes[label]
            spec.exit_code(code.status, label, message=code.message)
        spec.exit_code(
            403,
            'ERROR_SUB_PROCESS_FAILED_TRAIN',
            message='The training failed: {reason}. See the report of the training work chain.',
        )
        spec.exit_code(
            404,
            'ERROR_SUB_PROCESS_FAILED_PREDICT',
            message='The prediction failed: {reason}. See the report of the prediction work chain.',
        )
        spec.exit_code(
            405,
            'ERROR_DATASET',
            message='There is no dataset: {reason}. See the report of the dataset work chain; change the structures or '
            'the inputs of the references.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('pipeline.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls, pw_code, hamlr_code, structures, *, protocol=None, overrides=None, options=None, **settings
    ):
        """Return a builder with the inputs of a protocol.

        :param pw_code: code of pw.x, or its label.
        :param hamlr_code: code of the `hamlr` executable, or its label.
        :param structures: structures by label, for each of ``train``, ``validation``, ``test`` and ``predict``.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol; ``reference``, ``train`` and ``predict`` hold
            the overrides of the parts.
        :param options: ``metadata.options`` of all jobs.
        :param settings: ``basis``, ``pp_code`` and ``electronic_type`` of the builder of a reference.
        :raises ValueError: if a setting, an override or an option is unknown.
        """
        (hamlr_code,) = load_codes(hamlr_code)
        overrides = dict(overrides or {})
        parts = {name: overrides.pop(name, None) for name in ('reference', 'train', 'predict')}
        inputs = cls.get_protocol_inputs(protocol, overrides)
        common = {'protocol': protocol, 'options': options}
        builder = cls.get_builder()
        builder.structures = structures
        moments = settings.get('initial_magnetic_moments')
        parts['predict'] = with_moments(parts['predict'], moments, 'predict', 'parameters')
        DatasetWorkChain.fill_references(
            builder,
            inputs,
            join_labels(structures).values(),
            pw_code=pw_code,
            hamlr_code=hamlr_code,
            overrides=parts['reference'],
            **common,
            **settings,
        )
        train = TrainBaseWorkChain.get_builder_from_protocol(hamlr_code, overrides=parts['train'], **common)
        if 'processes' not in (parts['train'] or {}).get('train', {}):
            # The tasks of the common options are those of pw.x.
            train.train.pop('processes', None)
        train.train.pop('seed')
        train.pop('clean_workdir')
        builder.train = train
        if structures.get('predict'):
            predict = PredictBaseWorkChain.get_builder_from_protocol(hamlr_code, overrides=parts['predict'], **common)
            predict.predict.pop('structures')
            predict.pop('clean_workdir')
            builder.predict = predict
        builder.compare = orm.Bool(inputs['compare'])
        return builder

    def run_dataset(self):
        """Make references of the structures of all parts, and the dataset; those to predict are not in it."""
        labels = {part: list(join_labels({part: self.inputs.structures.get(part, {})})) for part in PURPOSES}
        structures = join_labels(self.inputs.structures)
        inputs = AttributeDict(self.exposed_inputs(DatasetWorkChain))
        inputs.split = orm.Dict({part: labels[part] for part in SPLITS})
        if self.inputs.compare.value:
            inputs.excluded = orm.List(labels['predict'])
        else:
            structures = {label: node for label, node in structures.items() if label not in labels['predict']}
        inputs.structures = structures
        inputs.seed = self.inputs.seed
        inputs.clean_workdir = self.inputs.clean_workdir
        return ToContext(dataset=self.launch(DatasetWorkChain, inputs, 'dataset'))

    def inspect_dataset(self):
        """Attach the dataset and the references, also those of a dataset that failed."""
        node = self.ctx.dataset
        self.out_many(self.exposed_outputs(node, DatasetWorkChain))
        reason = self.find_failure(node)
        if reason is None:
            return None
        for label in PASSED_ON:
            if node.exit_status == self.exit_codes[label].status:
                return ExitCode(node.exit_status, node.exit_message)
        return self.exit_codes.ERROR_DATASET.format(reason=reason)

    def run_train(self):
        """Train the network."""
        inputs = AttributeDict(self.exposed_inputs(TrainBaseWorkChain, 'train'))
        inputs.train.dataset = self.ctx.dataset.outputs.dataset
        inputs.train.seed = self.inputs.seed
        return ToContext(training=self.launch(TrainBaseWorkChain, inputs, 'train'))

    def inspect_train(self):
        """Attach the model."""
        node = self.ctx.training
        reason = self.find_failure(node)
        if reason is not None:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_TRAIN.format(reason=reason)
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
        return ToContext(prediction=self.launch(PredictBaseWorkChain, inputs, 'predict'))

    def inspect_predict(self):
        """Attach the predictions."""
        node = self.ctx.prediction
        reason = self.find_failure(node)
        if reason is not None:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_PREDICT.format(reason=reason)
        self.out_many(self.exposed_outputs(node, PredictBaseWorkChain, namespace='predict'))
        return None

    def compare_predictions(self):
        """Attach the errors of the predictions of which there is a reference."""
        outputs = self.ctx.prediction.outputs
        predicted = outputs.hamiltonians if 'hamiltonians' in outputs else {}
        references = self.ctx.dataset.outputs.references
        for label in sorted(self.inputs.structures.predict):
            reference = references.get(f'predict_{label}')
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

    def on_terminated(self):
        """Clean the remote folders of training and prediction, if that was asked for."""
        super().on_terminated()
        if self.inputs.clean_workdir.value:
            self.clean_folders()
