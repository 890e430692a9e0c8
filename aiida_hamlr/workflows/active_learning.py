"""Active learning: references of those structures of which the model is most uncertain, until it is good enough."""

from __future__ import annotations

from aiida import orm
from aiida.engine import WorkChain, if_, while_

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.data.structures import choose_species, find_missing_species, get_frame
from aiida_hamlr.workflows.basis import BasisStepsMixin, find_basis_problem
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.protocols.utils import (
    StrictProtocolMixin,
    get_protocol_path,
    load_codes,
    remove_inputs,
    with_moments,
)
from aiida_hamlr.workflows.references import find_references_problem
from aiida_hamlr.workflows.rounds import RoundsMixin
from aiida_hamlr.workflows.screen import ScreenWorkChain
from aiida_hamlr.workflows.sources import SOURCES, define_sources, find_sources_problem, list_structures, set_source
from aiida_hamlr.workflows.steps import StepsMixin
from aiida_hamlr.workflows.train.committee import TrainCommitteeWorkChain

__all__ = ('ActiveLearningWorkChain',)

#: Numbers of structures and rounds, with the least value of each.
NUMBERS = {'n_initial': 1, 'n_validation': 0, 'n_test': 0, 'n_per_round': 1, 'max_rounds': 0}


def find_numbers_problem(inputs) -> str | None:
    """Return why the numbers of structures and rounds do not fit together, or nothing."""
    for name, least in NUMBERS.items():
        if inputs[name].value < least:
            return f'`{name}` must be at least {least}, not {inputs[name].value}'
    if 'dataset' in inputs:
        return None
    n_held_out = inputs['n_validation'].value + inputs['n_test'].value
    if not n_held_out:
        return '`n_validation` and `n_test`: without any, there is no error to report; give at least one'
    drawn = n_held_out + inputs['n_initial'].value
    if 'max_references' in inputs and inputs['max_references'].value < drawn:
        return f'`max_references` is {inputs["max_references"].value}, but {drawn} structures are drawn at random'
    return None


def validate_inputs(inputs, _) -> str | None:
    """Return why the inputs do not fit together, or nothing; nothing has run yet."""
    problem = find_sources_problem(inputs) or find_numbers_problem(inputs)
    if problem is not None:
        return problem
    if 'dataset' in inputs and 'basis' not in inputs:
        return 'give `basis`, the orbitals of the Hamiltonians in `dataset`'
    structures = [inputs['trajectory']] if 'trajectory' in inputs else list_structures(inputs)
    pseudos = inputs.get('pseudos', {})
    missing = find_missing_species(structures, pseudos)
    if missing:
        return f'`pseudos` has no pseudopotential of {", ".join(missing)}'
    problem = find_basis_problem(inputs, {s for node in structures for s in choose_species(node, pseudos).values()})
    return problem or find_references_problem(inputs.get('reference', {}))


