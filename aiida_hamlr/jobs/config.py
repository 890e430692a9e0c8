"""Reading configuration files: YAML, checked against a pydantic model, errors in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo

from aiida_hamlr.electronic.reading import check_regular, shortened
from aiida_hamlr.jobs.yaml_files import read_yaml

#: Longest message, in characters.
_LONGEST_MESSAGE = 600

Model = TypeVar('Model', bound=BaseModel)


class Config(BaseModel):
    """Base of all configurations: unknown keys are errors."""

    model_config = ConfigDict(extra='forbid', frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)


def beside_config(path: Path, info: ValidationInfo) -> Path:
    """A path relative to the folder in the validation context, that of the configuration file."""
    folder = (info.context or {}).get('folder', Path())
    return folder / expanded(path)


def expanded(path: str | Path) -> Path:
    """A path with ``~`` and ``~user`` replaced.

    Raises
    ------
    ValueError
        If there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f'{path}: no such home folder') from error


def existing(path: Path) -> Path:
    """Raise ``ValueError`` unless the path is a regular file or a folder."""
    if not path.is_dir():
        check_regular(path)
    return path


#: A path relative to the configuration file.
ConfigPath = Annotated[Path, AfterValidator(beside_config)]

#: The same, of something that must exist.
InputPath = Annotated[Path, AfterValidator(beside_config), AfterValidator(existing)]


def load_config(path: str | Path, model: type[Model]) -> Model:
    """Read and check a configuration file.

    Parameters
    ----------
    path : path
        YAML; relative paths in it are relative to its folder.
    model : type
        Subclass of `Config`.

    Raises
    ------
    ValueError
        If the file cannot be read, is not YAML or does not fit the model; one line that names file and key.
    """
    path = Path(path)
    content = read_yaml(path)
    return validate(model, content, str(path), path.parent)


def validate(model: type[Model], content: dict, source: str, folder: Path = Path()) -> Model:
    """Check the content of a configuration.

    Parameters
    ----------
    model : type
        Subclass of `Config`.
    content : dict
        What the YAML file says.
    source : str
        What errors call the configuration.
    folder : path
        What relative paths are relative to.

    Raises
    ------
    ValueError
        If the content does not fit the model; one line that names source and key.
    """
    try:
        return model.model_validate(content, context={'folder': folder})
    except ValidationError as error:
        # A misspelt key is also a missing one: the unknown name says more.
        first, *others = sorted(error.errors(), key=lambda entry: entry['type'] != 'extra_forbidden')
        more = f' (and {len(others)} more)' if others else ''
        raise ValueError(f'{source}: {shortened(describe(first, model), _LONGEST_MESSAGE)}{more}') from error


def describe(error: dict[str, Any], model: type[BaseModel]) -> str:
    """One line for one entry of pydantic's ``ValidationError.errors()``."""
    location = [part for part in error['loc'] if not _is_union_tag(part)]
    *parents, key = location or ['configuration']
    where = f' in {".".join(map(str, parents))}' if parents else ''
    if error['type'] == 'extra_forbidden':
        nested = _nested_keys_at(model, parents)
        return describe_unknown_key(key, '.'.join(map(str, parents)), _keys_at(model, parents), nested)
    if error['type'] == 'missing':
        return f'key {str(key)!r}{where} is missing'
    if error['type'] == 'value_error':
        return f'{".".join(map(str, location))}: {error["ctx"]["error"]}'
    return f'{".".join(map(str, location))}: {error["msg"].lower()}, found {shortened(repr(error["input"]))}'


def describe_unknown_key(key, where: str, known: Iterable[str], nested: Mapping[str, str] | None = None) -> str:
    """One line for a key that is none of the known ones: it names the nearest of them.

    ``nested`` are the keys of sections, with the place of each: ``{'layers': 'short_range.layers'}``.
    """
    known, nested = sorted(known), nested or {}
    close = difflib.get_close_matches(str(key), [*known, *nested], n=1, cutoff=0.55)
    hint = f'did you mean {nested.get(close[0], close[0])!r}? ' if close else ''
    place = f' in {where}' if where else ''
    return f'unknown key {shortened(key)!r}{place}; {hint}known keys: {", ".join(known)}'


def _is_union_tag(part) -> bool:
    """Whether pydantic added this part of a location to say which member of a union it tried."""
    return isinstance(part, str) and (part.startswith(('function-', 'lax-or-strict', 'is-instance')) or '[' in part)


def _keys_at(model: type[BaseModel], location: list) -> set[str]:
    """Keys that the model allows at a place in the configuration."""
    current: Any = model
    for part in location:
        nested = _nested_model(current)
        if nested is not None and part in nested.model_fields:
            current = nested.model_fields[part].annotation
    nested = _nested_model(current)
    fields = nested.model_fields if nested is not None else {}
    # Excluded fields are filled by validators, not by the user.
    return {name for name, field in fields.items() if not field.exclude}


def _nested_keys_at(model: type[BaseModel], location: list) -> dict[str, str]:
    """Keys of the sections at a place in the configuration, with the section of each."""
    return {
        key: f'{section}.{key}'
        for section in _keys_at(model, location)
        for key in _keys_at(model, [*location, section]) - _keys_at(model, location)
    }


def _nested_model(annotation) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _nested_model(argument)
        if found is not None:
            return found
    return None
