"""Settings in sections, which also read the flat keys of earlier versions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    from typing_extensions import Self


class Section(BaseModel):
    """Base of all settings: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)


class Sectioned(Section):
    """Settings with sections, of which earlier versions had all keys on one level.

    Subclasses name themselves in ``NAME``, as in configuration files, and give in ``RENAMED`` the flat names of those
    keys whose names changed: ``{(section, key): flat name}``.
    """

    NAME: ClassVar[str]
    RENAMED: ClassVar[Mapping[tuple[str, str], str]] = {}

    @classmethod
    def _places(cls) -> dict[str, tuple[str, str]]:
        """Section and key by flat name."""
        return {
            cls.RENAMED.get((section, key), key): (section, key)
            for section, kind in cls._sections().items()
            for key in kind.model_fields
        }

    @classmethod
    def _sections(cls) -> dict[str, type[Section]]:
        """Classes of the sections by their names."""
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}

    @classmethod
    def nest(cls, values: Mapping[str, Any], warn: bool = True) -> dict[str, Any]:
        """Return a copy of settings with flat keys moved to their sections.

        Parameters
        ----------
        values : mapping
            Keys of this class, flat keys, or both; other keys are left to the validation.
        warn : bool
            Whether to warn of flat keys; stored files have them by design.

        Raises
        ------
        ValueError
            If a key is given in both places.

        Warns
        -----
        UserWarning
            If there are flat keys: one warning that names all of them and their places.
        """
        places = cls._places()
        flat, result = {}, {}
        for key, value in values.items():
            # The names of some sections were keys before.
            is_section = key in cls.model_fields and (value is None or isinstance(value, (Mapping, Section)))
            if key in places and not is_section:
                flat[key] = value
            elif value is not None or key not in cls._sections():
                result[key] = _content(value)
        for key, value in flat.items():
            section, name = places[key]
            inside = result.setdefault(section, {})
            if not isinstance(inside, dict):
                continue  # No section, which the validation says.
            if name in inside:
                raise ValueError(f'{key} is also given as {section}.{name}; keep the latter')
            inside[name] = value
        if flat and warn:
            moved = ', '.join(f'{key} is now {".".join(places[key])}' for key in flat)
            warnings.warn(f'{cls.NAME}: {moved}; the old keys are still read', stacklevel=2)
        return result

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings of a stored file, whose keys are flat; the inverse of :meth:`flat`."""
        return cls.model_validate(cls.nest(values, warn=False))

    def flat(self) -> dict[str, Any]:
        """Return all settings by their flat names: the form in which every version stores them."""
        result = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Section):
                result |= {self.RENAMED.get((name, key), key): one for key, one in value.model_dump().items()}
            else:
                result[name] = value
        return result

    @model_validator(mode='before')
    @classmethod
    def _read_flat_keys(cls, values):
        return cls.nest(values) if isinstance(values, Mapping) else values


def _content(value):
    """A section as a dictionary of its own, other values as they are."""
    if isinstance(value, Section):
        return value.model_dump(exclude_unset=True)
    return dict(value) if isinstance(value, Mapping) else value
