"""Bonds along which charge passes from atom to atom, so that every part of a structure is neutral by itself.

With ``q_i = sum_j w_ij (c_i - c_j)`` and ``w_ij = w_ji`` charges sum up to zero bond by bond (split charges: Nistor,
Polihronov, Müser and Mosey, J. Chem. Phys. 125, 094108 (2006)): no layer of a slab or of a superlattice can be charged
as a whole, whose field would grow with its thickness. Bonds are found from covalent radii; their weights are constant
where bonds vibrate, so that an atom takes its charge along when it moves. Were they functions of the distance, the
charge would stay behind, and with it the field of a wave.
"""

from __future__ import annotations

import numpy as np
import torch
from ase.data import covalent_radii

from aiida_hamlr.model import keys
from aiida_hamlr.model.irreps.normalisation import switch

#: Distances, in sums of covalent radii (Cordero et al., Dalton Trans. 2832 (2008)), up to which a bond counts fully and
#: from which on it does not count.
FULL, NONE = 1.15, 1.35


def longest_bond(numbers: np.ndarray) -> float:
    """Distance beyond which no two of these atoms (their atomic numbers) have a bond, Å."""
    return 2.0 * NONE * float(covalent_radii[numbers].max())


def bond_weights(numbers: np.ndarray, index: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directed bonds and the weights w of charges that pass along them.

    In crystals of two elements the charge of an atom is half the difference of the two raw charges.

    Parameters
    ----------
    numbers : (N,) int array
        Atomic numbers.
    index, lengths : (2, E) int array and (E,) array
        All directed edges up to :func:`longest_bond`, Å.

    Returns
    -------
    bonds : (2, B) int array
    weights : (B,) array
    """
    first, second = index
    radii = covalent_radii[numbers]
    share = switch(lengths / (radii[first] + radii[second]), NONE, NONE - FULL)
    # The number of neighbours of other elements, but smooth where the last one leaves.
    other = share * (numbers[first] != numbers[second])
    number = (1.0 + np.bincount(first, other, len(numbers)) ** 4) ** 0.25
    weights = share * (1.0 / number[first] + 1.0 / number[second]) / 4.0
    return index[:, share > 0.0], weights[share > 0.0]


def passed_along_bonds(values: torch.Tensor, graph) -> torch.Tensor:
    """(N,) charges of zero sum in every part of a structure, from the raw charges (N,) of the atoms."""
    receiver, sender = graph[keys.BOND_INDEX]
    passed = graph[keys.BOND_WEIGHT] * (values[receiver] - values[sender])
    return torch.zeros_like(values).index_add(0, receiver, passed)
