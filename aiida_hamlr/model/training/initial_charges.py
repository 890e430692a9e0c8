"""First guess of the long-range charges and polarisability: a fit of the atoms' levels in the training set.

Training would find the charges as well, but slowly: a bulk potential that comes with them must be cancelled by the
short-range part at every step. Starting from the fit, that part learns what the charges leave.

Sums of functions of the neighbours' distances stand for all that is local, and leave errors of tens of meV. Atoms with
the same surroundings, as in one slab in two vacua or inside two domains, share these errors: their levels differ by
what comes from afar alone. The fit takes the errors as random, with a part of every atom and a larger one of all atoms
with the same surroundings, and is the generalised least-squares solution for these (Laird and Ware, Biometrics 38, 963
(1982)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from aiida_hamlr.model import keys
from aiida_hamlr.model.long_range.channel import Sources
from aiida_hamlr.model.network.layers import bessel_basis, envelope

#: Radial functions per element of the neighbours that stand for all that is local.
N_LOCAL = 8

#: Ridges on the charges and on the coefficients of what is local, which leaves to the charges what both could explain;
#: relative to the largest diagonal of the normal equations.
RIDGE_CHARGES, RIDGE_LOCAL = 1e-6, 1e-2

#: Descriptors of the same surroundings differ by no more than this along random directions, and number of these.
SAME_SURROUNDINGS, N_DIRECTIONS = 1e-4, 4

#: What descriptors leave of the level of an atom, over what differs between atoms with the same surroundings.
SHARED_ERROR = 3.0

#: Magnitude that is expected of charges, e: where the data hardly tell them, as in cells of few atoms, they must not be
#: much larger.
TYPICAL_CHARGE = 1.0

#: Largest polarisability that is tried, and how well the best is found, Å^3: a dielectric constant of about 13 in
#: zincblende.
LARGEST_POLARISABILITY, POLARISABILITY_STEP = 30.0, 0.3


def atom_levels(graph, multiplicity: np.ndarray) -> np.ndarray:
    """(N,) mean level of every atom in H - H0: the multiple of the on-site overlap nearest to the block, eV."""
    target, overlap = graph[keys.ONSITE_TARGET].double().numpy(), graph[keys.ONSITE_OVERLAP].double().numpy()
    return (multiplicity * target * overlap).sum(1) / (multiplicity * overlap**2).sum(1)


def local_descriptors(graph, n_species: int, cutoff: float) -> np.ndarray:
    """(N, n) sums of radial functions over the neighbours of each element, apart for every element of the atom."""
    species, lengths = graph[keys.SPECIES].numpy(), graph[keys.EDGE_LENGTH].double()
    receiver, sender = graph[keys.EDGE_INDEX].numpy()
    radial = (bessel_basis(lengths, cutoff, N_LOCAL) * envelope(lengths, cutoff)[:, None]).numpy()
    result = np.zeros((len(species), n_species, 1 + n_species * N_LOCAL))
    sums = np.zeros((len(species), n_species, N_LOCAL))
    np.add.at(sums, (receiver, species[sender]), radial)
    atoms = np.arange(len(species))
    result[atoms, species, 0] = 1.0
    result[atoms, species, 1:] = sums.reshape(len(species), -1)
    return result.reshape(len(species), -1)


def unit_potentials(channel, graph, n_species: int, polarisabilities: np.ndarray | None = None) -> np.ndarray:
    """(N, n_species) potentials at the atoms, V, of unit charges on all atoms of an element, made neutral.

    With ``polarisabilities`` of the elements (n_species,), Å^3, they polarise the atoms.
    """
    species = graph[keys.SPECIES]
    alphas = None if polarisabilities is None else torch.as_tensor(polarisabilities, dtype=torch.float64)[species]
    columns = []
    with torch.no_grad():
        for element in range(n_species):
            charges = (species == element).double()
            sources = Sources(channel.neutral(charges, graph), torch.ones_like(charges), alphas)
            columns.append(channel.potentials(sources, graph)[0].numpy())
    return np.stack(columns, axis=1)


def fit_charges(
    channel,
    graphs: Sequence,
    n_species: int,
    cutoff: float,
    multiplicity: np.ndarray,
    polarisabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Charges of the elements that explain the levels of the atoms best beside all that is local.

    Parameters
    ----------
    channel : LongRangeChannel
        Gives the potentials.
    graphs : sequence of Graph
        With on-site targets, and what the channel stores.
    n_species : int
        Number of elements.
    cutoff : float
        Reach of what is local, Å.
    multiplicity : (n_onsite,) array
        How often a component occurs in an on-site block.
    polarisabilities : (n_species,) array, optional
        Of the elements, Å^3, where the charges polarise them.

    Returns
    -------
    (n_species,) array
        Of zero sum, e; zero where the data do not tell them.
    """
    return _LevelFit(channel, graphs, n_species, cutoff, multiplicity)(polarisabilities)[0]


