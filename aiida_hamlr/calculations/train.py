"""`hamlr train`: train a network on a dataset."""

from __future__ import annotations

from aiida import orm
from pydantic import ValidationError

from aiida_hamlr.calculations.base import HamlrCalculation, find_job_resource, is_valid_remote_cache
from aiida_hamlr.calculations.storage import find_remote_data_problem
from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.jobs.config import Config, describe
from aiida_hamlr.model.config import ModelConfig, TrainingConfig

__all__ = ('TrainCalculation',)

#: Keys of the configuration that the job sets, not the user.
BLOCKED = {'data': None, 'output': None, 'parent': None, 'training': ('seed', 'walltime', 'resume')}

#: Checkpoints to resume from, and their files.
CHECKPOINTS = {'last': 'last.ckpt', 'best': 'best.ckpt'}

#: The machine where all processes of a job meet; `hamlr` starts itself on the other machines.
_RENDEZVOUS = 'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'


class _Parameters(Config):
    """The sections of the configuration that the user sets."""

    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


def nest_parameters(parameters: dict, warn: bool = True) -> dict:
    """Return parameters with the flat keys of earlier versions moved to their sections.

    :param parameters: sections `model` and `training`, as in the input `parameters`.
    :param warn: whether to warn of flat keys.
    :raises ValueError: if a key is given in both places.
    """
    kinds = {'model': ModelConfig, 'training': TrainingConfig}
    return {
        name: kinds[name].nest(section, warn) if name in kinds and isinstance(section, dict) else section
        for name, section in parameters.items()
    }


def validate_parameters(value, _) -> str | None:
    """Return what is wrong with the parameters, or nothing."""
    if value is None:
        return None
    parameters = value.get_dict()
    for section, keys in BLOCKED.items():
        if keys is None and section in parameters:
            return f'`{section}` is set by the job and cannot be given in `parameters`'
        for key in keys or ():
            if key in parameters.get(section, {}):
                return f'`{section}.{key}` is set by the job and cannot be given in `parameters`'
    try:
        _Parameters.model_validate(parameters)
    except ValidationError as error:
        return describe(error.errors()[0], _Parameters)
    return None


def validate_checkpoint(value, _) -> str | None:
    """Return what is wrong with the name of the checkpoint, or nothing."""
    if value is not None and value.value not in CHECKPOINTS:
        return f'`checkpoint` is {value.value!r}; it must be {" or ".join(CHECKPOINTS)}'
    return None


def validate_processes(value, _) -> str | None:
    """Return what is wrong with the number of processes, or nothing."""
    if value is not None and value.value < 1:
        return f'`processes` must be positive, not {value.value}'
    return None


def count_machines(inputs: dict) -> int:
    """Return how many machines a job gets."""
    return getattr(find_job_resource(inputs), 'num_machines', 1)


def find_machines_problem(inputs: dict) -> str | None:
    """Return why the training cannot run on several machines, or nothing."""
    n_machines = count_machines(inputs)
    if n_machines > 1 and inputs['code'].computer.scheduler_type != 'core.slurm':
        computer = inputs['code'].computer
        return (
            f'`metadata.options.resources` asks for {n_machines} machines, but training on several machines needs '
            f'SLURM, and {computer.label} has {computer.scheduler_type}; set `num_machines` to 1'
        )
    return None


def find_parent_problem(inputs: dict) -> str | None:
    """Return why the model to fine-tune does not fit the dataset, or nothing; bases are compared by the job."""
    model, dataset = inputs.get('parent_model'), inputs['dataset']
    if model is None:
        return None
    known, found = model.base.attributes.get('functional'), dataset.base.attributes.get('functional')
    if known != found:
        return f'`parent_model` was trained on {known or "an unknown functional"}, but the dataset has {found}'
    return None


