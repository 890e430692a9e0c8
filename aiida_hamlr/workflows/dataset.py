"""References of many structures, and a dataset made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from aiida import orm
from aiida.common.links import validate_link_label
from aiida.engine import WorkChain, if_, while_

from aiida_hamlr.calculations.functions.dataset import assemble_dataset, create_dataset, random_split
from aiida_hamlr.calculations.functions.structures import create_structures, extract_frames
from aiida_hamlr.calculations.validation import find_structure_problem, validate_structures, validate_trajectory
from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.structures import choose_species, find_missing_species, get_atoms, get_frame
from aiida_hamlr.electronic.structures import make_structures, parse_recipe
from aiida_hamlr.workflows.basis import BasisStepsMixin, find_basis_problem
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.protocols.utils import StrictProtocolMixin, get_protocol_path
from aiida_hamlr.workflows.references import ReferencesMixin, find_equal_structures, find_references_problem
from aiida_hamlr.workflows.steps import StepsMixin

__all__ = ('DatasetWorkChain',)


def validate_recipes(value, _) -> str | None:
    """Return what is wrong with the recipes for structures, or nothing."""
    for label, recipe in (value.get_dict() if value is not None else {}).items():
        content = dict(recipe) if isinstance(recipe, dict) else {}
        sources = content.pop('of', None)
        if not isinstance(sources, list) or not sources or not all(isinstance(name, str) for name in sources):
            return f'`recipes`: {label} needs the key `of`, a list of the labels of its source structures'
        if '__' in label:
            return f'`recipes`: {label}: a label cannot have two underscores in a row'
        try:
            validate_link_label(label)
            parse_recipe(content, len(sources))
        except ValueError as error:
            return f'`recipes`: {label}: {error}'
    return None


def validate_split(value, _) -> str | None:
    """Return what is wrong with the split, or nothing."""
    split = value.get_dict() if value is not None else {}
    unknown = sorted(set(split) - set(SPLITS))
    if unknown:
        return f'`split`: unknown part {unknown[0]!r}; known are {", ".join(SPLITS)}'
    if split and all(isinstance(part, list) for part in split.values()):
        times = Counter(label for part in split.values() for label in part)
        twice = sorted(label for label, number in times.items() if number > 1)
        return f'`split`: {twice[0]!r} occurs twice' if twice else None
    if not all(isinstance(part, int | float) for part in split.values()) or 'train' in split:
        return '`split`: give the fractions of `validation` and `test`, or a list of labels for each part'
    if any(part < 0 for part in split.values()) or sum(split.values()) >= 1:
        return '`split`: the fractions must not be negative and must leave something to train on'
    return None


def find_made_problem(structures: Iterable[str], split: Mapping, seed: int, excluded: Sequence[str]) -> str | None:
    """Return why there can be no dataset of structures, given by their labels, or nothing.

    :param split: fractions, or the labels of each part.
    :param seed: of the random split.
    :param excluded: labels of structures that are not in the dataset.
    """
    labels = set(structures)
    listed = {name: part for name, part in split.items() if isinstance(part, list)}
    for name, part in {**listed, 'excluded': excluded}.items():
        unknown = sorted(set(part) - labels)
        if unknown:
            return f'`{name}` names {unknown[0]!r}, but no structure has that label'
    for name, part in listed.items():
        both = sorted(set(part) & set(excluded))
        if both:
            return f'{both[0]!r} is in `excluded` and in the part `{name}` of the split'
    if listed:
        return None if listed.get('train') else 'the split leaves nothing to train on'
    try:
        random_split(sorted(labels - set(excluded)), split.get('validation', 0.0), split.get('test', 0.0), seed)
    except ValueError as error:
        return str(error)
    return None


def validate_inputs(inputs, _) -> str | None:
    """Return why the inputs do not fit together, or nothing; nothing has run yet."""
    structures = inputs.get('structures', {})
    if not structures and 'trajectory' not in inputs:
        return 'give `structures` or a `trajectory`'
    for label, structure in structures.items():
        problem = find_structure_problem(structure)
        if problem is not None:
            return f'structures.{label}: {problem}'
    for label, recipe in (inputs['recipes'].get_dict() if 'recipes' in inputs else {}).items():
        missing = sorted(set(recipe['of']) - set(structures))
        if missing:
            return f'`recipes`: {label} is made of {missing[0]!r}, but `structures` has no such label'
    nodes, pseudos = list(structures.values()), inputs.get('pseudos', {})
    if 'trajectory' in inputs:
        nodes.append(inputs['trajectory'])
    missing = find_missing_species(nodes, pseudos)
    if missing:
        return f'`pseudos` has no pseudopotential of {", ".join(missing)}'
    problem = find_basis_problem(inputs, {s for node in nodes for s in choose_species(node, pseudos).values()})
    if problem is not None:
        return problem
    return find_references_problem(inputs.get('reference', {}))


class DatasetWorkChain(PlaysPausedMixin, BasisStepsMixin, ReferencesMixin, StepsMixin, StrictProtocolMixin, WorkChain):
    """Compute the references of many structures, a limited number at a time, and make a dataset of them."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            validator=validate_structures,
            dynamic=True,
            required=False,
            help='Structures by label: to compute, or as sources of `recipes`.',
        )
        spec.input(
            'trajectory',
            valid_type=orm.TrajectoryData,
            required=False,
            validator=validate_trajectory,
            help='A trajectory; all its frames are computed.',
        )
        spec.input(
            'recipes',
            valid_type=orm.Dict,
            required=False,
            validator=validate_recipes,
            help='Recipes for further structures, by label: the key `of` lists the labels of the sources in '
            '`structures`, `kind` is rattle, strain, wave, shift, slab, capped_slab or superlattice, and the other '
            'keys depend on the kind. Sources are not computed themselves.',
        )
        cls.define_basis(spec)
        spec.input(
            'split',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({'validation': 0.1, 'test': 0.1}),
            validator=validate_split,
            help='Fractions of `validation` and `test`, drawn at random with the seed; or a list of labels for each '
            'part.',
        )
        spec.input(
            'excluded',
            valid_type=orm.List,
            required=False,
            help='Labels of structures whose references are computed but left out of the dataset, for instance to '
            'compare predictions with them.',
        )
        spec.input('seed', valid_type=orm.Int, default=lambda: orm.Int(0), help='Seed of the recipes and the split.')
        spec.input(
            'group',
            valid_type=orm.Str,
            required=False,
            help='Label of a group for the Hamiltonians and the dataset; it is created if it does not exist.',
        )
        spec.input(
            'clean_workdir',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help='Whether to clean the remote folders of a reference as soon as its Hamiltonian is stored.',
        )
        cls.define_references(spec)
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            if_(cls.should_generate_basis)(cls.run_basis, cls.inspect_basis),
            cls.setup_references,
            while_(cls.should_run_references)(cls.run_references),
            cls.inspect_references,
            cls.make_dataset,
        )
        spec.output('dataset', valid_type=DatasetData, help='The Hamiltonians for training, validation and test.')
        spec.default_output_node = 'dataset'
        spec.exit_code(
            403,
            'ERROR_STRUCTURES',
            message='The structures give no dataset: {reason}. Change `structures`, `recipes`, `split` or `excluded`.',
        )
        spec.exit_code(
            404,
            'ERROR_DATASET',
            message='The references give no dataset: {reason}. Change `split`, the structures or the references.',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('dataset.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls, pw_code, hamlr_code, structures=None, *, protocol=None, overrides=None, options=None, **settings
    ):
        """Return a builder with the inputs of a protocol.

        :param pw_code: code of pw.x, or its label.
        :param hamlr_code: code of the `hamlr` executable, or its label.
        :param structures: structures by label, or a group of structures.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol; ``reference`` holds those of the references.
        :param options: ``metadata.options`` of all jobs.
        :param trajectory: a trajectory, to compute all its frames.
        :param recipes: structures to make of those given; see the input of that name.
        :param excluded: labels of structures to leave out of the dataset.
        :param group: label of a group for the results.
        :param settings: ``basis``, ``pp_code``, ``pseudos`` and ``electronic_type`` of the builder of a reference.
        :raises ValueError: if a setting, an override or an option is unknown.
        """
        trajectory, recipes, excluded, group = (
            settings.pop(name, None) for name in ('trajectory', 'recipes', 'excluded', 'group')
        )
        overrides = dict(overrides or {})
        reference_overrides = overrides.pop('reference', None)
        inputs = cls.get_protocol_inputs(protocol, overrides)
        if isinstance(structures, orm.Group):
            structures = {f's{node.pk}': node for node in structures.nodes if isinstance(node, orm.StructureData)}
        nodes = list((structures or {}).values())
        if trajectory is not None:
            nodes.append(get_frame(trajectory, 0))
        builder = cls.get_builder()
        cls.fill_references(
            builder,
            inputs,
            nodes,
            pw_code=pw_code,
            hamlr_code=hamlr_code,
            protocol=protocol,
            overrides=reference_overrides,
            options=options,
            **settings,
        )
        given = {
            'structures': structures,
            'trajectory': trajectory,
            'recipes': recipes and orm.Dict(recipes),
            'excluded': excluded and orm.List(excluded),
            'group': group and orm.Str(group),
        }
        for name, value in given.items():
            if value:
                builder[name] = value
        builder.split = orm.Dict(inputs['split'])
        return builder

    def setup(self):
        """Make the structures and check the split."""
        self.ctx.basis = self.inputs.get('basis')
        structures = dict(self.inputs.get('structures', {}))
        recipes = self.inputs.recipes.get_dict() if 'recipes' in self.inputs else {}
        used = {name for recipe in recipes.values() for name in recipe['of']}
        made = {label: structure for label, structure in structures.items() if label not in used}
        n_made = len(made)
        for label, recipe in sorted(recipes.items()):
            sources = {f's{index}': structures[name] for index, name in enumerate(recipe.pop('of'))}
            try:
                make_structures([get_atoms(node) for node in sources.values()], recipe, self.inputs.seed.value)
            except ValueError as error:
                return self.exit_codes.ERROR_STRUCTURES.format(reason=f'{label}: {error}')
            result = create_structures(
                recipe=orm.Dict(recipe),
                seed=self.inputs.seed,
                **sources,
                metadata={'call_link_label': f'structures_{label}'},
            )
            made |= {f'{label}_{name}': structure for name, structure in result.items()}
            n_made += len(result)
        if 'trajectory' in self.inputs:
            frames = extract_frames(self.inputs.trajectory, metadata={'call_link_label': 'frames'})
            made |= {f'frame_{name}': structure for name, structure in frames.items()}
            n_made += len(frames)
        if len(made) < n_made:
            return self.exit_codes.ERROR_STRUCTURES.format(
                reason='two structures have the same label; rename the recipes'
            )
        excluded = self.excluded
        problem = find_made_problem(
            made, self.inputs.split.get_dict(), self.inputs.seed.value, excluded
        ) or find_equal_structures({label: node for label, node in made.items() if label not in excluded})
        if problem is not None:
            return self.exit_codes.ERROR_STRUCTURES.format(reason=problem)
        self.ctx.structures = made
        self.report(f'{len(made)} structures')
        return None

    @property
    def excluded(self) -> list[str]:
        """Return the labels of the structures that are not in the dataset."""
        return self.inputs.excluded.get_list() if 'excluded' in self.inputs else []

    def get_reference_structures(self):
        """Return all structures to compute, those of the dataset first."""
        excluded = self.excluded
        return dict(sorted(self.ctx.structures.items(), key=lambda entry: (entry[0] in excluded, entry[0])))

    @property
    def pseudos(self) -> dict:
        """Return the pseudopotentials of all elements."""
        return dict(self.inputs.pseudos)

    def make_dataset(self):
        """Make the dataset node, and put the results into the group."""
        hamiltonians = {label: node for label, node in self.ctx.references.items() if label not in self.excluded}
        split = self.inputs.split.get_dict()
        if any(isinstance(part, list) for part in split.values()):
            # Those that failed are left out.
            split = {name: [label for label in part if label in hamiltonians] for name, part in split.items()}
        try:
            # In the calculation function this would be an exception.
            assemble_dataset(split, self.inputs.seed.value, hamiltonians)
        except ValueError as error:
            return self.exit_codes.ERROR_DATASET.format(reason=str(error))
        dataset = create_dataset(
            split=orm.Dict(split),
            seed=self.inputs.seed,
            failures=orm.Dict(dict(self.ctx.failures)),
            **hamiltonians,
            metadata={'call_link_label': 'create_dataset'},
        )
        self.out('dataset', dataset)
        if 'group' in self.inputs:
            group, _ = orm.Group.collection.get_or_create(label=self.inputs.group.value)
            group.add_nodes([*self.ctx.references.values(), dataset])
        return None
