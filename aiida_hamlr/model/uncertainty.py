"""How far predictions may be off: from one model, by the rigidity of its last layer, and from several models.

The error of an atom is the root mean square over the elements of H - H0 in its blocks, on-site and with all atoms
within the pair cutoff. A linear model on features f that was trained on features f_n has the variance
``a^2 f^T (sum_n f_n f_n^T + r)^-1 f`` at f; that of a network is estimated likewise from the invariants of its atoms
(prediction rigidity: Bigi, Chong, Ceriotti and Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024)). The factor a
and the ridge r are those for which the errors of validation structures are most likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model import keys

#: Structures to learn from that are used for the sum over features, and to calibrate, at most.
MOST_STRUCTURES = 2000

#: Ridges that are tried, relative to the mean diagonal of the sum over features.
RIDGES = 10.0 ** np.arange(-10.0, 1.0)

#: Empty bands that count in the spread of levels.
CONDUCTION_BANDS = 4

#: No atom is certain to less than this, meV: the factor stays finite where nothing is wrong.
LEAST_ERROR = 1e-6


@dataclass(frozen=True)
class Rigidity:
    """Uncertainty of the atoms from the features of one model.

    Parameters
    ----------
    inverse : dict of str to (c + 1, c + 1) array
        By species, of the sum of f f^T over the atoms of the training files with the ridge; f are the invariants and 1.
    factor : float
        meV.
    ridge : float
        Relative to the mean diagonal.
    calibrated_on : str
        'validation', or 'train' if there were no files to validate on: then it is too small.
    """

    inverse: Mapping[str, np.ndarray]
    factor: float
    ridge: float
    calibrated_on: str

    def __call__(self, invariants: np.ndarray, species: Sequence[str]) -> np.ndarray:
        """Expected error of the atoms (N,), meV, from their invariants (N, c) and species labels."""
        return self.factor * _relative(self.inverse, _with_one(invariants), np.asarray(species))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the inverse of :meth:`from_dict`."""
        upper = {
            label: [float(f'{value:.9g}') for value in matrix[np.triu_indices(len(matrix))]]
            for label, matrix in self.inverse.items()
        }
        return {
            'kind': 'rigidity',
            'factor_meV': self.factor,
            'ridge': self.ridge,
            'calibrated_on': self.calibrated_on,
            'inverse': upper,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Rigidity:
        """Return what a ``model.json`` describes.

        Raises
        ------
        ValueError
            If an entry is missing or not of its kind.
        """
        try:
            inverse = {}
            for label, values in content['inverse'].items():
                size = round((np.sqrt(8 * len(values) + 1) - 1) / 2)
                matrix = np.zeros((size, size))
                matrix[np.triu_indices(size)] = values
                inverse[label] = matrix + np.triu(matrix, 1).T
            return cls(inverse, float(content['factor_meV']), float(content['ridge']), str(content['calibrated_on']))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f'uncertainty: not an entry of this program: {error}') from error


def fit_rigidity(model, train: Sequence, validation: Sequence = ()) -> Rigidity:
    """Rigidity of a model with the files that it was trained on, calibrated on others.

    Parameters
    ----------
    model : HamiltonianModel
        Trained; on the CPU.
    train, validation : sequence of Example
        With targets. Without files to validate on the factor is that of the training files.
    """
    features: dict[str, list[np.ndarray]] = {}
    labels = np.array(model.slots.species)
    for example in _some(train):
        with torch.no_grad():
            found = _with_one(model.invariants(example.graph).double().numpy())
        species = labels[example.graph[keys.SPECIES].numpy()]
        for label in np.unique(species):
            features.setdefault(str(label), []).append(found[species == label])
    grams = {label: sum(part.T @ part for part in parts) for label, parts in features.items()}
    chosen, name = (validation, 'validation') if len(validation) else (train, 'train')
    errors, found, species = [], [], []
    for example in _some(chosen):
        errors.append(atom_errors(model, example))
        with torch.no_grad():
            found.append(_with_one(model.invariants(example.graph).double().numpy()))
        species.append(labels[example.graph[keys.SPECIES].numpy()])
    known = np.isin(np.concatenate(species), list(grams))
    error, found, species = (np.concatenate(parts)[known] for parts in (errors, found, species))
    best = None
    for ridge in RIDGES:
        inverse = {label: _inverse(gram, ridge) for label, gram in grams.items()}
        relative = _relative(inverse, found, species)
        factor = float(np.sqrt(np.mean((error / relative) ** 2)))
        # Of normal errors, but for a constant.
        likelihood = -np.mean(np.log(factor * relative))
        if best is None or likelihood > best[0]:
            best = (likelihood, Rigidity(inverse, factor, float(ridge), name))
    return best[1]


def atom_errors(model, example) -> np.ndarray:
    """Error of every atom of an example (N,), meV, after the one constant of the structure."""
    slots, labels = model.slots, np.array(model.slots.species)
    graph = example.one_way()
    with torch.no_grad():
        components = model(graph)
    weight = torch.as_tensor(slots.onsite.multiplicity)
    onsite = (components.onsite - graph[keys.ONSITE_TARGET]).double()
    pairs = (components.pairs - graph[keys.PAIR_TARGET]).double()
    onsite_overlap, pair_overlap = graph[keys.ONSITE_OVERLAP].double(), graph[keys.PAIR_OVERLAP].double()
    # The network also gives columns that elements with fewer shells do not have.
    pairs = torch.where(_pair_columns(model, graph), pairs, 0.0)
    onsite = torch.where(_onsite_columns(model, graph), onsite, 0.0)
    product = (weight * onsite * onsite_overlap).sum() + 2 * (pairs * pair_overlap).sum()
    norm = (weight * onsite_overlap**2).sum() + 2 * (pair_overlap**2).sum()
    shift = -product / norm
    of_atoms = (weight * (onsite + shift * onsite_overlap) ** 2).sum(1)
    of_pairs = ((pairs + shift * pair_overlap) ** 2).sum(1)
    sizes = torch.tensor([slots.n_orbitals(label) for label in labels], dtype=torch.float64)[graph[keys.SPECIES]]
    numbers = sizes**2
    for end, other in (graph[keys.PAIR_INDEX], graph[keys.PAIR_INDEX].flip(0)):
        of_atoms = of_atoms.index_add(0, end, of_pairs)
        numbers = numbers.index_add(0, end, sizes[end] * sizes[other])
    return np.maximum(1e3 * (of_atoms / numbers).sqrt().numpy(), LEAST_ERROR)


