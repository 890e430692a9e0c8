"""pp.x for the total local potential, from links to the files of pw.x."""

from __future__ import annotations

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida_quantumespresso.calculations.pp import PpCalculation
from aiida_quantumespresso.utils.convert import convert_input_to_namelist_entry

from aiida_hamlr.calculations.base import (
    ReadsAnyOutput,
    define_withmpi,
    find_remote_folder_problem,
    find_withmpi_problem,
    is_valid_remote_cache,
)

__all__ = ('PotentialCalculation',)


class PotentialCalculation(ReadsAnyOutput, PpCalculation):
    """Run pp.x for the total local potential (`plot_num` 1) and leave its file on the computer.

    Only the files that pp.x reads are linked from the folder of pw.x: the description of the run, the charge density
    and the pseudopotentials. The wavefunctions are not touched. No cube file is written, because its five digits are
    too few.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('parent_folder', valid_type=orm.RemoteData, help='Remote folder of the finished `PwCalculation`.')
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({'INPUTPP': {'plot_num': 1}}),
            validator=cls.validate_parameters,
            help='Parameters of the namelist `INPUTPP`; `plot_num` must be 1, the total local potential.',
        )
        define_withmpi(spec)
        base_validator = spec.inputs.validator

        def validate(inputs, namespace):
            return base_validator(inputs, namespace) or cls.validate_inputs(inputs, namespace)

        spec.inputs.validator = validate
        spec.inputs['metadata']['options']['parser_name'].default = 'hamlr.potential'
        for name in ('keep_data_files', 'parse_data_files'):
            del spec.inputs['metadata']['options'][name]
        spec.output('output_parameters', valid_type=orm.Dict, help='Parsed standard output of pp.x.')
        for name in ('output_data', 'output_data_multiple'):
            del spec.outputs[name]
        spec.exit_code(
            320, 'ERROR_POTENTIAL_NOT_WRITTEN', message='pp.x did not write the potential: look into its output.'
        )
        # No data files are read.
        for name in ('MISSING', 'READ', 'PARSE'):
            del spec.exit_codes[f'ERROR_OUTPUT_DATAFILE_{name}']
        del spec.exit_codes['ERROR_UNSUPPORTED_DATAFILE_FORMAT']

    @classmethod
    def validate_parameters(cls, value, _) -> str | None:
        """Return what is wrong with the parameters, or nothing."""
        if value is None:
            return None
        parameters = value.get_dict()
        if set(parameters) != {'INPUTPP'} or parameters['INPUTPP'].get('plot_num') != 1:
            return '`parameters` must have the namelist `INPUTPP` only, with `plot_num` 1 (the total local potential)'
        return None

    @classmethod
    def validate_inputs(cls, inputs, _) -> str | None:
        """Return why the inputs do not fit together, or nothing."""
        return find_withmpi_problem(inputs) or find_remote_folder_problem(inputs, ('parent_folder',))

    @classmethod
    def is_valid_cache(cls, node) -> bool:
        """Return whether a finished job may be reused for another one with the same inputs."""
        return super().is_valid_cache(node) and is_valid_remote_cache(node)

    def prepare_for_submission(self, folder):
        """Write the input of pp.x and list the links that it needs."""
        options = self.inputs.metadata.options
        namelist = {
            **self.inputs.parameters.get_dict()['INPUTPP'],
            'outdir': self._OUTPUT_SUBFOLDER,
            'prefix': self._PREFIX,
            'filplot': self._FILPLOT,
        }
        with folder.open(options.input_filename, 'w') as stream:
            stream.write('&INPUTPP\n')
            for key, value in sorted(namelist.items()):
                stream.write(convert_input_to_namelist_entry(key, value))
            stream.write('/\n')
        save = f'{self._OUTPUT_SUBFOLDER}{self._PREFIX}.save'
        # The target of a link with a pattern is a folder, which must exist.
        folder.get_subfolder(save, create=True)

        code_info = CodeInfo()
        code_info.code_uuid = self.inputs.code.uuid
        code_info.stdin_name = options.input_filename
        code_info.stdout_name = options.output_filename
        calc_info = CalcInfo()
        calc_info.codes_info = [code_info]
        parent = self.inputs.parent_folder
        computer, path = parent.computer.uuid, parent.get_remote_path()
        calc_info.remote_symlink_list = [
            (computer, f'{path}/{save}/data-file-schema.xml', f'{save}/data-file-schema.xml'),
            # charge-density.dat, or .hdf5 if Quantum ESPRESSO was built with HDF5
            (computer, f'{path}/{save}/charge-density.*', save),
            (computer, f'{path}/{save}/*.[uU][pP][fF]', save),
        ]
        calc_info.retrieve_list = [options.output_filename]
        calc_info.retrieve_temporary_list = []
        return calc_info
