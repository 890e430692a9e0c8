"""Whether Hamiltonian files can be learned together, and what they have in common."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiida_hamlr.electronic.distances import summarise_distances
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.model.training.references import Reference, Survey

#: Warn if k-point spacings differ by more than this factor.
SPACING_RATIO = 1.2


@dataclass(frozen=True)
class DataIdentity:
    """What all files of a training have in common, and in ``warnings`` what they should have, but have not."""

    basis: Basis
    pseudopotentials: dict[str, str]
    functional: str | None
    gauge: str | None
    ecutrho: float | None
    content_hash: str
    warnings: tuple[str, ...] = ()
    #: Of `summarise_distances`.
    distances: dict = field(default_factory=dict)

    @property
    def shells(self) -> dict[str, list[int]]:
        """Angular momenta of the shells of every element."""
        return {element: list(species.angular_momenta) for element, species in self.basis.items()}


def identify(references: Sequence[Reference | Survey]) -> DataIdentity:
    """Check that files can be learned together, and say what they have in common.

    Raises
    ------
    ValueError
        If bases, pseudopotentials, functionals or gauges differ; the message names two files.

    Warns
    -----
    UserWarning
        If the k spacings of the runs or their cutoffs differ, or files have the same content.
    """
    if not references:
        raise ValueError('no Hamiltonian files to train on')
    first = references[0]
    basis, texts, origin = {}, {}, {}
    for reference in references:
        for name in ('functional', 'gauge'):
            one, other = getattr(first.attributes, name), getattr(reference.attributes, name)
            if one != other:
                raise ValueError(f'{first.path} and {reference.path} differ in {name}: {one} and {other}')
        for element, species in reference.basis.items():
            if basis.setdefault(element, species).content_hash != species.content_hash:
                raise ValueError(f'{origin[element]} and {reference.path} have different bases for {element}')
            text = reference.pseudopotentials.get(element)
            if text is not None and texts.setdefault(element, text) != text:
                raise ValueError(f'{origin[element]} and {reference.path} have different pseudopotentials of {element}')
            origin.setdefault(element, reference.path)
    spacings = [reference.k_spacing() for reference in references]
    found = [_spread(references, 'k spacing (1/Å)', spacings, SPACING_RATIO)]
    for name in ('ecutrho', 'ecutwfc'):
        cutoffs = [getattr(reference.attributes, name) for reference in references]
        found.append(_spread(references, f'{name} (Ry)', cutoffs, 1.001))
    hashes = [reference.content_hash for reference in references]
    found.append(_repetition(references, hashes))
    found = tuple(text for text in found if text is not None)
    for text in found:
        warnings.warn(text, stacklevel=2)
    return DataIdentity(
        Basis(basis),
        texts,
        first.attributes.functional,
        first.attributes.gauge,
        first.attributes.ecutrho,
        hash_of_data(hashes),
        found,
        summarise_distances(reference.atoms for reference in references),
    )


def hash_of_data(hashes: Sequence[str]) -> str:
    """sha256 of files from those of their contents, in whatever order."""
    return hashlib.sha256(json.dumps(sorted(hashes)).encode()).hexdigest()


def _spread(references, what: str, values, ratio: float) -> str | None:
    known = [(value, reference.path) for value, reference in zip(values, references, strict=True) if value]
    if not known or max(known)[0] <= ratio * min(known)[0]:
        return None
    (low, low_path), (high, high_path) = min(known), max(known)
    return f'{what} differs between the training files: {low:.4g} in {low_path}, {high:.4g} in {high_path}'


def _repetition(references, hashes: Sequence[str]) -> str | None:
    first: dict[str, str] = {}
    repeated = [
        (first[content], reference.path)
        for content, reference in zip(hashes, references, strict=True)
        if first.setdefault(content, reference.path) != reference.path
    ]
    if not repeated:
        return None
    (one, other), more = repeated[0], len(repeated) - 1
    return f'{one} and {other} have the same content' + (f' (and {more} more such pairs)' if more else '')
