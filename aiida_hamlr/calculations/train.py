"""`hamlr train`: a network from a dataset."""

from __future__ import annotations

from aiida import orm
from pydantic import ValidationError

from aiida_hamlr.calculations.base import HamlrCalculation, is_valid_remote_cache
from aiida_hamlr.calculations.storage import find_remote_data_problem
from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.jobs.config import Config, describe
from aiida_hamlr.model.config import ModelConfig, TrainingConfig

__all__ = ('TrainCalculation',)

#: Keys of the configuration that belong to the job, not to the user.
BLOCKED = {'data': None, 'output': None, 'training': ('seed', 'walltime', 'resume')}


class _Parameters(Config):
    """What of the configuration the user gives."""

    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


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


class TrainCalculation(HamlrCalculation):
    """Train a network on the Hamiltonians of a dataset."""

    _COMMAND = 'train'
    _CONFIG_FILENAME = 'train.yaml'
    _REMOTE_FOLDERS = ('parent_folder',)
    _OUTPUT_SUBFOLDER = 'run'
    #: A training stops by itself this fraction of its wall-time before the scheduler would end it.
    _WALLTIME_FRACTION = 0.95

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('dataset', valid_type=DatasetData, help='The Hamiltonians and how they are split.')
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=validate_parameters,
            help='The sections `model` and `training` of the configuration of `hamlr train`.',
        )
        spec.input('seed', valid_type=orm.Int, default=lambda: orm.Int(0), help='Seed of all random numbers.')
        spec.input(
            'parent_folder',
            valid_type=orm.RemoteData,
            required=False,
            help='Remote folder of a training that stopped: go on from its last checkpoint.',
        )
        spec.output('model', valid_type=ModelData, required=False, help='The best model that the training found.')
        spec.output(
            'learning_curve',
            valid_type=orm.ArrayData,
            required=False,
            help='One array for each column that the training logged.',
        )
        spec.exit_code(
            340,
            'ERROR_NO_CHECKPOINT',
            message='The allotted time is over and there is no checkpoint to go on from: {reason}. Raise '
            '`max_wallclock_seconds`.',
        )

    @classmethod
    def validate_inputs(cls, inputs, namespace) -> str | None:
        """Return why the inputs do not fit together, or nothing."""
        problem = super().validate_inputs(inputs, namespace)
        if problem is not None or 'dataset' not in inputs:
            return problem
        return find_remote_data_problem(inputs['dataset'].get_remote(), inputs.get('code'))

    @classmethod
    def is_valid_cache(cls, node) -> bool:
        """Return whether a job may stand in for one with the same inputs: if it stopped early, with its checkpoint."""
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
        calc_info = self.get_calc_info([[self._COMMAND, self._CONFIG_FILENAME]])
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
        self.write_config(
            folder, {'data': data, 'model': parameters.get('model', {}), 'training': training, 'output': f'{output}/'}
        )
        if 'parent_folder' in self.inputs:
            parent = self.inputs.parent_folder
            # Copies, for the training goes on writing to them.
            calc_info.remote_copy_list = [
                (parent.computer.uuid, f'{parent.get_remote_path()}/{output}/{name}', f'{output}/{name}')
                for name in ('checkpoints', 'metrics.csv')
            ]
            folder.get_subfolder(output, create=True)
        calc_info.retrieve_list += [(f'{output}/{name}', '.', 1) for name in (self._SUMMARY_FILENAME, 'metrics.csv')]
        calc_info.retrieve_temporary_list = [(f'{output}/model', '.', 1)]
        return calc_info
