"""Band offsets of large heterostructures from on-site levels, without diagonalising them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiida_hamlr.electronic.bands.layers import Layers
from aiida_hamlr.electronic.bands.levels import check_same_orbitals, onsite_levels
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian


@dataclass(frozen=True)
class BandOffset:
    """Line-up of the bands of two crystals, second less first.

    Parameters
    ----------
    valence, conduction : float
        eV.
    spreads : (float, float)
        How much the shifts of single layers differ from their mean at most within each region, eV: fields, strain or
        interfaces that are too near.
    """

    valence: float
    conduction: float
    spreads: tuple[float, float]


def band_offset(
    heterostructure: Hamiltonian,
    crystals: Sequence[Hamiltonian],
    regions: Sequence[tuple[float, float]],
    axis: int = 2,
) -> BandOffset:
    """Band offset between two crystals of a heterostructure of any size.

    The band edges of each crystal, relative to its on-site levels, come from the crystal alone. In the heterostructure
    the levels of the inner layers of each region say how far it is shifted. This is the line-up of Baldereschi, Baroni
    and Resta (Phys. Rev. Lett. 61, 734 (1988)) with on-site levels in place of the electrostatic potential. The
    heterostructure is not diagonalised.

    Parameters
    ----------
    heterostructure : Hamiltonian
        A superlattice, or a slab of two materials.
    crystals : sequence of two Hamiltonian
        The bulk crystals, strained as in the heterostructure, with recorded band edges (``vbm``, ``cbm``), all of one
        basis.
    regions : sequence of two (float, float)
        Lower and upper height of the inner layers of each crystal, Å.
    axis : int
        Lattice vector across the layers.

    Returns
    -------
    BandOffset
        eV.

    Raises
    ------
    ValueError
        If a crystal has no recorded band edges or other orbitals, or a region has no layer or an atom of a species that
        its crystal does not have.
    """
    layers = Layers.of(heterostructure.atoms, axis)
    levels, species = onsite_levels(heterostructure), np.array(heterostructure.species)
    edges, spreads = [], []
    for crystal, region in zip(crystals, regions, strict=True):
        check_same_orbitals(heterostructure, crystal)
        formula = crystal.atoms.get_chemical_formula()
        vbm, cbm = crystal.attributes.vbm, crystal.attributes.cbm
        if vbm is None or cbm is None:
            raise ValueError(f'{formula}: no band edges are recorded; predict it with the output gap on a fine mesh')
        own = _levels_by_species(crystal)
        inside = layers.within(region)[layers.of_atom]
        missing = sorted(set(species[inside]) - set(own))
        if missing:
            raise ValueError(
                f'{", ".join(missing)} between {region[0]:g} and {region[1]:g} Å, which {formula} does not contain'
            )
        shifts = levels[inside] - np.array([own[label] for label in species[inside]])
        of_layers = [shifts[layers.of_atom[inside] == layer].mean() for layer in np.unique(layers.of_atom[inside])]
        shift = float(np.mean(of_layers))
        spreads.append(float(np.abs(np.array(of_layers) - shift).max()))
        edges.append((vbm + shift, cbm + shift))
    (first_vbm, first_cbm), (second_vbm, second_cbm) = edges
    return BandOffset(second_vbm - first_vbm, second_cbm - first_cbm, tuple(spreads))


def _levels_by_species(crystal: Hamiltonian) -> dict[str, float]:
    levels, species = onsite_levels(crystal), np.array(crystal.species)
    return {str(label): float(levels[species == label].mean()) for label in np.unique(species)}
