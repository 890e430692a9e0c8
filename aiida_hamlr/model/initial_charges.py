"""First guess of the long-range charges and polarisability: a fit of the atoms' levels in the training set.

Training would find the charges as well, but slowly: a bulk potential that comes with them must be cancelled by the
short-range part at every step. Starting from the fit, that part learns what the charges leave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from aiida_hamlr.model import keys
from aiida_hamlr.model.channel import Sources
from aiida_hamlr.model.layers import bessel_basis, envelope

#: Radial functions per element of the neighbours that stand for all that is local.
N_LOCAL = 8

#: Ridges on the charges and on the coefficients of what is local, which leaves to the charges what both could explain;
#: relative to the largest diagonal of the normal equations.
RIDGE_CHARGES, RIDGE_LOCAL = 1e-6, 1e-3

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
            sources = Sources(charges - charges.mean(), torch.ones_like(charges), alphas)
            columns.append(channel.potentials(sources, graph)[0].numpy())
    return np.stack(columns, axis=1)


def fit_charges(channel, graphs: Sequence, n_species: int, cutoff: float, multiplicity: np.ndarray) -> np.ndarray:
    """Charges of the elements that explain the levels of the atoms best beside all that is local.

    Parameters
    ----------
    channel : LongRangeChannel
        Gives the potentials.
    graphs : sequence of Graph
        With on-site targets, and what the channel stores.
    n_species : int
    cutoff : float
        Reach of what is local, Å.
    multiplicity : (n_onsite,) array
        How often a component occurs in an on-site block.

    Returns
    -------
    (n_species,) array
        Of zero sum, e; zero where the data do not tell them.
    """
    potentials = [unit_potentials(channel, graph, n_species) for graph in graphs]
    return _fit(graphs, n_species, cutoff, multiplicity, potentials)[0]


def fit_response(
    channel, graphs: Sequence, n_species: int, cutoff: float, multiplicity: np.ndarray, polarisable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Charges of the elements, and one polarisability for all that can have one, which explain the levels best.

    Parameters
    ----------
    channel : ResponseChannel
        Gives the potentials, and says which elements have a polarisability.
    graphs, n_species, cutoff, multiplicity
        As for :func:`fit_charges`.
    polarisable : (n_species,) bool array
        Elements that share the polarisability; the others have none.

    Returns
    -------
    charges : (n_species,) array
        e.
    polarisabilities : (n_species,) array
        Å^3; zero where the data cannot tell them.
    """
    polarisable = polarisable & (channel.identified.numpy() > 0)

    def fitted(polarisability, typical_charge=TYPICAL_CHARGE):
        values = polarisability * polarisable
        potentials = [unit_potentials(channel, graph, n_species, values) for graph in graphs]
        return _fit(graphs, n_species, cutoff, multiplicity, potentials, typical_charge)

    if not polarisable.any():
        return fitted(0.0)[0], np.zeros(n_species)
    polarisability = minimize_scalar(
        lambda value: fitted(value, None)[1],
        bounds=(0.0, LARGEST_POLARISABILITY),
        method='bounded',
        options={'xatol': POLARISABILITY_STEP},
    ).x
    return fitted(polarisability, None)[0], polarisability * polarisable


def _fit(
    graphs, n_species, cutoff, multiplicity, potentials, typical_charge=TYPICAL_CHARGE
) -> tuple[np.ndarray, float]:
    """Charges, and the sum of squares that they leave, with the ridge, eV^2; None: of any magnitude."""
    rows, levels = [], []
    for number, (graph, potential) in enumerate(zip(graphs, potentials, strict=True)):
        level = atom_levels(graph, multiplicity)
        gauge = np.zeros((len(level), len(graphs)))
        gauge[:, number] = 1.0
        local = local_descriptors(graph, n_species, cutoff)
        rows.append(np.concatenate([gauge, local, -potential], axis=1))
        levels.append(level)
    design, level = np.concatenate(rows), np.concatenate(levels)
    normal = design.T @ design
    diagonal = np.diag(normal).copy()
    ridge = np.zeros(len(normal))
    ridge[len(graphs) : -n_species] = RIDGE_LOCAL * diagonal[len(graphs) : -n_species].max()
    right = design.T @ level
    ridge[-n_species:] = RIDGE_CHARGES * max(diagonal[-n_species:].max(), 1e-12)
    if typical_charge is not None:
        rest = slice(0, len(normal) - n_species)
        without = np.linalg.lstsq(normal[rest, rest] + np.diag(ridge[rest]), right[rest], rcond=None)[0]
        unexplained = np.mean((level - design[:, rest] @ without) ** 2)
        ridge[-n_species:] = np.maximum(ridge[-n_species:], unexplained / typical_charge**2)
    normal += np.diag(ridge)
    solution = np.linalg.solve(normal, right)
    misfit = np.square(design @ solution - level).sum() + ridge @ solution**2
    charges = solution[-n_species:]
    return charges - charges.mean(), float(misfit)
