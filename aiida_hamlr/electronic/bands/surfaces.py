"""The vacuum level of a predicted slab, from a reference with the same surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_hamlr.electronic.bands.layers import Layers
from aiida_hamlr.electronic.bands.levels import check_same_orbitals, onsite_levels
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: Layers at each surface whose levels are compared.
N_LAYERS = 4

#: A gap between layers that counts as vacuum, Å.
SMALLEST_VACUUM = 4.0


@dataclass(frozen=True)
class AlignedVacuum:
    """Vacuum levels below and above a slab.

    Parameters
    ----------
    levels : (float, float)
        In the gauge of the slab's Hamiltonian, eV.
    spreads : (float, float)
        How far the single layers are from one common shift at most, eV: how much the surfaces differ.
    """

    levels: tuple[float, float]
    spreads: tuple[float, float]


def align_vacuum(
    hamiltonian: Hamiltonian, reference: Hamiltonian, axis: int = 2, n_layers: int = N_LAYERS
) -> AlignedVacuum:
    """Vacuum levels of a slab without a density, from a reference slab whose surfaces are the same.

    The zero of a predicted Hamiltonian is not tied to the vacuum: losses do not see a constant per structure. Near
    equal surfaces the potential, and with it the on-site levels, differ by that constant alone. The mean difference
    between the levels of the outermost layers moves the reference's vacuum level to the prediction, on each side.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Of the slab, of any thickness.
    reference : Hamiltonian
        Of a slab of the same orbitals with its vacuum level.
    axis : int
        Lattice vector through the vacuum of both.
    n_layers : int
        Layers at each surface that are compared; fewer if a slab has fewer.

    Returns
    -------
    AlignedVacuum
        eV.

    Raises
    ------
    ValueError
        If the reference records no vacuum level, a structure has no vacuum along the axis, the layers differ in
        composition, or the orbitals are others.
    """
    attributes = reference.attributes
    if attributes.vacuum_level is None:
        raise ValueError('the reference records no vacuum level: it needs a vacuum, and the density of its run')
    check_same_orbitals(hamiltonian, reference)
    known = attributes.vacuum_levels or [attributes.vacuum_level] * 2
    slab, other = (_layers_upwards(each, axis) for each in (hamiltonian, reference))
    n_layers = min(n_layers, len(slab), len(other))
    levels, spreads = [], []
    for side, name, level in ((slice(None), 'lower', known[0]), (slice(None, None, -1), 'upper', known[1])):
        pairs = list(zip(slab[side][:n_layers], other[side][:n_layers], strict=True))
        for index, (own, its) in enumerate(pairs):
            if own.composition != its.composition:
                raise ValueError(
                    f'layer {index + 1} of the {name} surface is {own.composition} in the slab and {its.composition} '
                    'in the reference; take a reference with the same surfaces'
                )
        shifts = np.array([own.level - its.level for own, its in pairs])
        levels.append(float(level + shifts.mean()))
        spreads.append(float(np.abs(shifts - shifts.mean()).max()))
    return AlignedVacuum(tuple(levels), tuple(spreads))


@dataclass(frozen=True)
class _Layer:
    composition: dict[str, float]
    level: float


def _layers_upwards(hamiltonian: Hamiltonian, axis: int) -> list[_Layer]:
    """Composition (shares of the species) and mean level of the layers, from below the slab to above it."""
    layers = Layers.of(hamiltonian.atoms, axis)
    heights = layers.heights
    gaps = np.diff(np.append(heights, heights[0] + layers.length))
    if gaps.max() < SMALLEST_VACUUM:
        raise ValueError(
            f'no vacuum along lattice vector {axis + 1}: the layers are at most {gaps.max():.2f} Å apart; choose the '
            'axis through the vacuum'
        )
    levels = layers.average(onsite_levels(hamiltonian))
    species = np.array(hamiltonian.species)
    order = np.roll(np.arange(len(heights)), -int(gaps.argmax()) - 1)
    return [_Layer(_shares(species[layers.of_atom == layer]), float(levels[layer])) for layer in order]


def _shares(species: np.ndarray) -> dict[str, float]:
    labels, counts = np.unique(species, return_counts=True)
    return {str(label): round(float(count / len(species)), 6) for label, count in zip(labels, counts, strict=True)}
