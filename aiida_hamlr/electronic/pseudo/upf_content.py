"""The numbers of a UPF file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Projector:
    """A projector of the separable nonlocal potential.

    Parameters
    ----------
    angular_momentum : int
    values : (n,) array
        ``r beta(r)`` on the mesh of the file, zero beyond the end of the projector, bohr^-1/2.
    cutoff_index : int
        Number of mesh points that the file gives the projector.
    total_angular_momentum : float or None
        j, of a fully relativistic file.
    """

    angular_momentum: int
    values: np.ndarray
    cutoff_index: int
    total_angular_momentum: float | None = None


@dataclass(frozen=True)
class PseudoWavefunction:
    """A radial orbital of the free pseudo-atom.

    Parameters
    ----------
    label : str
        As in '3S'.
    angular_momentum : int
    occupation : float
        Electrons in the shell; zero or negative for a shell that is only there for projections.
    values : (n,) array
        ``r R(r)`` on the mesh of the file, bohr^-1/2.
    energy : float or None
        Level in eV; None where the file does not say.
    """

    label: str
    angular_momentum: int
    occupation: float
    values: np.ndarray
    energy: float | None = None


@dataclass(frozen=True)
class UpfContent:
    """The numbers of a UPF file; shapes and units are those of `Pseudopotential`."""

    element: str
    z_valence: float
    functional: str
    r: np.ndarray
    rab: np.ndarray
    v_local: np.ndarray
    rho_atom: np.ndarray
    core_density: np.ndarray | None = None
    projectors: tuple[Projector, ...] = ()
    dij: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    wavefunctions: tuple[PseudoWavefunction, ...] = ()
    spin_orbit_dij: np.ndarray | None = None