class ActiveLearningWorkChain(
    PlaysPausedMixin, BasisStepsMixin, RoundsMixin, StepsMixin, StrictProtocolMixin, WorkChain
):
    """Train, predict all candidates, compute references of the most uncertain ones, train again, and so on."""

    #: Inputs of the parts that this work chain sets, or has of its own.
    _TRAIN_EXCLUDED = ('train.dataset', 'train.seed', 'parent_models', 'reuse', 'clean_workdir')
    _SCREEN_EXCLUDED = (*SOURCES, 'models', 'reuse', 'predict.predict.committee', 'predict.clean_workdir')

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        define_sources(spec)
        cls.define_basis(spec)
        cls._define_learning(spec)
        cls._define_limits(spec)
        cls.define_references(spec)
        cls._define_parts(spec)
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            if_(cls.should_generate_basis)(cls.run_basis, cls.inspect_basis),
            while_(cls.should_continue)(
                cls.setup_references,
                while_(cls.should_run_references)(cls.run_references),
                cls.inspect_references,
                cls.make_dataset,
                cls.run_training,
                cls.inspect_training,
                if_(cls.should_screen)(cls.run_screen, cls.inspect_screen),
                cls.finish_round,
            ),
            cls.inspect_target,
        )
        cls._define_outputs(spec)
        cls._define_exit_codes(spec)

    @classmethod
    def _define_learning(cls, spec):
        """Define what is known at the start, and how the models of the rounds are made."""
        spec.input(
            'dataset',
            valid_type=DatasetData,
            required=False,
            help='Hamiltonians that are known at the start, in the orbitals of `basis`. Without it, the first ones are '
            'drawn at random.',
        )
        spec.input(
            'fine_tune',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help='Whether the models of a round start from those of the round before; new ones otherwise.',
        )
        spec.input('seed', valid_type=orm.Int, default=lambda: orm.Int(0), help='Seed of the draws and the trainings.')
        spec.input(
            'clean_workdir',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help='Whether to clean the remote folders of all jobs that succeeded.',
        )

    @classmethod
    def _define_limits(cls, spec):
        """Define the numbers of structures and rounds, and when to end."""
        for name, default, text in (
            ('n_initial', 16, 'Number of structures drawn at random to train the first model on, without `dataset`.'),
            ('n_validation', 8, 'Number of structures drawn at random whose errors choose the best epoch and calibrate '
             'uncertainties; none are drawn if `dataset` has some.'),
            ('n_test', 8, 'Number of structures drawn at random for the test errors, which decide about the end; none '
             'are drawn if `dataset` has some. Without any, the errors of the validation decide.'),
            ('n_per_round', 8, 'Number of references of each round after the first.'),
            ('max_rounds', 5, 'Maximum number of rounds after the first model.'),
        ):  # fmt: skip
            spec.input(name, valid_type=orm.Int, default=lambda value=default: orm.Int(value), help=text)
        spec.input(
            'max_references',
            valid_type=orm.Int,
            required=False,
            help='Maximum number of references of all rounds, those drawn at random and those reused included.',
        )
        spec.input(
            'target',
            valid_type=orm.Float,
            required=False,
            help='Mean absolute error of the elements of H in meV at which to end; mean over the models.',
        )

    @classmethod
    def _define_parts(cls, spec):
        """Define the inputs of the trainings and of the screenings."""
        spec.expose_inputs(
            TrainCommitteeWorkChain,
            namespace='train',
            exclude=cls._TRAIN_EXCLUDED,
            namespace_options={'help': 'Inputs of the trainings; the spread of several models is their uncertainty.'},
        )
        spec.expose_inputs(
            ScreenWorkChain,
            namespace='screen',
            exclude=cls._SCREEN_EXCLUDED,
            namespace_options={'help': 'Inputs of the predictions of all candidates.'},
        )

    @classmethod
    def _define_outputs(cls, spec):
        """Define the outputs."""
        spec.output('dataset', valid_type=DatasetData, required=False, help='The Hamiltonians of all rounds.')
        spec.output('model', valid_type=ModelData, required=False, help='The first model of the last round.')
        spec.output_namespace(
            'models', valid_type=ModelData, dynamic=True, required=False, help='All models of the last round.'
        )
        spec.output_namespace(
            'rounds',
            valid_type=orm.Dict,
            dynamic=True,
            required=False,
            help='The record of each round: numbers of references, errors, uncertainties and selected structures.',
        )

    @classmethod
    def _define_exit_codes(cls, spec):
        """Define the exit codes besides those of the references and the basis."""
        spec.exit_code(
            403,
            'ERROR_SUB_PROCESS_FAILED_TRAIN',
            message='A training failed: {reason}. Correct its parameters or resources, and run again: references and '
            'models that are there are reused.',
        )
        spec.exit_code(
            404,
            'ERROR_DATASET',
            message='The references give no dataset: {reason}. Change the structures or the numbers of them.',
        )
        spec.exit_code(
            405,
            'ERROR_NO_STRUCTURES',
            message='There are too few candidates: {reason}. Add structures, or lower the numbers of structures.',
        )
        spec.exit_code(
            406,
            'ERROR_SUB_PROCESS_FAILED_SCREEN',
            message='The candidates could not be predicted: {reason}. See the report of the screening, and run again: '
            'references and models that are there are reused.',
        )
        spec.exit_code(
            410,
            'ERROR_TARGET_NOT_REACHED',
            message='The error is {error:.3g} meV after {references} references, above the target of {target:.3g} meV: '
            '{reason}. Run again with higher limits or more structures: what has been computed is reused.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('active_learning.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls, pw_code, hamlr_code, structures, *, protocol=None, overrides=None, options=None, **settings
    ):
        """Return a builder with the inputs of a protocol.

        :param pw_code: code of pw.x, or its label.
        :param hamlr_code: code of the `hamlr` executable, or its label.
        :param structures: the candidates: a group, a query (`QueryBuilder`), a trajectory, or structures by label.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol; ``reference``, ``train`` and ``screen`` hold those
            of the parts.
        :param options: ``metadata.options`` of all jobs.
        :param settings: ``dataset`` and ``parent_model``, a model that the first ones start from, and ``basis``,
            ``pp_code``, ``pseudos`` and ``electronic_type`` of the builder of a reference.
        :raises ValueError: if a setting, an override or an option is unknown.
        """
        (hamlr_code,) = load_codes(hamlr_code)
        dataset, parent_model = settings.pop('dataset', None), settings.pop('parent_model', None)
        overrides = dict(overrides or {})
        reference, screen = (overrides.pop(name, None) for name in ('reference', 'screen'))
        training = overrides.pop('train', {})
        inputs = cls.get_protocol_inputs(protocol, overrides)
        common = {'protocol': protocol, 'options': options}
        builder = cls.get_builder()
        set_source(builder, structures)
        given = builder._inputs(prune=True)
        nodes = [get_frame(structures, 0)] if 'trajectory' in given else list_structures(given)
        cls.fill_references(
            builder,
            inputs,
            nodes,
            pw_code=pw_code,
            hamlr_code=hamlr_code,
            overrides=reference,
            **common,
            **settings,
        )
        training = {**inputs.pop('train'), **training}
        moments = settings.get('initial_magnetic_moments')
        screen = with_moments(screen, moments, 'predict', 'predict', 'parameters')
        cls._fill_parts(builder, hamlr_code, {'train': training, 'screen': screen}, parent_model, common)
        if dataset is not None:
            builder.dataset = dataset
        for name in (*NUMBERS, 'max_references'):
            if name in inputs:
                builder[name] = orm.Int(inputs[name])
        if 'target' in inputs:
            builder.target = orm.Float(inputs['target'])
        builder.fine_tune = orm.Bool(inputs['fine_tune'])
        return builder

    @classmethod
    def _fill_parts(cls, builder, hamlr_code, overrides, parent_model, common):
        """Put the inputs of the trainings and of the screenings into a builder.

        :param overrides: those of ``train`` and of ``screen``.
        :param common: arguments that both builders take.
        """
        train = TrainCommitteeWorkChain.get_builder_from_protocol(
            hamlr_code, overrides=overrides['train'], parent_model=parent_model, **common
        )
        if 'processes' not in overrides['train'].get('train', {}):
            # The tasks of the common options are those of pw.x.
            train.train.pop('processes', None)
        screen = ScreenWorkChain.get_builder_from_protocol(hamlr_code, {}, {}, overrides=overrides['screen'], **common)
        remove_inputs(train, cls._TRAIN_EXCLUDED)
        remove_inputs(screen, cls._SCREEN_EXCLUDED)
        builder.train, builder.screen = train, screen
