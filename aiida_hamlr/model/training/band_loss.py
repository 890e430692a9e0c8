"""Errors of bands at arbitrary k, and of H(k) in an orthonormal basis, differentiable in the predicted components.

With the Cholesky factor L of S(k) the generalised eigenproblem becomes that of ``A = L^-1 H(k) L^-H``. Only eigenvalues
enter, whose gradients ``v^+ (dA) v`` stay finite where levels are degenerate; those of eigenvectors would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from aiida_hamlr.electronic.bands.kspace import BlochSum
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.model.config import LossConfig
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.training.references import Reference


@dataclass
class BandErrors:
    """Errors of one structure, meV.

    ``bands`` is the mean absolute error of the levels in the window around the gap, ``orthonormal`` the root of
    ``sum_ij |A - A_ref|_ij^2 / n`` over the k points, which no root mean square of all level errors exceeds
    (Hoffman and Wielandt, Duke Math. J. 20, 37 (1953)).
    """

    bands: torch.Tensor
    orthonormal: torch.Tensor


@dataclass
class _Group:
    """Pairs of two elements, as :meth:`BlockFrames.pair_groups` gives them."""

    members: torch.Tensor
    columns: torch.Tensor
    tensors: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    entries: torch.Tensor


class BandReference:
    """The matrices of one structure, with which predicted components are compared at any k, in float64.

    Cost per k point: two diagonalisations of n x n matrices, n the number of orbitals.

    Parameters
    ----------
    frames : BlockFrames
        Of the structure, with the selection whose pairs the components are.
    reference : Reference
        Its H0 and H - H0, eV, its overlap, and its number of electrons.
    loss : LossConfig
        Gives the numbers of occupied and of empty bands that count.
    spin : int
        0 for spin up, 1 for spin down; 0 without collinear spin.

    Raises
    ------
    ValueError
        If the number of electrons of the spin is unknown or no integer: there is no gap to put the window around.
    """

    def __init__(self, frames: BlockFrames, reference: Reference, loss: LossConfig, spin: int = 0):
        name, filled = reference.path, reference.attributes.filled_bands
        if filled is None:
            attributes = reference.attributes
            raise ValueError(
                f'{name}: has {attributes.n_electrons} electrons'
                + (f' and {attributes.magnetization} Bohr magnetons' if attributes.n_spin == 2 else '')
                + '; training.loss.band_weight needs bands that are full or empty: a known, even number of electrons'
            )
        sums = BlochSum(frames.pattern)
        occupied = filled[spin]
        self.window = slice(max(0, occupied - loss.bands_below), min(occupied + loss.bands_above, sums.n_orbitals))
        self.name, self.n_orbitals = name, sums.n_orbitals
        self.n_pairs = len(frames.selection.blocks)
        self.images = torch.as_tensor(sums.images, dtype=torch.float64)
        self.image_of_entry = torch.as_tensor(sums.image_of_entry)
        self.element_of_entry = torch.as_tensor(sums.element_of_entry)
        self.transpose = torch.as_tensor(frames.pattern.transpose_indices)
        self.h0, self.delta, self.overlap = (
            torch.as_tensor(x, dtype=torch.float64) for x in (reference.h0, reference.spins[spin], reference.overlap)
        )
        self.pairs = [
            _Group(*(torch.as_tensor(x) for x in (members, columns, tensors, *rotations, entries)))
            for members, columns, tensors, rotations, entries in frames.pair_groups()
        ]
        self.onsite = []
        for element in np.unique(frames.species):
            atoms = np.flatnonzero(frames.species == element)
            columns, tensors = frames.slots.onsite.transform(str(element))
            entries = frames.entries(frames.pattern.onsite[atoms], tensors.shape[1:])
            self.onsite.append(tuple(torch.as_tensor(x) for x in (atoms, columns, tensors, entries)))

    def to(self, device) -> BandReference:
        """The same on a device."""
        result = object.__new__(BandReference)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                value = value.to(device)
            result.__dict__[name] = value
        result.pairs = [_Group(*(x.to(device) for x in vars(group).values())) for group in self.pairs]
        result.onsite = [tuple(x.to(device) for x in group) for group in self.onsite]
        return result

    def flat(self, onsite: torch.Tensor, pairs: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """(M,) symmetric matrix, eV, of on-site components (N, n_onsite) and those (n, n_columns) of the chosen pairs.

        ``chosen`` (n,) are the places of the pairs in the selection; one orientation of each.
        """
        onsite, pairs = onsite.double(), pairs.double()
        result = torch.zeros(len(self.delta), dtype=torch.float64, device=onsite.device)
        row = torch.full((self.n_pairs,), -1, device=onsite.device)
        row[chosen] = torch.arange(len(chosen), device=onsite.device)
        for group in self.pairs:
            present = row[group.members] >= 0
            entries = group.entries[present].reshape(-1)
            components = pairs[row[group.members][present]][:, group.columns]
            framed = torch.einsum('nc,cab->nab', components, group.tensors)
            blocks = (group.left[present] @ framed @ group.right[present].mT).reshape(-1)
            result = result.index_copy(0, entries, blocks).index_copy(0, self.transpose[entries], blocks)
        for atoms, columns, tensors, entries in self.onsite:
            blocks = torch.einsum('nc,cab->nab', onsite[atoms][:, columns], tensors)
            result = result.index_copy(0, entries.reshape(-1), blocks.reshape(-1))
        return result

    def _bloch(self, entries: torch.Tensor, kpoints: torch.Tensor) -> torch.Tensor:
        """(nk, n, n) hermitian matrices of a flat symmetric one."""
        phases = torch.exp(2j * torch.pi * (kpoints @ self.images.T))
        values = phases[:, self.image_of_entry] * entries
        matrix = torch.zeros(len(kpoints), self.n_orbitals**2, dtype=values.dtype, device=values.device)
        matrix = matrix.index_add(1, self.element_of_entry, values).reshape(-1, self.n_orbitals, self.n_orbitals)
        return 0.5 * (matrix + matrix.mH)

    def errors(self, predicted: torch.Tensor, shift: torch.Tensor, kpoints: np.ndarray) -> BandErrors:
        """Compare a predicted H - H0 with the reference.

        Parameters
        ----------
        predicted : (M,) tensor
            From :meth:`flat`, eV.
        shift : () tensor
            The fitted constant c of H -> H + c S, eV.
        kpoints : (nk, 3) array
            Fractional.

        Raises
        ------
        NumericalError
            If the overlap is not positive definite at a k point.
        """
        kpoints = torch.as_tensor(kpoints, dtype=torch.float64, device=predicted.device).reshape(-1, 3)
        factor, failed = torch.linalg.cholesky_ex(self._bloch(self.overlap, kpoints))
        if failed.any():
            raise NumericalError(
                f'{self.name}: overlap is not positive definite at k = {kpoints[failed > 0][0].tolist()}'
            )

        def orthonormal(entries):
            half = torch.linalg.solve_triangular(factor, self._bloch(entries, kpoints), upper=False)
            return torch.linalg.solve_triangular(factor, half.mH, upper=False).mH

        reference = orthonormal(self.h0 + self.delta)
        error = orthonormal(predicted - self.delta + shift.double() * self.overlap)
        levels = torch.linalg.eigvalsh(reference + error) - torch.linalg.eigvalsh(reference)
        return BandErrors(
            1e3 * levels[:, self.window].abs().mean(),
            1e3 * (error.abs().square().sum() / (len(kpoints) * self.n_orbitals)).sqrt(),
        )
