"""The model folder: its files, what ``model.json`` says, and whether all is as it was written; without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError, safe_open

from aiida_hamlr.electronic.files import file_sha256
from aiida_hamlr.electronic.orbitals.basis import LARGEST_ANGULAR_MOMENTUM, MOST_SHELLS
from aiida_hamlr.electronic.reading import check_regular, parse_json, read_text, shortened
from aiida_hamlr.electronic.species import normalise_label
from aiida_hamlr.model.config import LONGEST_CUTOFF, ModelConfig

FORMAT = 'hamlr-model'

#: From version 2 on, ``model.json`` holds its own sha256 and those of all other files.
VERSION = 2

DESCRIPTION, WEIGHTS = 'model.json', 'model.safetensors'

#: Largest files that are read: beyond this something is wrong, bytes.
LARGEST_DESCRIPTION, LARGEST_TEXT = 50_000_000, 100_000_000
LARGEST_WEIGHTS = 4_000_000_000

Shells = Annotated[
    list[Annotated[int, Field(ge=0, le=LARGEST_ANGULAR_MOMENTUM)]], Field(min_length=1, max_length=MOST_SHELLS)
]


class Architecture(BaseModel):
    """All that rebuilds the network without its weights; lengths in Å."""

    model_config = ConfigDict(frozen=True, strict=True)

    config: ModelConfig
    #: Angular momenta of the shells of every species.
    shells: dict[str, Shells] = Field(min_length=1)
    pair_cutoff: float = Field(gt=0.0, le=LONGEST_CUTOFF)
    n_neighbours: float = Field(ge=1.0, le=1e5)
    precision: Literal['float32', 'float64']
    irreps: str = ''

    @field_validator('config', mode='before')
    @classmethod
    def _with_old_defaults(cls, value):
        # Models without the entry are older than it.
        older = {'neutrality': 'cell', 'h0_features': False}
        return ModelConfig.nest({**older, **value}, warn=False) if isinstance(value, dict) else value

    @field_validator('shells')
    @classmethod
    def _of_species(cls, value):
        # Files are named by the labels.
        for label in value:
            if normalise_label(label) != label:
                raise ValueError(f'species label {label!r}: write {normalise_label(label)}')
        return value


def basis_name(label: str) -> str:
    """Name of the file with the orbitals of a species, relative to the folder."""
    return f'basis/{label}.basis.h5'


def pseudo_name(label: str) -> str:
    """Name of the pseudopotential of a species, relative to the folder."""
    return f'pseudos/{label}.upf'


def seal(description: dict, folder: Path, names) -> dict:
    """A description with size and sha256 of files in a folder, and with its own sha256."""
    files = {name: {'size': (folder / name).stat().st_size, 'sha256': file_sha256(folder / name)} for name in names}
    sealed = {**description, 'files': files}
    return {**sealed, 'sha256': _digest(sealed)}


def read_description(folder: str | Path) -> dict:
    """Read ``model.json``.

    Raises
    ------
    ValueError
        If it is missing, foreign, damaged or of a newer version.
    """
    path = Path(folder) / DESCRIPTION
    if not path.exists():
        raise ValueError(f'{path}: no such file; give the folder that `hamlr train` wrote as model/')
    return parse_description(read_text(path, LARGEST_DESCRIPTION), str(path))


def parse_description(text: str, name: str) -> dict:
    """The content of a ``model.json``; ``name`` is that of the file.

    Raises
    ------
    ValueError
        If it is foreign, damaged, of a newer version, or its sizes are impossible.
    """
    description = parse_json(text, name)
    if not isinstance(description, dict) or description.get('format') != FORMAT:
        raise ValueError(f'{name}: not a {FORMAT} file')
    version = description.get('version')
    if type(version) is not int or version < 1:
        raise ValueError(f'{name}: {FORMAT} version {shortened(version)} does not exist')
    if version > VERSION:
        raise ValueError(
            f'{name}: {FORMAT} version {version} is newer than version {VERSION}, the newest that this program reads; '
            'update aiida-hamlr'
        )
    if version == 1 and {'files', 'sha256'} & set(description):
        raise ValueError(f'{name}: says that it is of version 1, but has sha256 sums, which came later; it is damaged')
    if version > 1 and description.get('sha256') != _digest(description):
        raise ValueError(f'{name}: does not have its recorded sha256; it is damaged, or was edited by hand')
    _check_entries(description, name)
    return description


def architecture_of(description: Mapping, name: str = DESCRIPTION) -> Architecture:
    """The network that a description tells of.

    Raises
    ------
    ValueError
        If an entry is missing or out of bounds.
    """
    try:
        return Architecture.model_validate(description.get('architecture'))
    except ValidationError as error:
        first = error.errors()[0]
        where = '.'.join(map(str, ('architecture', *first['loc'])))
        raise ValueError(f'{name}: {where}: {first["msg"]}, found {shortened(first["input"])}') from error


def check_folder(folder: str | Path) -> dict:
    """Check all files of a model folder without loading them; return the description.

    Raises
    ------
    ValueError
        If a file is missing, is not that which was written, or is not of its kind; the message names it.
    """
    folder = Path(folder)
    description = read_description(folder)
    names = [WEIGHTS, *map(basis_name, description['species'])]
    for name in names:
        check_regular(folder / name)
    if (folder / WEIGHTS).stat().st_size > LARGEST_WEIGHTS:
        raise ValueError(f'{folder / WEIGHTS}: too large for weights')
    if description['version'] > 1:
        _check_files(folder, description['files'], names)
    shapes = read_shapes(folder / WEIGHTS)
    found = sum(prod(shape) for _, shape in shapes.values())
    if found < description['n_parameters']:
        raise ValueError(
            f'{folder / WEIGHTS}: holds {found} numbers, but {DESCRIPTION} says that the network has '
            f'{description["n_parameters"]} parameters'
        )
    return description


def read_shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of all weights, from the header of their file.

    Raises
    ------
    ValueError
        If the file is not a safetensors file, or truncated.
    """
    try:
        with safe_open(path, 'numpy') as handle:
            slices = {name: handle.get_slice(name) for name in handle.keys()}
            return {name: (entry.get_dtype(), tuple(entry.get_shape())) for name, entry in slices.items()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f'{path}: not a safetensors file, or truncated') from error


