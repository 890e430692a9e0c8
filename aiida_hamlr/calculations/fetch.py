"""Copy Hamiltonians from a computer into the repository."""

from __future__ import annotations

from aiida.common.datastructures import CalcInfo
from aiida_quantumespresso.calculations.base import CalcJob

from aiida_hamlr.calculations.base import ReadsAnyOutput
from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('FetchCalculation',)


def validate_hamiltonians(value, _) -> str | None:
    """Return which Hamiltonian is not on a computer, or nothing."""
    if not value:
        return '`hamiltonians` is empty'
    for label, node in value.items():
        if not node.is_remote:
            return f'`hamiltonians.{label}` (node {node.pk}) is already in the repository'
    return None


def validate_inputs(inputs, _) -> str | None:
    """Return which Hamiltonian is on a different computer from the job, or nothing."""
    computer = inputs.get('metadata', {}).get('computer')
    if computer is None:
        return 'give `metadata.computer`, the computer that has the files of the Hamiltonians'
    for label, node in inputs.get('hamiltonians', {}).items():
        if node.computer.uuid != computer.uuid:
            return (
                f'`hamiltonians.{label}` (node {node.pk}) is on computer {node.computer.label}, not on '
                f'{computer.label}; run one job for each computer'
            )
    return None


class FetchCalculation(ReadsAnyOutput, CalcJob):
    """Copy Hamiltonians that are stored on a computer into the repository; nothing runs on the computer."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.inputs.pop('code', None)
        spec.input_namespace(
            'hamiltonians',
            valid_type=HamiltonianData,
            dynamic=True,
            validator=validate_hamiltonians,
            help='Remote Hamiltonians of one computer, by labels of your choice.',
        )
        spec.inputs['metadata']['computer'].required = True
        spec.inputs['metadata']['options']['resources'].default = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        spec.inputs['metadata']['options']['parser_name'].default = 'hamlr.fetch'
        spec.inputs.validator = validate_inputs
        spec.output_namespace(
            'hamiltonians',
            valid_type=HamiltonianData,
            dynamic=True,
            required=False,
            help='The copies in the repository, by the same labels.',
        )
        spec.exit_code(
            301,
            'ERROR_NO_RETRIEVED_TEMPORARY_FOLDER',
            message='The temporary folder with the retrieved files is missing: run the job again.',
        )
        spec.exit_code(
            303,
            'ERROR_FILES_GONE',
            message='Files of Hamiltonians are missing on the computer: {reason}. Restore them, or compute the '
            'Hamiltonians '
            'again.',
        )
        spec.exit_code(
            320,
            'ERROR_FILES_CHANGED',
            message='Files of Hamiltonians have changed since their nodes were created: {reason}. Compute the '
            'Hamiltonians '
            'again.',
        )

    @staticmethod
    def filename(label: str) -> str:
        """Return the name of the temporary copy of a Hamiltonian."""
        return f'{label}.h5'

    def prepare_for_submission(self, _):
        """List the files to retrieve."""
        calc_info = CalcInfo()
        calc_info.skip_submit = True
        calc_info.codes_info = []
        calc_info.local_copy_list = []
        calc_info.remote_copy_list = []
        calc_info.remote_symlink_list = []
        calc_info.retrieve_list = []
        calc_info.retrieve_temporary_list = [
            (node.base.attributes.get('remote_path'), self.filename(label), 0)
            for label, node in sorted(self.inputs.hamiltonians.items())
        ]
        return calc_info
