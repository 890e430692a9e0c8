"""`hamlr predict`: Hamiltonians and bands of structures from a trained model."""

from __future__ import annotations

from collections.abc import Collection

from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_hamlr.calculations.base import HamlrCalculation
from aiida_hamlr.calculations.many_nodes import ManyInputsMixin, transaction
from aiida_hamlr.calculations.properties import make_parameters_validator
from aiida_hamlr.calculations.storage import define_storage, is_remote_storage
from aiida_hamlr.calculations.validation import validate_pseudos, validate_structures, validate_trajectory
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.data.structures import choose_species, get_atoms, get_frame
from aiida_hamlr.electronic.magnetism import moments_of_species, set_starting_moments
from aiida_hamlr.io.extxyz import format_extxyz
from aiida_hamlr.jobs.outputs import BANDS, PROPERTIES
from aiida_hamlr.jobs.results import RESULTS
from aiida_hamlr.jobs.schemas import PredictConfig

__all__ = ('PredictCalculation', 'structure_labels')

#: Keys of the configuration that the job sets, or that name files, which have no node.
BLOCKED = ('model', 'committee', 'structures', 'labels', 'output', 'path', 'spin_orbit_pseudos')


def structure_labels(inputs) -> list[str]:
    """Return the labels of the structures in the order of the job; the labels of a trajectory contain the index."""
    if 'trajectory' in inputs:
        n_steps = inputs['trajectory'].numsteps
        return [f'step_{index:0{len(str(n_steps - 1))}d}' for index in range(n_steps)]
    return sorted(inputs.get('structures', {}))


def find_equal_names(labels) -> tuple[str, str] | None:
    """Return two labels that would be the same name of a folder on some computers, or nothing."""
    known = {}
    for label in labels:
        if known.setdefault(label.casefold(), label) != label:
            return known[label.casefold()], label
    return None


def find_siblings_problem(inputs, known: Collection[str]) -> str | None:
    """Return why the fully relativistic pseudopotentials have no use, or nothing; ``known`` are the model's species."""
    given = set(inputs.get('spin_orbit_pseudos', {}))
    unknown = sorted(given - set(known))
    if unknown:
        return f'`spin_orbit_pseudos`: the model has no species {", ".join(unknown)}'
    parameters = inputs['parameters'].get_dict() if 'parameters' in inputs else {}
    if given and not parameters.get('spin_orbit'):
        return '`spin_orbit_pseudos` are given without `spin_orbit: true` in `parameters`'
    return None


def find_unknown_species(inputs, known: Collection[str]) -> str | None:
    """Return which structure has species that a model does not know, or nothing; ``known`` are the model's species."""
    if 'trajectory' in inputs:
        species = {'the trajectory': set(inputs['trajectory'].symbols)}
    else:
        species = {label: set(choose_species(node, known).values()) for label, node in inputs['structures'].items()}
    for label, found in species.items():
        if found - known:
            return (
                f'{label} contains {", ".join(sorted(found - known))}, which are not in the training data; '
                'the model knows '
                f'{", ".join(sorted(known))}'
            )
    return None


