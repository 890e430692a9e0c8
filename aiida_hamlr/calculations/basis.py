"""`hamlr basis`: atomic orbitals of several elements from their pseudopotentials."""

from __future__ import annotations

from typing import get_args

from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_hamlr.calculations.base import HamlrCalculation
from aiida_hamlr.calculations.validation import validate_pseudos, validate_structures
from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.data.structures import get_atoms
from aiida_hamlr.io.extxyz import format_extxyz
from aiida_hamlr.jobs.schemas import Recipe, Size

__all__ = ('BasisCalculation',)

KNOWN_PARAMETERS = ('size', 'cutoff_radius', 'recipe')
RECIPES, SIZES = get_args(Recipe), get_args(Size)


def validate_parameters(value, _) -> str | None:
    """Return what is wrong with the parameters, or nothing."""
    parameters = value.get_dict() if value is not None else {}
    unknown = sorted(set(parameters) - set(KNOWN_PARAMETERS))
    if unknown:
        return f'unknown parameter {unknown[0]!r} of the basis; known are {", ".join(KNOWN_PARAMETERS)}'
    if parameters.get('recipe', RECIPES[0]) not in RECIPES:
        return f'`recipe` is {parameters["recipe"]!r}; known are {", ".join(RECIPES)}'
    size = parameters.get('size', SIZES[0])
    unknown = [entry for entry in (size.values() if isinstance(size, dict) else [size]) if entry not in SIZES]
    if unknown:
        return f'`size` is {unknown[0]!r}; known are {", ".join(SIZES)}'
    return None


class BasisCalculation(HamlrCalculation):
    """Generate numerical atomic orbitals of several elements in one job from their pseudopotentials."""

    _COMMAND = 'basis'
    FOLDER = 'basis'

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'pseudos',
            valid_type=UpfData,
            dynamic=True,
            validator=validate_pseudos,
            help='Norm-conserving pseudopotentials by chemical symbol.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({'size': 'dzp'}),
            validator=validate_parameters,
            help='`size` (sz, szp, dzp, dzdp, tzp, tzdp) and `cutoff_radius` (bohr), each one value for all elements '
            'or a '
            'mapping by chemical symbol; `recipe`: contracted (default; orbitals are optimised on the bands of small '
            'crystals) or plain.',
        )
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            validator=validate_structures,
            dynamic=True,
            required=False,
            help='Crystals of a few atoms on whose bands the orbitals are optimised; by default simple crystals of '
            'the elements.',
        )
        spec.output('basis', valid_type=BasisData, required=False, help='The orbitals of all elements.')

    @classmethod
    def validate_inputs(cls, inputs, namespace) -> str | None:
        """Return why the inputs do not fit together, or nothing."""
        parameters = inputs['parameters'].get_dict() if 'parameters' in inputs else {}
        if inputs.get('structures') and parameters.get('recipe') == 'plain':
            return (
                '`structures` are used by contracted orbitals only, but the parameter `recipe` is plain; leave one out'
            )
        return super().validate_inputs(inputs, namespace)

    def prepare_for_submission(self, folder):
        """Run the executable once for all elements."""
        parameters = self.inputs.parameters.get_dict()
        command = [self._COMMAND]
        copies = []
        for element, pseudo in sorted(self.inputs.pseudos.items()):
            name = f'{element}.upf'
            command += ['--upf', name if element == pseudo.element else f'{element}={name}']
            copies.append((pseudo.uuid, pseudo.filename, f'{element}.upf'))
        for key, option in (('size', '--size'), ('cutoff_radius', '--cutoff-radius')):
            value = parameters.get(key)
            values = [f'{e}={v}' for e, v in sorted(value.items())] if isinstance(value, dict) else [value]
            command += [word for entry in values if entry is not None for word in (option, str(entry))]
        if 'recipe' in parameters:
            command += ['--recipe', parameters['recipe']]
        for index, (_, structure) in enumerate(sorted(self.inputs.get('structures', {}).items())):
            name = f'structure_{index}.extxyz'
            with folder.open(name, 'w') as stream:
                stream.write(format_extxyz(get_atoms(structure)))
            command += ['--structure', name]
        # For a single element the executable takes a file name; the file goes into the same folder as for several.
        single = len(copies) == 1
        output = f'{self.FOLDER}/{self.filenames()[0]}' if single else self.FOLDER
        calc_info = self.get_calc_info([[*command, '-o', output]])
        calc_info.local_copy_list = copies
        calc_info.retrieve_list.append((f'{self.FOLDER}/{self._SUMMARY_FILENAME}', '.', 0))
        calc_info.retrieve_temporary_list = [(f'{self.FOLDER}/{name}', '.', 0) for name in self.filenames()]
        return calc_info

    def filenames(self) -> list[str]:
        """Return the names of the basis files of the elements."""
        return [BasisData.filename(element) for element in sorted(self.inputs.pseudos)]
