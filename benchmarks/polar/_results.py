"""Errors of the networks of a study, in a file that several calls fill."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from _measure import mean_errors


@dataclass
class Results:
    """Errors and predictions by variant, kept from call to call as long as references and steps are the same.

    Parameters
    ----------
    path : path
        JSON file.
    common : mapping
        What all entries have in common, JSON values.
    errors : dict
        By variant, seed and label.
    predictions : dict
        UUIDs of the predicted Hamiltonians of the first seed, by variant and label.
    """

    path: Path
    common: Mapping
    errors: dict = field(default_factory=dict)
    predictions: dict = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, common: Mapping) -> Results:
        """Results of earlier calls with the same ``common``, or none."""
        found = json.loads(path.read_text()) if path.exists() else {}
        if found.pop('common', None) != dict(common):
            found = {}
        return cls(path, common, **found)

    def add(self, variant: str, seed: int, errors: Mapping[str, Mapping], predictions: Mapping[str, str]):
        """Enter one network and write the file."""
        self.errors.setdefault(variant, {})[str(seed)] = dict(errors)
        self.predictions.setdefault(variant, dict(predictions))
        write_json(self.path, {'common': dict(self.common), 'errors': self.errors, 'predictions': self.predictions})

    def order(self, variants: Sequence[str]):
        """Bring the variants into an order."""
        for name in ('errors', 'predictions'):
            found = getattr(self, name)
            setattr(self, name, {variant: found[variant] for variant in variants if variant in found})

    def summarise(self, labels: Mapping[str, Sequence[str]]) -> dict:
        """Mean errors by variant, seed and title of a part, whose labels are given."""
        return {
            variant: {
                seed: {
                    title: mean_errors([found[label] for label in chosen if label in found])
                    for title, chosen in labels.items()
                }
                for seed, found in seeds.items()
            }
            for variant, seeds in self.errors.items()
        }


def checksum(references: Mapping) -> str:
    """Digest of the files of references by label."""
    lines = sorted(f'{label} {node.base.attributes.get("sha256")}' for label, node in references.items())
    return sha256('\n'.join(lines).encode()).hexdigest()


def write_json(path: Path, content):
    """Write a JSON file, under a temporary name first."""
    temporary = path.with_name(f'{path.name}.part')
    temporary.write_text(json.dumps(content, indent=1) + '\n')
    temporary.replace(path)
