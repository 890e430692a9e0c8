"""Base class of the calculation jobs that run the `hamlr` executable."""

from __future__ import annotations

from types import SimpleNamespace

import yaml
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.schedulers import JobResource
from aiida_quantumespresso.calculations.base import CalcJob

from aiida_hamlr.calculations.storage import find_storage_problem

__all__ = (
    'HamlrCalculation',
    'ReadsAnyOutput',
    'define_withmpi',
    'find_append_text_problem',
    'find_copies_problem',
    'find_job_resource',
    'find_remote_folder_problem',
    'find_withmpi_problem',
    'is_valid_remote_cache',
)


def define_withmpi(spec):
    """Make the option `withmpi` one without a default: no MPI, unless the option or the code asks for it.

    A work chain that passes the option on would turn a default into a request, which may contradict the code.
    """
    spec.input(
        'metadata.options.withmpi',
        valid_type=bool,
        required=False,
        help='Whether to run with MPI; by default as the code is set up, or without if the code does not say.',
    )


def find_withmpi_problem(inputs: dict) -> str | None:
    """Return how the option `withmpi` contradicts the code, or nothing."""
    code, wish = inputs.get('code'), inputs.get('metadata', {}).get('options', {}).get('withmpi')
    if code is None or wish is None or code.with_mpi is None or code.with_mpi == wish:
        return None
    return f'`metadata.options.withmpi` is {wish}, but code {code.label} is set up with `with_mpi` {code.with_mpi}'


def find_append_text_problem(inputs: dict) -> str | None:
    """Return why commands after the executable cannot be an option of the job, or nothing."""
    if not inputs.get('metadata', {}).get('options', {}).get('append_text', '').strip():
        return None
    return (
        '`metadata.options.append_text` runs before the exit status of `hamlr` is recorded and would replace it; give '
        'the commands as `append_text` of the code or of the computer'
    )


def find_job_resource(inputs: dict) -> JobResource | None:
    """Return the resources of a job, or nothing if the inputs do not say where it runs or how."""
    code, resources = inputs.get('code'), inputs.get('metadata', {}).get('options', {}).get('resources')
    if code is None or code.computer is None or not resources:
        return None
    return code.computer.get_scheduler().create_job_resource(**resources)


def find_copies_problem(inputs: dict, on_each_machine: bool = False) -> str | None:
    """Return a message if MPI would start several copies of the executable, or nothing.

    :param on_each_machine: whether one copy on each machine is intended.
    """
    resource = find_job_resource(inputs)
    if resource is None or not (inputs['metadata']['options'].get('withmpi') or inputs['code'].with_mpi):
        return None
    n_tasks = resource.get_tot_num_mpiprocs()
    if n_tasks == (getattr(resource, 'num_machines', 1) if on_each_machine else 1):
        return None
    return (
        f'`hamlr` is not an MPI program: MPI would start {n_tasks} copies that all do the same work; set '
        "`metadata.options.withmpi` and the code's `with_mpi` to False or leave them out (use `processes` for a "
        'training on several processes)'
    )


def find_remote_folder_problem(inputs: dict, labels: tuple[str, ...]) -> str | None:
    """Return why the remote folders among the inputs cannot be linked into a job of the code, or nothing."""
    code = inputs.get('code')
    if code is None or code.computer is None:
        return None
    for label in labels:
        folder = inputs.get(label)
        if folder is None:
            continue
        if folder.computer.uuid != code.computer.uuid:
            return (
                f'`{label}` lies on computer {folder.computer.label}, but the code runs on {code.computer.label}; '
                'a job can only link to folders on its own computer'
            )
        if folder.is_cleaned:
            return f'`{label}` (node {folder.pk}) was cleaned and its files are gone; run the calculation again'
    return None


def is_valid_remote_cache(node: orm.CalcJobNode) -> bool:
    """Return whether, according to the database, the remote folder of a finished job has not been cleaned."""
    folder = node.base.links.get_outgoing(link_label_filter='remote_folder').first()
    return folder is None or not folder.node.is_cleaned


class ReadsAnyOutput:
    """Part of calculation jobs: what the scheduler printed may hold bytes that are not UTF-8.

    AiiDA reads it strictly, and a job with such bytes would be left excepted.
    """

    def parse_scheduler_output(self, retrieved: orm.FolderData):
        """Parse the output of the scheduler, with marks for bytes that are not UTF-8."""

        def get_object_content(filename: str, mode: str = 'r') -> str:
            return retrieved.base.repository.get_object_content(filename, mode='rb').decode(errors='replace')

        readable = SimpleNamespace(
            base=SimpleNamespace(repository=SimpleNamespace(get_object_content=get_object_content))
        )
        return super().parse_scheduler_output(readable)


