"""Attributes of our HDF5 files: typed fields in Python, plain JSON in the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

#: What JSON may hold for a field, by the first word of its annotation.
_KINDS = {'str': str, 'float': (int, float), 'int': int, 'list': list, 'dict': dict}


def stored_as(key: str):
    """Field of `StoredAttributes` that the file calls ``key``, the name with its unit; None if it is not known."""
    return field(default=None, metadata={'key': key})


@dataclass(slots=True, kw_only=True)
class StoredAttributes:
    """Base of the attributes of a file.

    In Python a quantity has its plain name, and the docstring gives its unit; the key in the file ends with the unit.
    Reading and writing are exact inverses: keys that this version does not know are kept in ``other``, and the order
    of the keys is kept, since the digest of a file covers both.

    Parameters
    ----------
    other : dict
        Plain JSON values under keys that are no fields.
    """

    other: dict[str, Any] = field(default_factory=dict)
    #: Keys of the file that was read, in their order.
    _keys: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def _fields(cls) -> dict[str, dataclasses.Field]:
        """Fields by their keys in the file."""
        own = {known.name for known in dataclasses.fields(StoredAttributes)}
        return {
            known.metadata.get('key', known.name): known for known in dataclasses.fields(cls) if known.name not in own
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Attributes from the JSON object of a file.

        Raises
        ------
        ValueError
            If it is no object, or a value does not have the type of its field.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f'the attributes are no JSON object: {content!r:.80}')
        known = cls._fields()
        values = {}
        for key, value in content.items():
            if key not in known:
                continue
            kind = str(known[key].type).split(maxsplit=1)[0].split('[')[0]
            if value is not None and (not isinstance(value, _KINDS[kind]) or isinstance(value, bool)):
                raise ValueError(f'attribute {key} is {value!r:.80}; expected {kind}')
            values[known[key].name] = value
        other = {key: value for key, value in content.items() if key not in known}
        return cls(**values, other=other, _keys=tuple(content))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values by their keys in the file; None only for keys that the file had."""
        values = {key: getattr(self, known.name) for key, known in self._fields().items()}
        written = {key: value for key, value in values.items() if value is not None or key in self._keys}
        written |= self.other
        return {key: written[key] for key in sorted(written, key=self._position)}

    def _position(self, key: str) -> int:
        return self._keys.index(key) if key in self._keys else len(self._keys)