def fit_response(
    channel, graphs: Sequence, n_species: int, cutoff: float, multiplicity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Charges of the elements, and one polarisability for all that can have one, which explain the levels best.

    Parameters
    ----------
    channel : ResponseChannel
        Gives the potentials, and says which elements have a polarisability.
    graphs, n_species, cutoff, multiplicity
        As for :func:`fit_charges`.

    Returns
    -------
    charges : (n_species,) array
        e.
    polarisabilities : (n_species,) array
        Å^3; zero where the data cannot tell them.
    """
    polarisable = channel.identified.numpy() > 0
    fit = _LevelFit(channel, graphs, n_species, cutoff, multiplicity)
    if not polarisable.any():
        return fit(np.zeros(n_species))[0], np.zeros(n_species)
    polarisability = minimize_scalar(
        lambda value: fit(value * polarisable, None)[1],
        bounds=(0.0, LARGEST_POLARISABILITY),
        method='bounded',
        options={'xatol': POLARISABILITY_STEP},
    ).x
    return fit(polarisability * polarisable, None)[0], polarisability * polarisable


def same_surroundings(descriptors: np.ndarray) -> np.ndarray:
    """(N,) number of the kind of surroundings of every atom, from the (N, n) :func:`local_descriptors`."""
    n_atoms, n_descriptors = descriptors.shape
    kinds = np.zeros(n_atoms, dtype=int)
    # Along several random directions, chance puts no two different atoms at the same places.
    for direction in np.random.default_rng(0).normal(size=(N_DIRECTIONS, n_descriptors)):
        place = descriptors @ direction
        order = np.lexsort((place, kinds))
        new = (np.diff(kinds[order]) > 0) | (np.diff(place[order]) > SAME_SURROUNDINGS)
        kinds[order] = np.concatenate([[0], np.cumsum(new)])
    return kinds


def _whitened(rows: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Rows (N, n) of a linear system whose errors are independent and equal, but for one factor."""
    sizes = np.bincount(kinds)
    means = np.zeros((len(sizes), rows.shape[1]))
    np.add.at(means, kinds, rows)
    means /= sizes[:, None]
    # Deviations from the mean of a kind are SHARED_ERROR times as good as what an atom alone says.
    alone = np.sqrt(1.0 + SHARED_ERROR**2)
    of_mean = alone / np.sqrt(1.0 + SHARED_ERROR**2 * sizes)
    return alone * (rows - means[kinds]) + (of_mean[:, None] * means)[kinds]


class _LevelFit:
    """Fit of the levels for given polarisabilities; what does not depend on these is made once.

    Arguments as of :func:`fit_charges`.
    """

    def __init__(self, channel, graphs: Sequence, n_species: int, cutoff: float, multiplicity: np.ndarray):
        self._channel, self._graphs, self._n_species = channel, graphs, n_species
        local = np.concatenate([local_descriptors(graph, n_species, cutoff) for graph in graphs])
        gauge = np.repeat(np.eye(len(graphs)), [len(graph[keys.SPECIES]) for graph in graphs], axis=0)
        level = np.concatenate([atom_levels(graph, multiplicity) for graph in graphs])
        self._kinds = same_surroundings(local)
        self._rest = _whitened(np.concatenate([gauge, local], axis=1), self._kinds)
        self._level = _whitened(level[:, None], self._kinds)[:, 0]

    def __call__(
        self, polarisabilities: np.ndarray | None, typical_charge: float | None = TYPICAL_CHARGE
    ) -> tuple[np.ndarray, float]:
        """Charges, and the sum of squares that they leave, with the ridge, eV^2; None: of any magnitude."""
        n_species, n_graphs, level = self._n_species, len(self._graphs), self._level
        potentials = np.concatenate(
            [unit_potentials(self._channel, graph, n_species, polarisabilities) for graph in self._graphs]
        )
        design = np.concatenate([self._rest, -_whitened(potentials, self._kinds)], axis=1)
        normal = design.T @ design
        diagonal = np.diag(normal).copy()
        ridge = np.zeros(len(normal))
        ridge[n_graphs:-n_species] = RIDGE_LOCAL * diagonal[n_graphs:-n_species].max()
        right = design.T @ level
        ridge[-n_species:] = RIDGE_CHARGES * max(diagonal[-n_species:].max(), 1e-12)
        if typical_charge is not None:
            rest = slice(0, len(normal) - n_species)
            without = np.linalg.lstsq(normal[rest, rest] + np.diag(ridge[rest]), right[rest], rcond=None)[0]
            unexplained = np.mean((level - self._rest @ without) ** 2)
            ridge[-n_species:] = np.maximum(ridge[-n_species:], unexplained / typical_charge**2)
        normal += np.diag(ridge)
        solution = np.linalg.solve(normal, right)
        misfit = np.square(design @ solution - level).sum() + ridge @ solution**2
        charges = solution[-n_species:]
        return charges - charges.mean(), float(misfit)
