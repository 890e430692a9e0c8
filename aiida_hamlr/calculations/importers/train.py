"""Importer of trainings that ran without AiiDA."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from aiida import orm
from aiida.engine import CalcJobImporter

from aiida_hamlr.calculations.importers.folder import open_folder
from aiida_hamlr.calculations.train import BLOCKED, TrainCalculation
from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import DESCRIPTION

__all__ = ('TrainCalculationImporter',)


class TrainCalculationImporter(CalcJobImporter):
    """Make the inputs of a training from the folder where `hamlr train` ran, with its output in ``run/``."""

    @staticmethod
    def parse_remote_data(
        remote_data: orm.RemoteData, config_filename: str = TrainCalculation._CONFIG_FILENAME, **kwargs
    ) -> dict[str, orm.Node | dict]:
        """Return the inputs from the configuration.

        :param remote_data: the folder where `hamlr train` ran.
        :param config_filename: name of the configuration file in that folder.
        :param kwargs: ``dataset``, the dataset of the training (required), and inputs that replace those found.
        :raises ValueError: if a file is missing, or the model was trained on another dataset.
        """
        dataset, output = kwargs.get('dataset'), TrainCalculation._OUTPUT_SUBFOLDER
        if not isinstance(dataset, DatasetData):
            raise ValueError(
                'give the `dataset` of the training; the calculation function `create_dataset` makes the node'
            )
        with open_folder(remote_data) as folder:
            config = folder.load_config(config_filename)
            if PurePosixPath(str(config.get('output', output))) != PurePosixPath(output):
                raise ValueError(
                    f'{folder.path / config_filename}: output is {config["output"]!r}; rename it to {output}/ in this '
                    'folder, and change the configuration'
                )
            _check_dataset(dataset, folder.fetch(f'{output}/model/{DESCRIPTION}').parent)
        training = dict(config.get('training') or {})
        seed = training.get('seed', 0)
        for key in BLOCKED['training']:
            training.pop(key, None)
        parameters = orm.Dict({'model': dict(config.get('model') or {}), 'training': training})
        return {'parameters': parameters, 'seed': orm.Int(seed)} | kwargs


def _check_dataset(dataset: DatasetData, model_folder: Path):
    """Check that a model was trained on a dataset."""
    # Imported here because they load torch.
    from aiida_hamlr.model.folder import read_description
    from aiida_hamlr.model.training.data_identity import hash_of_data
    from aiida_hamlr.model.training.references import Reference

    description = read_description(model_folder)
    for part in SPLITS:
        n_there, n_learned = len(dataset.get_uuids(part)), len(description.get('split', {}).get(part, ()))
        if n_there != n_learned:
            raise ValueError(f'the dataset has {n_there} Hamiltonians in {part}, the training had {n_learned}')
    hashes = []
    for part in SPLITS:
        for node in dataset.get_hamiltonians(part):
            path = model_folder / HamiltonianData.FILENAME
            node.export(path)
            hashes.append(Reference.read(path).content_hash)
    if hash_of_data(hashes) != description.get('data_hash'):
        raise ValueError(
            'the Hamiltonians of the dataset are not those that the model was trained on; give its own dataset'
        )
