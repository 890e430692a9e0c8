"""How far a prediction may be off: the model's own estimate, and the spread of several models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.bands.calculation import PropertyOptions, PropertyResults, compute_properties
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.resources import Device
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.uncertainty import committee_spread, level_spread, structure_value


class Committee:
    """A model, and others of the same elements and basis whose predictions are compared with its own.

    Parameters
    ----------
    paths : sequence of path
        Folders of the other models; may be empty.
    predictor : Predictor
        The first model, whose prediction is the result.
    device : str
        'cpu', 'cuda' or 'auto'.
    memory_limit : float, optional
        GB, as that of the first model.

    Raises
    ------
    ValueError
        If a folder is no model, one does not know an element of the first, or has another basis.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        predictor: Predictor,
        device: Device = 'cpu',
        memory_limit: float | None = None,
    ):
        self.predictor = predictor
        self.others = [load_model(path, device=device, memory_limit=memory_limit) for path in paths]
        for path, other in zip(paths, self.others, strict=True):
            missing = sorted(set(predictor.species) - set(other.species))
            if missing:
                raise ValueError(f'committee: {path} does not know {", ".join(missing)}, which the model knows')
            try:
                other.check_basis(predictor.basis)
            except ValueError as error:
                raise ValueError(f'committee: {path}: {error}') from error

    @property
    def content_hash(self) -> str:
        """sha256 of all models."""
        if not self.others:
            return self.predictor.content_hash
        hashes = [self.predictor.content_hash, *sorted(other.content_hash for other in self.others)]
        return hashlib.sha256(' '.join(hashes).encode()).hexdigest()

    def describe(self, hamiltonian: Hamiltonian, found: PropertyResults, options: PropertyOptions) -> dict:
        """Uncertainties of a prediction of the first model: columns of the table of results.

        Parameters
        ----------
        hamiltonian : Hamiltonian
            The prediction, with H0 and overlap.
        found : PropertyResults
            Its properties; if they have bands on a mesh, those of the other models are computed, too, and compared.
        options : PropertyOptions
            How the properties were computed.
        """
        result = {}
        if hamiltonian.attributes.uncertainty is not None:
            of_atoms = hamiltonian.attributes.uncertainty
            result |= {'uncertainty_meV': structure_value(of_atoms), 'uncertainty_max_meV': float(max(of_atoms))}
        if not self.others:
            return result
        predictions = [hamiltonian, *(other.predict_from(hamiltonian) for other in self.others)]
        spread = committee_spread(predictions, self.predictor.model.pair_cutoff)
        result |= {'committee_spread_meV': structure_value(spread), 'committee_spread_max_meV': float(spread.max())}
        if 'gap_eV' in found.scalars or found.mesh is not None:
            options = replace(options, path=Path('auto'))
            all_found = [found, *(compute_properties(one, ['gap'], options) for one in predictions[1:])]
            gaps = [each.scalars.get('gap_eV') for each in all_found]
            if None not in gaps:
                result['gap_spread_eV'] = float(np.std(gaps, ddof=1))
            if found.mesh is not None:
                levels = np.array([each.mesh.eigenvalues for each in all_found])
                result['level_spread_meV'] = level_spread(levels, found.mesh.weights, hamiltonian.n_occupied)
        return result
