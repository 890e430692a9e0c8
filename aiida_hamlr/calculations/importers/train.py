"""Inputs of a training that ran outside AiiDA."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path, PurePosixPath

import yaml
from aiida import orm
from aiida.engine import CalcJobImporter

from aiida_hamlr.calculations.train import BLOCKED, TrainCalculation
from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('TrainCalculationImporter',)


class TrainCalculationImporter(CalcJobImporter):
    """Reads the inputs of `hamlr train` from its folder: ``train.yaml`` and, beside it, the output ``run/``."""

    @staticmethod
    def parse_remote_data(remote_data: orm.RemoteData, **kwargs) -> dict:
        """Return the inputs of the training.

        :param remote_data: the folder.
        :param kwargs: ``dataset``, the node of the Hamiltonians that it learned from.
        :raises ValueError: if the folder is not one of `hamlr train`, or the dataset is not the one of the training.
        """
        dataset = kwargs.get('dataset')
        if not isinstance(dataset, DatasetData):
            raise ValueError('give the `dataset` that the model was trained on; `create_dataset` makes one')
        output = TrainCalculation._OUTPUT_SUBFOLDER
        config = _read(remote_data, TrainCalculation._CONFIG_FILENAME, yaml.safe_load)
        if PurePosixPath(str(config.get('output', output))).name != output:
            raise ValueError(f'{TrainCalculation._CONFIG_FILENAME}: `output` must be {output}/, not {config["output"]}')
        _check_dataset(dataset, _read(remote_data, f'{output}/model/model.json', json.loads))
        training = dict(config.get('training') or {})
        seed = training.get('seed', 0)
        for key in BLOCKED['training']:
            training.pop(key, None)
        return {
            'dataset': dataset,
            'parameters': orm.Dict({'model': dict(config.get('model') or {}), 'training': training}),
            'seed': orm.Int(seed),
        }


def _read(remote_data: orm.RemoteData, name: str, load) -> dict:
    """Return the content of a file in the folder."""
    path = PurePosixPath(remote_data.get_remote_path()) / name
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            with remote_data.get_authinfo().get_transport() as transport:
                transport.getfile(str(path), str(copy))
            content = load(copy.read_text(encoding='utf-8'))
        except OSError as error:
            raise ValueError(f'{path}: cannot be read; give the folder in which `hamlr train` ran') from error
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f'{path}: damaged, or of something else') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path}: damaged, or of something else')
    return content


def _check_dataset(dataset: DatasetData, description: dict):
    """Check that a model learned from a dataset."""
    from aiida_hamlr.model.data import Reference, joint_hash

    for part in SPLITS:
        n_there, n_learned = len(dataset.get_uuids(part)), len(description.get('split', {}).get(part, ()))
        if n_there != n_learned:
            raise ValueError(f'the dataset has {n_there} Hamiltonians in {part}, the training had {n_learned}')
    hashes = []
    for part in SPLITS:
        for node in dataset.get_hamiltonians(part):
            with node.base.repository.as_path(HamiltonianData.FILENAME) as path:
                hashes.append(Reference.read(path).content_hash)
    if joint_hash(hashes) != description.get('data_hash'):
        raise ValueError('the Hamiltonians of the dataset are not those that the model was trained on')