def pseudo_names(description: Mapping, folder: Path) -> dict[str, str]:
    """Names of the pseudopotentials that a folder has, by element; models need none for H0 that is given."""
    names = {element: pseudo_name(element) for element in description['species']}
    if description['version'] > 1:
        return {element: name for element, name in names.items() if name in description['files']}
    return {element: name for element, name in names.items() if (folder / name).exists()}


def _check_entries(description: dict, name: str):
    """Raise ``ValueError`` unless all entries that loading needs are there and of their kind."""
    architecture = architecture_of(description, name)
    species, hashes = description.get('species'), description.get('basis_hash')
    if species != list(architecture.shells):
        raise ValueError(f'{name}: species {shortened(species)} are not those of the shells')
    if not isinstance(hashes, dict) or set(hashes) != set(species) or not all(map(_is_sha256, hashes.values())):
        raise ValueError(f'{name}: basis_hash does not hold a sha256 for each of {", ".join(species)}')
    count = description.get('n_parameters')
    if type(count) is not int or count < 1:
        raise ValueError(f'{name}: n_parameters is {shortened(count)}')
    cutoff = description.get('ecutrho_Ry')
    if cutoff is not None and not (isinstance(cutoff, int | float) and 0.0 < cutoff <= 10_000.0):
        raise ValueError(f'{name}: ecutrho_Ry is {shortened(cutoff)}')
    for key, kind in (('metrics', dict), ('created_by', str), ('functional', str)):
        if not isinstance(description.get(key), kind | None):
            raise ValueError(f'{name}: {key} is {shortened(description[key])}')


def _check_files(folder: Path, files, needed):
    """Compare files with the sizes and sums that the description records."""
    missing = [name for name in needed if name not in files]
    if missing:
        raise ValueError(f'{folder / DESCRIPTION}: has no sha256 of {missing[0]}')
    for name, entry in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f'{folder / DESCRIPTION}: names {shortened(name)}, which is not in the folder')
        check_regular(path)
        if path.stat().st_size != entry['size'] or file_sha256(path) != entry['sha256']:
            raise ValueError(f'{path}: does not have its recorded sha256; it is damaged, or not of this model')


def _digest(description: dict) -> str:
    """sha256 of a description, its own left out; the same before writing and after reading."""
    content = {key: value for key, value in description.items() if key != 'sha256'}
    return hashlib.sha256(json.dumps(json.loads(json.dumps(content)), sort_keys=True).encode()).hexdigest()


def _is_sha256(value) -> bool:
    return isinstance(value, str) and len(value) == 64 and not value.strip('0123456789abcdef')
