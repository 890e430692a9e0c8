"""Potentials and fields of smeared charges and dipoles on a mesh, for large cells.

Cost N log N at a given density and accuracy. The mesh takes the charges and dipoles by B-splines of order five
(smooth particle mesh Ewald, Essmann et al., J. Chem. Phys. 103, 8577 (1995); P3M, Deserno and Holm,
J. Chem. Phys. 109, 7678 (1998)), interpolated by torch-pme, and the kernel is that of
:class:`~aiida_hamlr.model.long_range.ewald.DirectSum`: there is no part in real space. torch-pme's calculators give
potentials of charges alone; here fields and dipoles are multiplied by ik on the mesh, so that the matrix of the dipoles
stays symmetric and positive semidefinite whatever the spacing.
"""

from __future__ import annotations

import math

import scipy.fft
import torch
from torchpme import CoulombPotential
from torchpme.lib import MeshInterpolator

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model.long_range.ewald import DirectSum, count_half_space_vectors

#: Points along each axis that take part of a charge: the order of the splines.
ORDER = 5

#: Atoms times k vectors up to which direct sums are as fast as the mesh.
DIRECT_SIZE = 2_000_000

#: The spacing is at most this part of the width, so that exp(-s^2 k^2 / 2) is below 1e-8 where the mesh ends.
LARGEST_SPACING = 0.5

#: The estimate neglects all aliases but the nearest, and how they grow with k.
SAFETY = 2.0


def mesh_error(spacing: float, width: float, density: float) -> float:
    """Root mean square error that a mesh makes in the potential at an atom, V, for charges of 1 e (root mean square).

    Aliases of a wave k along an axis have the weight (k h / 2 pi)^n in splines of order n, at the source and at the
    target; their squares, summed over the kernel for charges without correlation, give a Gaussian integral. The error
    of the field is larger by sqrt(n - 1/2) / s.

    Parameters
    ----------
    spacing : float
        Largest distance h of mesh points along a lattice vector, Å.
    width : float
        Width s of the kernel, Å.
    density : float
        Atoms per Å^3.
    """
    moment = 4 * math.pi / (2 * ORDER + 1) * math.gamma(ORDER - 0.5) / (2 * width ** (2 * ORDER - 1))
    kernel = (4 * math.pi * COULOMB) ** 2 / (2 * math.pi) ** 3
    return SAFETY * math.sqrt(12 * density * kernel * moment) * (spacing / (2 * math.pi)) ** ORDER


def mesh_spacing(accuracy: float, width: float, density: float) -> float:
    """Spacing for an accuracy of the potential, Å: :func:`mesh_error` solved for the spacing."""
    return min((accuracy / mesh_error(1.0, width, density)) ** (1 / ORDER), LARGEST_SPACING * width)


class ParticleMesh:
    """What :class:`~aiida_hamlr.model.long_range.ewald.DirectSum` gives, to a given accuracy; cost N log N.

    Differentiable with respect to charges, dipoles and positions.

    Parameters
    ----------
    cell, positions : (3, 3) and (N, 3) float64 tensors
        Å.
    width : float
        Width s of the kernel, Å.
    accuracy : float
        Root mean square error of the potentials at the atoms for charges of 1 e, V; recommended 1e-5.

    Raises
    ------
    ValueError
        If the accuracy is not positive.
    """

    def __init__(self, cell: torch.Tensor, positions: torch.Tensor, width: float, accuracy: float):
        if accuracy <= 0:
            raise ValueError(f'the accuracy of a particle mesh is {accuracy}; it must be positive')
        self.positions = positions
        #: (N,) structure of every atom: of one structure, zeros.
        self.batch = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
        volume = float(torch.linalg.det(cell.detach()).abs())
        spacing = mesh_spacing(accuracy, width, len(positions) / volume)
        # Odd numbers have no Nyquist frequency, whose derivative has no sign.
        self.shape = [_odd_fast_length(math.ceil(float(length) / spacing)) for length in cell.norm(dim=1)]
        self._mesh = MeshInterpolator(cell, torch.tensor(self.shape, device=cell.device), ORDER, method='P3M')
        self._mesh.compute_weights(positions)
        integers = [torch.fft.fftfreq(n, 1 / n, dtype=cell.dtype, device=cell.device) for n in self.shape[:2]]
        integers.append(torch.fft.rfftfreq(self.shape[2], 1 / self.shape[2], dtype=cell.dtype, device=cell.device))
        reciprocal = 2 * math.pi * torch.linalg.inv(cell).T
        grids = torch.meshgrid(*integers, indexing='ij')
        self._vectors = [
            sum(grid * row[axis] for grid, row in zip(grids, reciprocal, strict=True)) for axis in range(3)
        ]
        kernel = CoulombPotential(smearing=width, prefactor=COULOMB).to(cell)
        squares = sum(vector.square() for vector in self._vectors)
        # The splines damp a wave when it is put on the mesh and again when it is read.
        damping = torch.ones_like(squares)
        for grid, n in zip(grids, self.shape, strict=True):
            damping = damping * torch.sinc(grid / n) ** (2 * ORDER)
        self._kernel = kernel.lr_from_k_sq(squares) / volume / damping

    def __call__(
        self, charges: torch.Tensor | None, dipoles: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Potential (N,), V, and field (N, 3), V/Å; arguments as of a direct sum."""
        waves = torch.zeros_like(self._kernel, dtype=torch.complex128)
        if charges is not None:
            waves = waves + self._to_waves(charges)
        if dipoles is not None:
            for axis in range(3):
                waves = waves - 1j * self._vectors[axis] * self._to_waves(dipoles[:, axis])
        waves = self._kernel * waves
        potential = self._to_atoms(waves)
        field = torch.stack([self._to_atoms(-1j * vector * waves) for vector in self._vectors], dim=1)
        return potential, field

    def _to_waves(self, values):
        return torch.fft.rfftn(self._mesh.points_to_mesh(values[:, None])[0])

    def _to_atoms(self, waves):
        mesh = torch.fft.irfftn(waves, s=self.shape, norm='forward')
        return self._mesh.mesh_to_points(mesh[None])[:, 0]


def _odd_fast_length(least: int) -> int:
    """Smallest odd number, not below ``least``, that fast Fourier transforms like."""
    length = max(least, ORDER)
    while length % 2 == 0 or scipy.fft.next_fast_len(length) != length:
        length += 1
    return length


def prefers_mesh(n_atoms: int, cell: torch.Tensor, width: float, accuracy: float | None) -> bool:
    """Whether a mesh of some accuracy costs less than direct sums; arguments as of :func:`coulomb_operator`."""
    return accuracy is not None and n_atoms * count_half_space_vectors(cell, width) > DIRECT_SIZE


def coulomb_operator(cell: torch.Tensor, positions: torch.Tensor, width: float, accuracy: float | None):
    """Direct sums for small cells and the particle mesh for large ones, whichever costs less.

    Parameters
    ----------
    cell, positions : (3, 3) and (N, 3) float64 tensors
        Å.
    width : float
        Width s of the kernel, Å.
    accuracy : float or None
        Of the mesh, V for charges of 1 e; None: direct sums always.
    """
    if prefers_mesh(len(positions), cell, width, accuracy):
        return ParticleMesh(cell, positions, width, accuracy)
    return DirectSum(cell, positions, width)