class HamlrCalculation(ReadsAnyOutput, CalcJob):
    """Base class of the jobs that run one command of the `hamlr` executable."""

    #: The command, as on the command line.
    _COMMAND: str
    #: Configuration file; none if the command takes its input on the command line.
    _CONFIG_FILENAME: str | None = None
    _SUMMARY_FILENAME = 'summary.json'
    #: The shell writes the exit status of the executable to this file, because AiiDA does not record it.
    _STATUS_FILENAME = 'hamlr.status'
    _REMOTE_FOLDERS: tuple[str, ...] = ()
    #: Whether the job starts the executable on each of its machines.
    _ON_EACH_MACHINE = False
    #: Hamiltonian files, relative to the folder of the job, that can be stashed on the computer.
    _STASHED: tuple[str, ...] = ()

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.inputs['metadata']['options']['parser_name'].default = f'hamlr.{cls._COMMAND}'
        spec.inputs['metadata']['options']['output_filename'].default = 'hamlr.out'
        define_withmpi(spec)
        base_validator = spec.inputs.validator

        def validate(inputs, namespace):
            return base_validator(inputs, namespace) or cls.validate_inputs(inputs, namespace)

        spec.inputs.validator = validate
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='Content of the `summary.json` that the executable wrote.',
        )
        spec.default_output_node = 'output_parameters'
        spec.exit_code(
            210,
            'ERROR_BAD_INPUT',
            message='The executable refused its input: {reason}. Correct the input that it names.',
        )
        spec.exit_code(
            301,
            'ERROR_NO_RETRIEVED_TEMPORARY_FOLDER',
            message='The temporary folder with the retrieved files is missing: run the job again.',
        )
        spec.exit_code(
            303,
            'ERROR_OUTPUT_FILE_MISSING',
            message='The job did not write {filename}; its last message: {reason}. Look into its remote folder.',
        )
        spec.exit_code(
            310,
            'ERROR_OUTPUT_SUMMARY',
            message='The summary of the job could not be read: {reason}. Check that the disk is not full, and run '
            'again.',
        )
        spec.exit_code(
            320,
            'ERROR_OUTPUT_FILE_READ',
            message='An output file could not be read: {reason}. Check that the disk is not full, and run again.',
        )
        spec.exit_code(
            360,
            'ERROR_EXECUTABLE_FAILED',
            message='The executable ended with status {status}: {reason}. Look into its output and its remote folder.',
        )
        spec.exit_code(
            400,
            'ERROR_OUT_OF_WALLTIME',
            message='The job reached its wall-time and stopped cleanly: {reason}. Increase `max_wallclock_seconds`.',
        )
        spec.exit_code(
            420,
            'ERROR_NUMERICAL',
            message='The calculation failed numerically: {reason}. Check the structure, the orbitals and the '
            'parameters.',
        )
        spec.exit_code(
            430,
            'ERROR_OUT_OF_MEMORY',
            message='The job ran out of memory: {reason}. Request more memory, or give the job fewer or smaller '
            'structures.',
        )
        # Failures of the moment, which a repetition may not meet.
        spec.exit_code(
            431,
            'ERROR_NO_GPU',
            message='The job needs more GPUs than it can see: {reason}. Check what the scheduler was asked for.',
            invalidates_cache=True,
        )
        spec.exit_code(
            432,
            'ERROR_KILLED',
            message='The executable was killed and the scheduler gave no reason: {reason}. Run again; if it happens '
            'again, request more memory.',
            invalidates_cache=True,
        )
        spec.exit_code(
            433,
            'ERROR_DISK_FULL',
            message='There was no room for a file: {reason}. Free some space on the disk of the computer, or raise the '
            'limit of file sizes, and run again.',
            invalidates_cache=True,
        )

    @classmethod
    def validate_inputs(cls, inputs, _) -> str | None:
        """Return why the inputs do not fit together, or nothing."""
        return (
            find_withmpi_problem(inputs)
            or find_append_text_problem(inputs)
            or find_copies_problem(inputs, cls._ON_EACH_MACHINE)
            or find_remote_folder_problem(inputs, cls._REMOTE_FOLDERS)
            or find_storage_problem(inputs, cls._STASHED)
        )

    def get_calc_info(self, cmdline_params: list[list[str]]) -> CalcInfo:
        """Return the description of a job that runs the executable once for each list of parameters."""
        options = self.inputs.metadata.options
        calc_info = CalcInfo()
        calc_info.codes_info = []
        # A job that ran without AiiDA may be imported without a code.
        for index, parameters in enumerate(cmdline_params if 'code' in self.inputs else ()):
            code_info = CodeInfo()
            code_info.code_uuid = self.inputs.code.uuid
            code_info.cmdline_params = parameters
            code_info.stdout_name = options.output_filename if index == 0 else f'{index}.{options.output_filename}'
            calc_info.codes_info.append(code_info)
        calc_info.append_text = f'echo $? > {self._STATUS_FILENAME}'
        calc_info.local_copy_list = []
        calc_info.remote_copy_list = []
        calc_info.remote_symlink_list = []
        calc_info.provenance_exclude_list = []
        calc_info.retrieve_list = [options.output_filename, self._STATUS_FILENAME]
        calc_info.retrieve_temporary_list = []
        return calc_info

    def write_config(self, folder: Folder, config: dict):
        """Write the configuration of the command into the job's folder."""
        with folder.open(self._CONFIG_FILENAME, 'w') as stream:
            yaml.safe_dump(config, stream, sort_keys=False)
