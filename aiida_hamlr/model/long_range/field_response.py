"""Response of a crystal of polarisable charges to a macroscopic field: dielectric tensor and Born charges.

The operators of :mod:`long_range` leave out k = 0, so that their fields are those at zero macroscopic field, to which a
field E is added. With the dipoles w_a that a unit field along a induces, of (1 + a T) w_a = a e_a, a = alpha / e2,

    eps_ab = delta_ab + 4 pi e2 / Omega sum_i w_a,ib.

The Born charge is the derivative of the cell's dipole, sum_i Z_i tau_i + p_i, with respect to the position of an atom
at E = 0, with charges, polarisabilities and permanent dipoles of the atoms held fixed. The change of the dipoles
p = p0 + a (F Z - T p) is not needed for it, since the matrix is symmetric (the 2n+1 theorem):

    Z*_i,ab = Z_i delta_ab + d/d tau_ib sum_j w_a,j . E_j(tau)    at constant Z and p,

with the field E = F Z - T p at the atoms. Charges of zero sum fulfil the acoustic sum rule, sum_i Z*_i = 0.
Units: e, Å, V.
"""

from __future__ import annotations

import math

import torch

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model.long_range.ewald import DirectSum
from aiida_hamlr.model.long_range.polarisation import TOLERANCE, solve_dipoles


def field_response(
    cell: torch.Tensor,
    positions: torch.Tensor,
    width: float,
    charges: torch.Tensor,
    polarisabilities: torch.Tensor,
    permanent: torch.Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Dielectric tensor and Born charges of one crystal, by direct sums.

    Differentiable (once) with respect to charges, polarisabilities and permanent dipoles.

    Parameters
    ----------
    cell, positions : (3, 3) and (N, 3) float64 tensors
        Å.
    width : float
        Width s of the kernel, Å.
    charges : (N,) tensor
        Of zero sum, e.
    polarisabilities : (N,) tensor
        Å^3.
    permanent : (N, 3) tensor, optional
        Dipoles without a field, e Å.
    tolerance : float
        Of the dipoles' residuals, relative.

    Returns
    -------
    dielectric_tensor : (3, 3) tensor
    born_charges : (N, 3, 3) tensor
        ``[i, a, b]``: dipole of the cell along a per displacement of atom i along b, e.

    Raises
    ------
    ValueError
        If a polarisability is negative.
    NumericalError
        If the dipoles do not become self-consistent.
    """
    operator, unit = DirectSum(cell, positions, width), torch.eye(3, dtype=positions.dtype, device=positions.device)
    induced = torch.stack(
        [
            solve_dipoles(operator, torch.zeros_like(charges), polarisabilities, None, field, tolerance=tolerance)[0]
            for field in unit
        ]
    )
    tensor = unit + 4 * math.pi * COULOMB / torch.linalg.det(cell).abs() * induced.sum(1)
    dipoles, _ = solve_dipoles(operator, charges, polarisabilities, permanent, tolerance=tolerance)
    is_differentiable = induced.requires_grad or dipoles.requires_grad
    with torch.enable_grad():
        moved = positions.detach().requires_grad_()
        field = DirectSum(cell, moved, width)(charges, dipoles)[1]
        changes = [
            torch.autograd.grad(field, moved, one, retain_graph=True, create_graph=is_differentiable)[0]
            for one in induced
        ]
    return tensor, charges[:, None, None] * unit + torch.stack(changes, dim=1)


def screened_charges(dielectric_tensor: torch.Tensor, born_charges: torch.Tensor) -> torch.Tensor:
    """(N,) a third of the trace of the inverse dielectric tensor (3, 3) times the Born charges (N, 3, 3), e.

    In a cubic crystal this is Z*/eps, the charge that acts alike without polarising its surroundings.
    """
    screened = torch.linalg.solve(dielectric_tensor, born_charges)
    return screened.diagonal(dim1=1, dim2=2).sum(1) / 3
