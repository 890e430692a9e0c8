"""A trained network as a node."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

from aiida.common.exceptions import ValidationError
from aiida.orm import Data
from aiida.orm.pydantic import OrmMetadataField

from aiida_hamlr.electronic.orbitals.basis import joint_hash
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.folder import (
    DESCRIPTION,
    WEIGHTS,
    basis_name,
    check_folder,
    parse_description,
    pseudo_names,
    read_description,
)

__all__ = ('ModelData',)


class ModelData(Data):
    """A model folder with weights, hyperparameters, basis and pseudopotentials: all that a prediction needs."""

    class AttributesModel(Data.AttributesModel):
        """Attributes to query for."""

        species: list[str] = OrmMetadataField(
            default_factory=list, description='Labels of the species that the model knows'
        )
        variant: str = OrmMetadataField('', description='Channels of the network: sr, ea, lr or lr+ea')
        functional: str = OrmMetadataField('', description='Exchange-correlation functional of the training data')
        basis_hash: str = OrmMetadataField('', description='Sha256 of the orbitals, as in the basis node')
        n_parameters: int = OrmMetadataField(0, description='Number of parameters of the network')
        hyperparameters: dict = OrmMetadataField(default_factory=dict, description='Configuration of the network')
        metrics: dict = OrmMetadataField(default_factory=dict, description='Errors at the end of the training')
        code_version: str = OrmMetadataField('', description='Version of aiida-hamlr that trained the model')
        size: int = OrmMetadataField(0, description='Size of the weights in bytes')

    @classmethod
    def from_folder(cls, path: str | Path, **kwargs) -> ModelData:
        """Return a new node with a model folder.

        :raises ValueError: if the folder is not a model folder, or a file in it is damaged.
        """
        path = Path(path).absolute()
        for name in (WEIGHTS, DESCRIPTION):
            if not (path / name).is_file():
                raise ValueError(f'{path}: not a model folder, because it has no {name}')
        description = _check(path)
        node = cls(**kwargs)
        # What else is in the folder is not part of the model.
        names = [*map(basis_name, description['species']), *pseudo_names(description, path).values()]
        for name in (WEIGHTS, DESCRIPTION, *names):
            node.base.repository.put_object_from_file(str(path / name), name)
        node.base.attributes.set_many(
            {**cls._describe(description), 'size': (path / WEIGHTS).stat().st_size},
        )
        return node

    @contextlib.contextmanager
    def as_folder(self) -> Iterator[Path]:
        """Yield a copy of the model folder in a temporary directory."""
        with self.base.repository.as_path() as path:
            yield path

    def get_description(self) -> dict:
        """Return the content of the model's description file."""
        return parse_description(self.base.repository.get_object_content(DESCRIPTION), DESCRIPTION)

    @property
    def species(self) -> list[str]:
        """Return the labels of the species that the model knows; chemical symbols unless an element has several."""
        return self.base.attributes.get('species')

    @property
    def settings(self) -> dict:
        """Return the settings of the network by their names in ``train.yaml``, as ``short_range.layers``."""
        settings = {}
        nested = ModelConfig.nest(self.base.attributes.get('hyperparameters', {}), warn=False)
        for key, value in nested.items():
            if isinstance(value, dict):
                settings |= {f'{key}.{name}': one for name, one in value.items()}
            else:
                settings[key] = value
        return settings

    @staticmethod
    def _describe(description: dict) -> dict:
        try:
            config, hashes = description['architecture']['config'], description['basis_hash']
            return {
                'species': sorted(description['species']),
                'variant': config['variant'],
                'functional': description.get('functional') or '',
                'basis_hash': joint_hash(hashes),
                'n_parameters': int(description['n_parameters']),
                'hyperparameters': config,
                'metrics': _scalars(description.get('metrics', {})),
                'code_version': description.get('created_by', ''),
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f'{DESCRIPTION}: incomplete description of a model: {error}') from error

    def _validate(self):
        super()._validate()
        names = self.base.repository.list_object_names()
        for name in (WEIGHTS, DESCRIPTION):
            if name not in names:
                raise ValidationError(f'the model folder has no {name}')
        try:
            with self.as_folder() as folder:
                found = self._describe(check_folder(folder))
        except ValueError as error:
            raise ValidationError(str(error)) from error
        for key in ('species', 'basis_hash', 'functional'):
            if self.base.attributes.get(key, None) != found[key]:
                raise ValidationError(f'attribute {key} differs from {DESCRIPTION}')
        return True


def _check(folder: Path) -> dict:
    """Check a model folder; return its description."""
    if read_description(folder)['version'] > 1:
        return check_folder(folder)
    # Without sums of the files only loading tells. Imported here for it brings torch.
    from aiida_hamlr.model.files import read_model

    return read_model(folder)[1]


def _scalars(metrics: dict) -> dict:
    """Return the entries that a database can store: text and finite numbers."""
    return {
        key: value
        for key, value in metrics.items()
        if isinstance(value, int | float | str) and (not isinstance(value, float) or math.isfinite(value))
    }
