"""Potentials and fields of smeared charges and dipoles at the atoms of a crystal, by sums over waves.

With charges Q_i the energy is E = 1/2 sum_ij Q_i Q_j v(tau_i - tau_j), where v has the Fourier transform
(4 pi e2 / Omega) exp(-s^2 k^2 / 2) / k^2 and k = 0 is left out, as plane-wave codes do for neutral cells. The term
i = j stays in. Units: e, Å, V, eV.
"""

from __future__ import annotations

import math

import torch

from aiida_hamlr.electronic.units import COULOMB

#: exp(-s^2 k^2 / 2) below this is neglected.
TOLERANCE = 1e-13

#: k vectors times atoms that are held at once.
BLOCK = 4_000_000


def half_space_vectors(cell: torch.Tensor, width: float) -> torch.Tensor:
    """(n, 3) one of every pair k, -k of reciprocal lattice vectors at which the kernel is not negligible, 1/Å.

    Parameters
    ----------
    cell : (3, 3) tensor
        Lattice vectors in rows, Å.
    width : float
        Width s of the kernel, Å.
    """
    cutoff = _cutoff(width)
    reciprocal = 2 * math.pi * torch.linalg.inv(cell).T
    bounds = [math.ceil(cutoff * float(length) / (2 * math.pi)) for length in cell.norm(dim=1)]
    axes = [torch.arange(-bound, bound + 1, device=cell.device) for bound in bounds]
    integers = torch.cartesian_prod(*axes)
    # The first non-zero integer is positive: k = 0 and one of k, -k drop out.
    x, y, z = integers.T
    positive = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    vectors = integers[positive].to(cell.dtype) @ reciprocal
    return vectors[vectors.square().sum(1) < cutoff**2]


def count_half_space_vectors(cell: torch.Tensor, width: float) -> int:
    """About how many vectors :func:`half_space_vectors` gives, without making them."""
    volume = float(torch.linalg.det(cell.detach()).abs())
    return round(volume * _cutoff(width) ** 3 / (12 * math.pi**2))


def _cutoff(width: float) -> float:
    return math.sqrt(-2.0 * math.log(TOLERANCE)) / width


def weighted_blocks(cell: torch.Tensor, width: float, n_atoms: int):
    """Blocks of k vectors with their weights in sums over all k, both halves."""
    vectors = half_space_vectors(cell, width)
    squares = vectors.square().sum(1)
    volume = torch.linalg.det(cell).abs()
    weights = 8 * math.pi * COULOMB / volume * torch.exp(-0.5 * width**2 * squares) / squares
    size = max(1, BLOCK // max(n_atoms, 1))
    return zip(vectors.split(size), weights.split(size), strict=True)


def coulomb_matrices(cell: torch.Tensor, positions: torch.Tensor, width: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Potentials and fields at all atoms of unit charges at all atoms; cost N^2 times the number of k vectors.

    Parameters
    ----------
    cell, positions : (3, 3) and (N, 3) float64 tensors
        Å.
    width : float
        Width s of the kernel, Å.

    Returns
    -------
    potential : (N, N) tensor
        At atom i of a charge at atom j, V per e.
    field : (N, N, 3) tensor
        ``-d V_ij / d tau_i``, V/Å per e.
    """
    n_atoms = len(positions)
    potential = positions.new_zeros(n_atoms, n_atoms)
    field = positions.new_zeros(n_atoms, n_atoms, 3)
    for vectors, weights in weighted_blocks(cell, width, n_atoms):
        phase = positions @ vectors.T
        cosine, sine = phase.cos(), phase.sin()
        potential += (cosine * weights) @ cosine.T + (sine * weights) @ sine.T
        for axis in range(3):
            factor = weights * vectors[:, axis]
            field[:, :, axis] += (sine * factor) @ cosine.T - (cosine * factor) @ sine.T
    return potential, field


def dipole_matrix(cell: torch.Tensor, positions: torch.Tensor, width: float) -> torch.Tensor:
    """(N, N, 3, 3) matrix T: minus the field at atom i of a unit dipole at atom j, V/Å per e Å.

    Arguments as of :func:`coulomb_matrices`.
    """
    n_atoms = len(positions)
    matrix = positions.new_zeros(n_atoms, n_atoms, 3, 3)
    for vectors, weights in weighted_blocks(cell, width, n_atoms):
        phase = positions @ vectors.T
        cosine, sine = phase.cos(), phase.sin()
        for a in range(3):
            for b in range(a + 1):
                factor = weights * vectors[:, a] * vectors[:, b]
                matrix[:, :, a, b] += (cosine * factor) @ cosine.T + (sine * factor) @ sine.T
    for a in range(3):
        for b in range(a):
            matrix[:, :, b, a] = matrix[:, :, a, b]
    return matrix


class DirectSum:
    """Potentials and fields at the atoms of charges and dipoles at the atoms, through structure factors.

    Cost and number of phases N times the number of k vectors, so N^2 at a given density; phases are kept if they fit
    into one block, otherwise made anew in every call. A charge has the factor ``exp(-i k tau)``, a dipole p
    ``-i k.p exp(-i k tau)``. Differentiable with respect to charges, dipoles and positions.

    Parameters
    ----------
    cell, positions : (3, 3) and (N, 3) float64 tensors
        Å.
    width : float
        Width s of the kernel, Å.
    """

    def __init__(self, cell: torch.Tensor, positions: torch.Tensor, width: float):
        self.positions = positions
        #: (N,) structure of every atom: of one structure, zeros.
        self.batch = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
        blocks = list(weighted_blocks(cell, width, len(positions)))
        self._blocks = [(*block, *self._phases(block[0])) for block in blocks] if len(blocks) == 1 else blocks

    def _phases(self, vectors):
        phase = self.positions @ vectors.T
        return phase.cos(), phase.sin()

    def __call__(
        self, charges: torch.Tensor | None, dipoles: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Potential (N,), V, and field (N, 3), V/Å.

        Parameters
        ----------
        charges : (N,) tensor or None
            e.
        dipoles : (N, 3) tensor, optional
            e Å.
        """
        potential, field = self.positions.new_zeros(len(self.positions)), torch.zeros_like(self.positions)
        for block in self._blocks:
            vectors, weights = block[:2]
            cosine, sine = block[2:] or self._phases(vectors)
            real = imaginary = 0.0
            if charges is not None:
                real, imaginary = charges @ cosine, charges @ sine
            if dipoles is not None:
                real = real - (vectors.T * (dipoles.T @ sine)).sum(0)
                imaginary = imaginary + (vectors.T * (dipoles.T @ cosine)).sum(0)
            real, imaginary = weights * real, weights * imaginary
            potential = potential + cosine @ real + sine @ imaginary
            field = field + sine @ (real[:, None] * vectors) - cosine @ (imaginary[:, None] * vectors)
        return potential, field
