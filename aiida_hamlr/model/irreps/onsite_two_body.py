"""The part of on-site blocks that is a sum over the neighbours, fitted before the training.

To first order H - H0 of an atom is additive in its neighbours: component ``M`` of an irreducible channel of angular
momentum L and parity (-1)^L is ``sum_j f(r_ij) Y_LM(r_ij)``, with one radial function f for each channel and ordered
pair of elements. Other channels have no such part.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.model.irreps.frames import PAIRS_AT_ONCE
from aiida_hamlr.model.irreps.radial import N_RADIAL, radial_basis, switch
from aiida_hamlr.model.irreps.shells import ShellSlots

#: Ridges among which cross-validation chooses, in units of the mean square of the functions; or nothing is fitted.
RIDGES = (1e-8, 1e-6, 1e-4, 1e-2)

#: Parts into which the atoms are divided for it, one after the other, so that those of a structure stay together.
N_FOLDS = 5


class OnsiteTwoBody(nn.Module):
    """Radial functions of the two-body part of on-site components.

    Parameters
    ----------
    slots : ShellSlots
    cutoff : float
        Distance up to which neighbours count, Å.
    """

    def __init__(self, slots: ShellSlots, cutoff: float):
        super().__init__()
        self.n_species, self.cutoff = len(slots.species), cutoff
        #: For every l, the columns (channels, 2l + 1) of the components that have such a part.
        self.columns = slots.onsite.natural_columns
        shape = (self.n_species**2, N_RADIAL, len(slots.onsite))
        # All components of a channel have the same numbers.
        self.register_buffer('two_body', torch.zeros(shape, dtype=torch.float64))

    def sums(self, species: np.ndarray, index: np.ndarray, vectors: np.ndarray) -> list[np.ndarray]:
        """Sums of radial functions times spherical harmonics over the neighbours of every atom.

        Parameters
        ----------
        species : (N,) int array
            Index of every atom's element.
        index : (2, E) int array
            Atoms and their neighbours.
        vectors : (E, 3) array
            From the atom to the neighbour, Å.

        Returns
        -------
        list of (N, n_species, N_RADIAL, 2l + 1) arrays
            For l = 0, 1, ..., by the element of the neighbour.
        """
        sums = [
            torch.zeros(len(species) * self.n_species, N_RADIAL, 2 * l + 1, dtype=torch.float64)
            for l in range(len(self.columns))
        ]
        for start in range(0, len(vectors), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            length = np.linalg.norm(vectors[part], axis=1)
            radial = radial_basis(length, self.cutoff) * switch(length, self.cutoff)[:, None]
            place = torch.as_tensor(index[0, part] * self.n_species + species[index[1, part]])
            for l, total in enumerate(sums):
                harmonics = real_harmonics(l, vectors[part])
                total.index_add_(0, place, torch.as_tensor(radial[:, :, None] * harmonics[:, None]))
        return [x.numpy().reshape(len(species), self.n_species, N_RADIAL, x.shape[2]) for x in sums]

    def forward(self, species: np.ndarray, sums: list[np.ndarray]) -> np.ndarray:
        """(N, n_onsite) two-body part of atoms, eV."""
        table = self.two_body.cpu().numpy()
        table = table.reshape(self.n_species, self.n_species, *table.shape[1:])
        result = np.zeros((len(species), table.shape[3]))
        for element in np.unique(species):
            members = np.flatnonzero(species == element)
            for columns, total in zip(self.columns, sums, strict=True):
                for m, chosen in enumerate(columns.T):
                    result[np.ix_(members, chosen)] = np.tensordot(
                        total[members, ..., m], table[element][..., chosen], axes=2
                    )
        return result

    def fit(self, slots: ShellSlots, species: np.ndarray, targets: np.ndarray, sums: list[np.ndarray], means):
        """Fill the table by ridge regression; pairs of elements that it has already are kept.

        Parameters
        ----------
        slots : ShellSlots
            Those with which the table was made.
        species : (N,) int array
            Index of every atom's element.
        targets : (N, n_onsite) array
            eV.
        sums : list of arrays
            Of :meth:`sums`.
        means : (n_species, n_onsite) array
            What is added to the two-body part of elements whose pairs are known, eV.
        """
        known = self.two_body.flatten(1).any(1).numpy().reshape(self.n_species, self.n_species)
        targets = targets - self(species, sums)
        for element in np.unique(species):
            members, new = species == element, np.flatnonzero(~known[element])
            present, _ = slots.onsite.transform(slots.species[element])
            for l, columns in enumerate(self.columns):
                columns = columns[np.isin(columns[:, 0], present)]
                if not len(columns) or not len(new):
                    continue
                design = sums[l][members][:, new].reshape(members.sum(), -1, 2 * l + 1).swapaxes(1, 2)
                target = targets[members][:, columns].swapaxes(1, 2)
                if known[element].any():
                    target = target - means[element, columns].T
                elif l == 0:
                    # The mean of the atoms is no part of it.
                    design, target = design - design.mean(axis=0), target - target.mean(axis=0)
                found = _ridge(design, target).reshape(len(new), N_RADIAL, len(columns))
                rows = torch.as_tensor(element * self.n_species + new)
                for chosen in columns.T:
                    self.two_body[rows[:, None, None], torch.arange(N_RADIAL)[:, None], torch.as_tensor(chosen)] = (
                        torch.as_tensor(found)
                    )


def _ridge(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Coefficients (n, channels) for (N, 2l + 1, n) functions and (N, 2l + 1, channels) targets; zero if none help."""
    folds = [
        (x.reshape(-1, x.shape[2]), y.reshape(-1, y.shape[2]))
        for x, y in zip(np.array_split(design, N_FOLDS), np.array_split(target, N_FOLDS), strict=True)
    ]
    normals, sides = (np.array(parts) for parts in zip(*((x.T @ x, x.T @ y) for x, y in folds), strict=True))
    normal, side = normals.sum(axis=0), sides.sum(axis=0)
    unit = np.trace(normal) / len(normal) * np.eye(len(normal))
    best, result = (target**2).sum(), np.zeros_like(side)
    if not unit.any():
        return result
    for ridge in RIDGES:
        errors = [
            ((y - x @ np.linalg.solve(normal - own + ridge * unit, side - its)) ** 2).sum()
            for (x, y), own, its in zip(folds, normals, sides, strict=True)
        ]
        if sum(errors) < best:
            best, result = sum(errors), np.linalg.solve(normal + ridge * unit, side)
    return result
