"""The part of on-site components that is a sum over the neighbours."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.model.graph_builder import message_edges
from aiida_hamlr.model.irreps.onsite_two_body import OnsiteTwoBody
from aiida_hamlr.model.irreps.radial import switch
from aiida_hamlr.model.irreps.shells import ShellSlots

SHELLS = {'Al': [0, 1], 'As': [0, 1, 2]}
SLOTS = ShellSlots(SHELLS)
LAYOUT = SLOTS.onsite

#: Å.
CUTOFF = 4.6


def crystals(seeds, formula: str = 'AlAs') -> list[Atoms]:
    made = []
    for seed in seeds:
        made.append(bulk(formula, 'zincblende', a=5.6, cubic=True))
        made[-1].rattle(0.15, seed=seed)
    return made


def species_and_sums(table: OnsiteTwoBody, structures: list[Atoms], slots: ShellSlots = SLOTS):
    """Of structures one after the other."""
    species = np.array([slots.species.index(symbol) for atoms in structures for symbol in atoms.symbols])
    first = np.cumsum([0, *map(len, structures)])
    found = [message_edges(atoms, CUTOFF) for atoms in structures]
    index = np.concatenate([index + first[n] for n, (index, _) in enumerate(found)], axis=1)
    return species, table.sums(species, index, np.concatenate([vectors for _, vectors in found]))


def additive(structures: list[Atoms]) -> np.ndarray:
    """Components (N, n_onsite) by plain loops: Gaussians of the distance times harmonics, and a constant."""
    rng = np.random.default_rng(4)
    strength = rng.normal(size=(2, 2, len(LAYOUT.channels)))
    result = []
    for atoms in structures:
        kinds = [SLOTS.species.index(symbol) for symbol in atoms.symbols]
        components = np.zeros((len(atoms), len(LAYOUT)))
        first, second, vectors = neighbor_list('ijD', atoms, CUTOFF)
        lengths = np.linalg.norm(vectors, axis=1)
        radial = np.exp(-(((lengths - 2.0) / 1.5) ** 2)) * switch(lengths, CUTOFF)
        harmonics = [real_harmonics(l, vectors) for l in range(5)]
        for edge, (i, j) in enumerate(zip(first, second, strict=True)):
            for column, (n, m) in enumerate(LAYOUT.columns):
                if LAYOUT.channels[n].natural:
                    harmonic = harmonics[LAYOUT.channels[n].degree][edge, m]
                    components[i, column] += strength[kinds[i], kinds[j], n] * radial[edge] * harmonic
        components += 3.0 * LAYOUT.is_scalar
        for i, symbol in enumerate(atoms.symbols):
            components[i, np.setdiff1d(np.arange(len(LAYOUT)), LAYOUT.transform(symbol)[0])] = 0.0
        result.append(components)
    return np.concatenate(result)


def without_constant(targets: np.ndarray, species: np.ndarray) -> np.ndarray:
    """Targets less the mean of the scalar components of every element."""
    result = targets.copy()
    for element in np.unique(species):
        members = species == element
        result[members] -= targets[members].mean(axis=0) * LAYOUT.is_scalar
    return result


@pytest.fixture(scope='module')
def fitted() -> OnsiteTwoBody:
    table, structures = OnsiteTwoBody(SLOTS, CUTOFF), crystals(range(24))
    species, sums = species_and_sums(table, structures)
    table.fit(SLOTS, species, additive(structures), sums, np.zeros((2, len(LAYOUT))))
    return table


def test_radial_functions_are_found(fitted):
    """From components by plain loops over neighbours of ASE, and tested on crystals that the fit did not see."""
    structures = crystals(range(30, 34))
    species, sums = species_and_sums(fitted, structures)
    expected = without_constant(additive(structures), species)
    found = without_constant(fitted(species, sums), species)
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_components_of_a_channel_have_the_same_functions(fitted):
    for columns in fitted.columns:
        for channel in columns:
            assert torch.equal(
                fitted.two_body[..., channel], fitted.two_body[..., channel[:1]].expand(-1, -1, len(channel))
            )


def test_components_of_other_parity_have_no_part(fitted):
    others = [column for column, (n, _) in enumerate(LAYOUT.columns) if not LAYOUT.channels[n].natural]
    assert others and not fitted.two_body[..., others].any()


def test_nothing_is_fitted_where_it_would_not_help():
    """Random components have nothing to do with the neighbours; isolated atoms have none."""
    table, structures = OnsiteTwoBody(SLOTS, CUTOFF), crystals(range(4))
    species, sums = species_and_sums(table, structures)
    targets = np.random.default_rng(0).normal(size=(len(species), len(LAYOUT)))
    table.fit(SLOTS, species, targets, sums, np.zeros((2, len(LAYOUT))))
    assert np.abs(table(species, sums)).max() < 0.3
    alone = [Atoms('Al', cell=[20, 20, 20], pbc=True)]
    table = OnsiteTwoBody(SLOTS, CUTOFF)
    species, sums = species_and_sums(table, alone)
    table.fit(SLOTS, species, targets[:1], sums, np.zeros((2, len(LAYOUT))))
    assert not table.two_body.any()


def test_known_pairs_of_elements_are_kept(fitted):
    """A new neighbour gets functions for what the known ones do not give."""
    slots = ShellSlots({'Al': [0, 1], 'As': [0, 1, 2], 'Ga': [0, 1]})
    table = OnsiteTwoBody(slots, CUTOFF)
    old = [0, 1, 3, 4]
    table.two_body[old] = fitted.two_body
    pure = crystals(range(40, 52))
    mixed = [atoms.copy() for atoms in pure]
    for atoms in mixed:
        atoms.symbols[0] = 'Ga'
    means = np.zeros((3, len(LAYOUT)))
    species, sums = species_and_sums(fitted, pure)
    constant = additive(pure) - fitted(species, sums)
    for element in (0, 1):
        means[element] = constant[species == element].mean(axis=0) * LAYOUT.is_scalar
    # Gallium acts as aluminium does.
    species, sums = species_and_sums(table, mixed, slots)
    targets = additive(pure)
    table.fit(slots, species, targets, sums, means)
    assert torch.equal(table.two_body[old], fitted.two_body)
    arsenic = species == 1
    assert np.abs(table(species, sums) + means[species] - targets)[arsenic].max() < 0.02 * np.abs(targets).max()