class TrainCalculation(HamlrCalculation):
    """Train a network on the Hamiltonians of a dataset."""

    _COMMAND = 'train'
    _CONFIG_FILENAME = 'train.yaml'
    _REMOTE_FOLDERS = ('parent_folder',)
    _ON_EACH_MACHINE = True
    _OUTPUT_SUBFOLDER = 'run'
    _PARENT_SUBFOLDER = 'parent'
    #: A training stops by itself after this fraction of its wall-time, before the scheduler ends it.
    _WALLTIME_FRACTION = 0.95

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input(
            'dataset',
            valid_type=DatasetData,
            help='Hamiltonians for training, validation and test.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=validate_parameters,
            help='The sections `model` and `training` of the configuration of `hamlr train`.',
        )
        spec.input('seed', valid_type=orm.Int, default=lambda: orm.Int(0), help='Seed of all random numbers.')
        spec.input(
            'processes',
            valid_type=orm.Int,
            required=False,
            validator=validate_processes,
            help='Number of processes on each machine that train together on separate batches, one for each GPU of the '
            'job; one if not given.',
        )
        spec.input(
            'parent_model',
            valid_type=ModelData,
            required=False,
            help='Model to fine-tune: training starts with its weights and keeps its network; the dataset may add '
            'elements. `parameters.training.freeze` names parts that keep their weights.',
        )
        spec.input(
            'parent_folder',
            valid_type=orm.RemoteData,
            required=False,
            help='Remote folder of a training that stopped, to resume from its checkpoint.',
        )
        spec.input(
            'checkpoint',
            valid_type=orm.Str,
            required=False,
            validator=validate_checkpoint,
            help='Checkpoint of `parent_folder` to resume from: `last` (default), or `best`, the one with the lowest '
            'validation error.',
        )
        spec.output('model', valid_type=ModelData, required=False, help='Model with the lowest validation error.')
        spec.output(
            'learning_curve',
            valid_type=orm.ArrayData,
            required=False,
            help='One array for each column that the training logged.',
        )
        spec.exit_code(
            340,
            'ERROR_NO_CHECKPOINT',
            message='The job reached its wall-time before it wrote a checkpoint: {reason}. Increase '
            '`max_wallclock_seconds`.',
        )

    @classmethod
    def validate_inputs(cls, inputs, namespace) -> str | None:
        """Return why the inputs do not fit together, or nothing."""
        problem = super().validate_inputs(inputs, namespace) or find_machines_problem(inputs)
        if problem is not None or 'dataset' not in inputs:
            return problem
        problem = find_remote_data_problem(inputs['dataset'].get_remote(), inputs.get('code'))
        return problem or find_parent_problem(inputs)

    @classmethod
    def is_valid_cache(cls, node) -> bool:
        """Return whether a job may be reused for another one; one that stopped early needs its checkpoint for that."""
        return super().is_valid_cache(node) and (node.is_finished_ok or is_valid_remote_cache(node))

    def prepare_for_submission(self, folder):
        """Write the configuration; the files of the Hamiltonians are copied from their nodes."""
        dataset, output = self.inputs.dataset, self._OUTPUT_SUBFOLDER
        parameters = self.inputs.parameters.get_dict()
        training = {**parameters.get('training', {}), 'seed': self.inputs.seed.value}
        walltime = self.inputs.metadata.options.get('max_wallclock_seconds')
        if walltime is not None:
            training['walltime'] = int(self._WALLTIME_FRACTION * walltime)
        data = {}
        calc_info = self.get_calc_info([self._get_command()])
        if self._n_machines > 1:
            calc_info.prepend_text = _RENDEZVOUS
        for part in SPLITS:
            nodes = dataset.get_hamiltonians(part)
            if not nodes:
                continue
            width = len(str(len(nodes) - 1))
            for index, node in enumerate(nodes):
                name = f'{part}/{index:0{width}d}.h5'
                if node.is_remote:
                    path = node.base.attributes.get('remote_path')
                    calc_info.remote_symlink_list.append((node.computer.uuid, path, name))
                    continue
                calc_info.local_copy_list.append((node.uuid, HamiltonianData.FILENAME, name))
                calc_info.provenance_exclude_list.append(name)
            data[part] = [f'{part}/*.h5']
            folder.get_subfolder(part, create=True)
        config = {'data': data, 'model': parameters.get('model', {}), 'training': training, 'output': f'{output}/'}
        if 'parent_model' in self.inputs:
            config['parent'] = self._PARENT_SUBFOLDER
            calc_info.local_copy_list.append((self.inputs.parent_model.uuid, '.', self._PARENT_SUBFOLDER))
        self.write_config(folder, config)
        if 'parent_folder' in self.inputs:
            parent = self.inputs.parent_folder
            # Copies, because the training continues to write to them.
            copies = {'checkpoints': 'checkpoints', 'metrics.csv': 'metrics.csv'}
            folder.get_subfolder(output, create=True)
            if 'checkpoint' in self.inputs and self.inputs.checkpoint.value == 'best':
                best = f'checkpoints/{CHECKPOINTS["best"]}'
                copies = {f'checkpoints/{CHECKPOINTS["last"]}': best, best: best, 'metrics.csv': 'metrics.csv'}
                folder.get_subfolder(f'{output}/checkpoints', create=True)
            calc_info.remote_copy_list = [
                (parent.computer.uuid, f'{parent.get_remote_path()}/{output}/{source}', f'{output}/{target}')
                for target, source in copies.items()
            ]
        calc_info.retrieve_list += [(f'{output}/{name}', '.', 1) for name in (self._SUMMARY_FILENAME, 'metrics.csv')]
        calc_info.retrieve_temporary_list = [(f'{output}/model', '.', 1)]
        return calc_info

    def _get_command(self) -> list[str]:
        """Return the arguments of the executable."""
        command = [self._COMMAND, self._CONFIG_FILENAME]
        if 'processes' in self.inputs:
            command += ['--processes', str(self.inputs.processes.value)]
        return command if self._n_machines == 1 else [*command, '--machines', str(self._n_machines)]

    @property
    def _n_machines(self) -> int:
        return count_machines(self.inputs)
