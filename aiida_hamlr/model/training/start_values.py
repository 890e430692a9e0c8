"""Initialising a model from its training data: normalisation, charges and polarisabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from scipy.optimize import brentq

from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.hamiltonian_model import kinds_of
from aiida_hamlr.model.long_range.field_response import field_response, screened_charges
from aiida_hamlr.model.training.examples import Example
from aiida_hamlr.model.training.identifiability import HYDROGEN
from aiida_hamlr.model.training.initial_charges import fit_charges, fit_response
from aiida_hamlr.model.training.labels import with_dielectric_tensor
from aiida_hamlr.model.training.parent import Parent
from aiida_hamlr.model.training.references import Survey

#: Orbital pairs from which a model's tables are made, at most; a row of each is in memory then.
MOST_PAIRS = 300_000

#: Largest polarisability that training starts with, Å^3, where even it does not give the dielectric constant.
LARGEST_POLARISABILITY = 1000.0


@dataclass(frozen=True)
class FirstSources:
    """Values that a training starts with, as far as labels tell them.

    ``polarisability`` of all elements but hydrogen, Å^3, or None; ``charges`` of some species, e.
    """

    polarisability: float | None
    charges: dict[str, float]

    @classmethod
    def of(cls, model, settings: TrainingConfig, surveys: Sequence[Survey]) -> FirstSources:
        """Return what the labels of the training files tell."""
        width, polarisability = model.config.long_range.kernel_width, None
        labelled = [(one.atoms, one.labels['dielectric_tensor']) for one in with_dielectric_tensor(settings, surveys)]
        if labelled:
            polarisability = polarisability_of_labels(labelled, width)
        if not settings.labels.born_weight or (model.config.has_response and polarisability is None):
            return cls(polarisability, {})
        known = [one for one in surveys if 'born_charges' in one.labels]
        if model.config.has_response:
            expected = [np.trace(one.labels['born_charges'], axis1=1, axis2=2) / 3 for one in known]
        else:
            expected = [screened_charges(*_tensors(one.labels)).numpy() for one in known]
        charges = charges_of_labels([one.atoms for one in known], expected, polarisability or 0.0, width)
        return cls(polarisability, charges)


def _tensors(labels: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.as_tensor(labels['dielectric_tensor']), torch.as_tensor(labels['born_charges'])


def _mean_response(atoms: Atoms, charges, polarisability: float, width: float) -> tuple[float, np.ndarray]:
    """Dielectric constant and Born charges (N,), means of the directions, if all elements but hydrogen are alike."""
    polarisabilities = polarisability * torch.as_tensor(~(atoms.symbols == HYDROGEN)).double()
    geometry = torch.as_tensor(np.asarray(atoms.cell)), torch.as_tensor(atoms.positions)
    tensor, born = field_response(*geometry, width, torch.as_tensor(charges).double(), polarisabilities)
    return float(tensor.trace()) / 3, born.diagonal(dim1=1, dim2=2).sum(1).numpy() / 3


def polarisability_of_labels(labelled: Sequence[tuple[Atoms, np.ndarray]], width: float) -> float:
    """Return the polarisability, Å^3, with which the mean dielectric constant of some structures equals their labels.

    Parameters
    ----------
    labelled : sequence of (Atoms, (3, 3) array)
        Structures and their dielectric tensors. Hydrogen has no polarisability.
    width : float
        Width s of the kernel, Å.
    """
    expected = np.mean([np.trace(tensor) / 3 for _, tensor in labelled])

    def excess(polarisability: float) -> float:
        found = [_mean_response(atoms, np.zeros(len(atoms)), polarisability, width)[0] for atoms, _ in labelled]
        return float(np.mean(found) - expected)

    if excess(LARGEST_POLARISABILITY) < 0.0:
        return LARGEST_POLARISABILITY
    return brentq(excess, 0.0, LARGEST_POLARISABILITY, xtol=1e-3)


def charges_of_labels(
    structures: Sequence[Atoms], expected: Sequence[np.ndarray], polarisability: float, width: float
) -> dict[str, float]:
    """Return the charges of the species, e, that give the Born charges nearest to the expected ones.

    Parameters
    ----------
    structures : sequence of Atoms
        Structures with labels.
    expected : sequence of (N,) arrays
        Means over the directions, e.
    polarisability : float
        Of all elements but hydrogen, Å^3.
    width : float
        Width s of the kernel, Å.
    """
    species = [np.array(species_labels(atoms)) for atoms in structures]
    labels = sorted({str(label) for of_atoms in species for label in of_atoms})
    columns = []
    for label in labels:
        units = [np.asarray(of_atoms == label, dtype=float) for of_atoms in species]
        found = [
            _mean_response(atoms, unit - unit.mean(), polarisability, width)[1]
            for atoms, unit in zip(structures, units, strict=True)
        ]
        columns.append(np.concatenate(found))
    charges = np.linalg.lstsq(np.stack(columns, axis=1), np.concatenate(expected), rcond=None)[0]
    return dict(zip(labels, (charges - charges.mean()).tolist(), strict=True))


def representative(examples: Sequence[Example]) -> list[Example]:
    """Return evenly spaced examples that represent all, as many as the memory has room for."""
    first = examples[0]
    # Before all are loaded, the first has to tell how large they are.
    n_chosen = max(1, min(len(examples), MOST_PAIRS // max(1, len(first.selection.blocks))))
    return [examples[int(index)] for index in np.linspace(0, len(examples) - 1, n_chosen).round()]


def prepare(model, examples: Sequence[Example], known: FirstSources | None = None, parent: Parent | None = None):
    """Set a model's tables and its initial charges from the training set; complete the graphs with the tables.

    Charges and polarisabilities that labels tell are not fitted to the levels of the atoms. The tables describe H - H0
    less the part of the initial charges. With a parent model only what it does not know is fitted.
    """
    for example in examples:
        model.normalise(example.graph)
    if model.long_range is not None and (parent is None or parent.new_elements(model)):
        arguments = (
            model.long_range,
            [example.graph for example in examples],
            len(model.slots.species),
            model.config.short_range.message_cutoff,
            model.slots.onsite.multiplicity,
        )
        if parent is not None:
            response = model.long_range.species_polarisability.numpy() if model.config.has_response else None
            charges = parent.join_charges(model, fit_charges(*arguments, response))
        elif model.config.has_response:
            if known is None or known.polarisability is None:
                charges, polarisabilities = fit_response(*arguments)
            else:
                polarisabilities = known.polarisability * model.long_range.identified.numpy()
                charges = fit_charges(*arguments, polarisabilities)
            model.long_range.start_from(polarisabilities)
        else:
            charges = fit_charges(*arguments)
        for label, charge in known.charges.items() if known is not None and parent is None else ():
            charges[model.slots.species.index(label)] = charge
        with torch.no_grad():
            model.long_range.species_charge.copy_(torch.as_tensor(charges))
    _fit_normalisation(model, examples)
    if parent is not None:
        parent.keep_tables(model)
    for example in examples:
        model.normalise(example.graph)


def _fit_normalisation(model, examples: Sequence[Example]):
    graphs, n_species = [example.graph for example in examples], len(model.slots.species)
    species = np.concatenate([graph[keys.SPECIES].numpy() for graph in graphs])
    pairs, onsite = [], []
    for graph in graphs:
        onsite_target, pair_target = graph[keys.ONSITE_TARGET], graph[keys.PAIR_TARGET]
        if model.long_range is not None:
            with torch.no_grad():
                onsite_part, pair_part = model.blocks_of_elements(graph)
            onsite_target, pair_target = onsite_target - onsite_part, pair_target - pair_part
        pairs.append(pair_target.double().numpy())
        onsite.append(onsite_target.double().numpy())

    def joined(name: str) -> np.ndarray:
        return np.concatenate([graph[name].double().numpy() for graph in graphs])

    def of(index: str, length: str) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([kinds_of(graph, index, n_species) for graph in graphs]), joined(length)

    slots, of_pairs, onsite = model.slots, of(keys.PAIR_INDEX, keys.PAIR_LENGTH), np.concatenate(onsite)
    if model.h0_normalisation is not None:
        tables, of_h0 = model.h0_normalisation, joined(keys.ONSITE_H0)
        tables.fit_pairs(slots, *of_pairs, joined(keys.PAIR_H0))
        tables.fit_onsite(slots, species, of_h0)
        of_edges = of(keys.EDGE_INDEX, keys.EDGE_LENGTH)
        model.edge_h0_normalisation.fit_pairs(slots, *of_edges, joined(keys.EDGE_H0))
        inputs = tables.onsite_input(species, of_h0)
        tables.fit_linear(species, inputs, onsite)
        onsite = onsite - tables.onsite_baseline(species, inputs)
    model.normalisation.fit_pairs(slots, *of_pairs, np.concatenate(pairs))
    model.normalisation.fit_onsite(slots, species, onsite)