class PredictCalculation(ManyInputsMixin, HamlrCalculation):
    """Predict the Hamiltonians of structures and the properties that follow from them."""

    _COMMAND = 'predict'
    _CONFIG_FILENAME = 'predict.yaml'
    _OUTPUT_SUBFOLDER = 'predictions'
    _MODEL_SUBFOLDER = 'model'
    _COMMITTEE_SUBFOLDER = 'committee'
    _SIBLINGS_SUBFOLDER = 'spin_orbit'
    _STRUCTURES_FILENAME = 'structures.extxyz'
    _RESULTS_FILENAME = RESULTS
    _STASHED = (f'{_OUTPUT_SUBFOLDER}/*/{HamiltonianData.FILENAME}',)

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('model', valid_type=ModelData, help='The trained network.')
        spec.input_namespace(
            'committee',
            valid_type=ModelData,
            dynamic=True,
            required=False,
            help='Further models of the same elements and basis, for example of other seeds; the spread of their '
            'predictions is an uncertainty.',
        )
        spec.input_namespace(
            'spin_orbit_pseudos',
            valid_type=UpfData,
            dynamic=True,
            required=False,
            validator=validate_pseudos,
            help='With `spin_orbit` in `parameters`, for a model whose pseudopotentials are scalar-relativistic: the '
            'fully relativistic ones of the same set, by species.',
        )
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            dynamic=True,
            required=False,
            validator=validate_structures,
            help='Structures by labels of your choice; their outputs have the same labels.',
        )
        spec.input(
            'trajectory',
            valid_type=orm.TrajectoryData,
            required=False,
            validator=validate_trajectory,
            help='Structures as one node, instead of `structures`; the labels are step_0, step_1 and so on.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({'outputs': ['hamiltonian', 'bands']}),
            validator=make_parameters_validator(PredictConfig, BLOCKED),
            help='Further keys of the configuration of `hamlr predict`, for example `outputs`.',
        )
        define_storage(spec, 'the Hamiltonians are')
        spec.output_namespace(
            'hamiltonians',
            valid_type=HamiltonianData,
            dynamic=True,
            required=False,
            help='The predicted Hamiltonians by label.',
        )
        spec.output_namespace(
            'bands', valid_type=orm.BandsData, dynamic=True, required=False, help='The predicted bands by label.'
        )
        for name, valid_type, help_text in (
            ('output_dos', orm.XyData, 'The densities of states by label: `dos_energy`, `dos`, `integrated_dos`.'),
            ('projections', orm.ProjectionData, 'Densities of states and bands by orbital, by label.'),
            ('projections_up', orm.ProjectionData, 'The same of spin up.'),
            ('projections_down', orm.ProjectionData, 'The same of spin down.'),
            ('arrays', orm.ArrayData, 'Charges, levels, band edges by layer and effective masses by label.'),
        ):
            spec.output_namespace(name, valid_type=valid_type, dynamic=True, required=False, help=help_text)
        spec.output_namespace(
            'results',
            valid_type=orm.Dict,
            dynamic=True,
            required=False,
            help='Numbers by label: gap, band edges, Fermi level and what else the row of `results.csv` has. They are '
            'there for all structures that were done, also if the job ended before the others were.',
        )
        spec.exit_code(
            440,
            'ERROR_ALL_STRUCTURES_FAILED',
            message='No structure could be predicted: {reason}. Check that the model was trained for such structures.',
        )

    @classmethod
    def validate_inputs(cls, inputs, namespace) -> str | None:
        """Return why the inputs do not fit together, or nothing."""
        problem = super().validate_inputs(inputs, namespace)
        if problem is not None or 'structures' not in namespace:
            # The work chain excludes the port and sets the structures later.
            return problem
        if ('trajectory' in inputs) == bool(inputs.get('structures')):
            return 'give either `structures` or `trajectory`'
        twice = find_equal_names(inputs.get('structures', {}))
        if twice is not None:
            return f'`structures`: the labels {" and ".join(twice)} differ in upper and lower case only; rename one'
        if 'model' not in inputs:
            return None
        known = set(inputs['model'].species)
        return find_siblings_problem(inputs, known) or find_unknown_species(inputs, known)

    def prepare_for_submission(self, folder):
        """Write the configuration and the structures; the model folder is copied from its node."""
        parameters = self.inputs.parameters.get_dict()
        labels = structure_labels(self.inputs)
        with transaction(), folder.open(self._STRUCTURES_FILENAME, 'w') as stream:
            for index, label in enumerate(labels):
                if 'trajectory' in self.inputs:
                    structure = get_frame(self.inputs.trajectory, index)
                else:
                    structure = self.inputs.structures[label]
                stream.write(format_extxyz(self._atoms(structure, parameters.get('magnetic_moments', {}))))
        # They are in the structures now; the names of kinds that are no species mean nothing to the job.
        parameters.pop('magnetic_moments', None)
        others = {f'{self._COMMITTEE_SUBFOLDER}/{label}': node for label, node in self._committee.items()}
        if others:
            parameters['committee'] = list(others)
        siblings = sorted(self.inputs.get('spin_orbit_pseudos', {}).items())
        if siblings:
            parameters['spin_orbit_pseudos'] = {
                label: f'{self._SIBLINGS_SUBFOLDER}/{label}.upf' for label, _ in siblings
            }
        self.write_config(
            folder,
            {
                **parameters,
                'model': self._MODEL_SUBFOLDER,
                'structures': [self._STRUCTURES_FILENAME],
                'labels': labels,
                'output': f'{self._OUTPUT_SUBFOLDER}/',
            },
        )
        calc_info = self.get_calc_info([[self._COMMAND, self._CONFIG_FILENAME]])
        # The structures are already stored as nodes.
        calc_info.provenance_exclude_list = [self._STRUCTURES_FILENAME]
        calc_info.local_copy_list = [(self.inputs.model.uuid, '.', self._MODEL_SUBFOLDER)]
        calc_info.local_copy_list += [(node.uuid, '.', name) for name, node in others.items()]
        calc_info.local_copy_list += [
            (node.uuid, node.filename, f'{self._SIBLINGS_SUBFOLDER}/{label}.upf') for label, node in siblings
        ]
        calc_info.retrieve_list += [
            (f'{self._OUTPUT_SUBFOLDER}/{name}', '.', 1) for name in (self._SUMMARY_FILENAME, self._RESULTS_FILENAME)
        ]
        hamiltonian = HamiltonianData.DESCRIPTION if is_remote_storage(self.inputs) else HamiltonianData.FILENAME
        calc_info.retrieve_temporary_list = [
            (f'{self._OUTPUT_SUBFOLDER}/*/{name}', '.', None) for name in (hamiltonian, BANDS, PROPERTIES)
        ]
        return calc_info

    def _atoms(self, structure: orm.StructureData, moments: dict):
        """Return a structure for the job, with the starting moments that its kinds or elements have."""
        atoms = get_atoms(structure, self.inputs.model.species)
        set_starting_moments(atoms, moments_of_species([site.kind_name for site in structure.sites], moments))
        return atoms

    @property
    def _committee(self) -> dict:
        """Models to compare with, by label, in a fixed order."""
        return dict(sorted(self.inputs.committee.items())) if 'committee' in self.inputs else {}