def atom_rms(values: np.ndarray, hamiltonian: Hamiltonian, cutoff: float) -> np.ndarray:
    """Root mean square (N,) of a quantity of the elements over the blocks of every atom within a cutoff, Å.

    ``values`` (M,), or (2, M) of both spins.
    """
    pattern = hamiltonian.pattern
    lengths = np.linalg.norm(pattern.vectors(np.asarray(hamiltonian.atoms.cell), hamiltonian.atoms.positions), axis=1)
    near = (lengths <= cutoff) | np.isin(np.arange(len(pattern)), pattern.onsite)
    squares = np.add.reduceat(np.atleast_2d(values**2).mean(axis=0), pattern.chunk_boundaries[:-1])[near]
    sizes, first = pattern.chunk_shapes.prod(axis=1)[near], pattern.first[near]
    n_atoms = len(hamiltonian.atoms)
    return np.sqrt(np.bincount(first, squares, n_atoms) / np.bincount(first, sizes, n_atoms))


def committee_spread(predictions: Sequence[Hamiltonian], cutoff: float) -> np.ndarray:
    """Spread of the atoms (N,), meV: root mean square over their blocks of what several models differ by.

    Each prediction's constant, a multiple of the overlap, is fitted away first.

    Parameters
    ----------
    predictions : sequence of Hamiltonian
        Of one structure by different models, at least two.
    cutoff : float
        Of the blocks that count, Å.
    """
    # (models, spins, M); both spins have one constant.
    matrices = np.array([np.atleast_2d(one.hamiltonian) for one in predictions])
    overlap = predictions[0].overlap
    deviations = matrices - matrices.mean(axis=0)
    deviations -= (deviations.mean(axis=1) @ overlap / (overlap @ overlap))[:, None, None] * overlap
    spread = np.sqrt((deviations**2).sum(axis=0) / (len(matrices) - 1))
    return 1e3 * atom_rms(spread, predictions[0], cutoff)


def level_spread(levels: np.ndarray, weights: np.ndarray, n_occupied: int) -> float:
    """Spread of the levels near the gap, meV: what several models differ by, root mean square over k-points and bands.

    The occupied bands and the `CONDUCTION_BANDS` lowest empty ones count. The levels of each model are shifted so that
    the mean of its occupied ones is the same.

    Parameters
    ----------
    levels : (n, [spins,] nk, nb) array
        Bands of one structure by n models, at least two, eV.
    weights : (nk,) array
        Of the k-points; their sum is 1.
    n_occupied : int
        Number of occupied bands.
    """
    levels = levels[..., : n_occupied + CONDUCTION_BANDS]
    levels = levels.reshape(len(levels), -1, *levels.shape[-2:])
    weights = np.asarray(weights)[:, None]
    centres = (weights * levels[..., :n_occupied]).sum(axis=2).mean(axis=(1, 2))
    variance = (levels - centres[:, None, None, None]).var(axis=0, ddof=1)
    return float(1e3 * np.sqrt((weights * variance).sum(axis=1).mean()))


def structure_value(of_atoms: Iterable[float]) -> float:
    """Root mean square over the atoms: the one number of a structure, meV."""
    return float(np.sqrt(np.mean(np.square(list(of_atoms)))))


def _some(examples: Sequence) -> list:
    count = min(len(examples), MOST_STRUCTURES)
    return [examples[int(index)] for index in np.linspace(0, len(examples) - 1, count).round()]


def _with_one(invariants: np.ndarray) -> np.ndarray:
    return np.concatenate([np.asarray(invariants, dtype=np.float64), np.ones((len(invariants), 1))], axis=1)


def _inverse(gram: np.ndarray, ridge: float) -> np.ndarray:
    return np.linalg.inv(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)))


def _relative(inverse: Mapping[str, np.ndarray], features: np.ndarray, species: np.ndarray) -> np.ndarray:
    result = np.full(len(features), np.inf)
    for label, matrix in inverse.items():
        chosen = species == label
        square = np.einsum('nc,cd,nd->n', features[chosen], matrix, features[chosen])
        result[chosen] = np.sqrt(np.maximum(square, 1e-30))
    return result


def _onsite_columns(model, graph) -> torch.Tensor:
    masks = torch.zeros(len(model.slots.species), len(model.slots.onsite), dtype=torch.bool)
    for index, label in enumerate(model.slots.species):
        masks[index, torch.as_tensor(model.slots.onsite.transform(label)[0])] = True
    return masks[graph[keys.SPECIES]]


def _pair_columns(model, graph) -> torch.Tensor:
    species = model.slots.species
    masks = torch.zeros(len(species) ** 2, len(model.slots.pairs), dtype=torch.bool)
    first, second = graph[keys.SPECIES][graph[keys.PAIR_INDEX]]
    kinds = len(species) * first + second
    for kind in torch.unique(kinds).tolist():
        one, other = divmod(kind, len(species))
        masks[kind, torch.as_tensor(model.slots.pairs.transform(species[one], species[other])[0])] = True
    return masks[kinds]
