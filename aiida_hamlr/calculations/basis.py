"""`hamlr basis`: the orbitals of some elements from their pseudopotentials."""

from __future__ import annotations

from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_hamlr.calculations.base import HamlrCalculation
from aiida_hamlr.calculations.validation import validate_pseudos
from aiida_hamlr.data.basis import BasisData

__all__ = ('BasisCalculation',)

KNOWN_PARAMETERS = ('size', 'cutoff_radius')


def validate_parameters(value, _) -> str | None:
    """Return what is wrong with the parameters, or nothing."""
    unknown = sorted(set(value.get_dict()) - set(KNOWN_PARAMETERS)) if value is not None else []
    if unknown:
        return f'unknown parameter {unknown[0]!r} of the basis; known are {", ".join(KNOWN_PARAMETERS)}'
    return None


class BasisCalculation(HamlrCalculation):
    """Generate numerical atomic orbitals of every element from its pseudopotential."""

    _COMMAND = 'basis'

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
            help='`size` (sz, szp, dzp, dzdp, tzp, tzdp) and `cutoff_radius` (bohr), one for all elements or a mapping '
            'by chemical symbol.',
        )
        spec.output('basis', valid_type=BasisData, required=False, help='The orbitals of all elements.')

    def prepare_for_submission(self, folder):
        """Run the executable once for each element."""
        parameters = self.inputs.parameters.get_dict()
        commands = []
        copies = []
        for element, pseudo in sorted(self.inputs.pseudos.items()):
            command = [self._COMMAND, '--upf', f'{element}.upf', '-o', BasisData.filename(element)]
            for key, option in (('size', '--size'), ('cutoff_radius', '--cutoff-radius')):
                value = parameters.get(key)
                value = value.get(element) if isinstance(value, dict) else value
                if value is not None:
                    command += [option, str(value)]
            commands.append(command)
            copies.append((pseudo.uuid, pseudo.filename, f'{element}.upf'))
        calc_info = self.get_calc_info(commands)
        calc_info.local_copy_list = copies
        calc_info.retrieve_temporary_list = [BasisData.filename(element) for element in self.inputs.pseudos]
        return calc_info
