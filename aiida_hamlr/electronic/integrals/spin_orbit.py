"""Spin-orbit coupling of a Hamiltonian from its pseudopotentials: exact, and without DFT or a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.lattice import unit_vector
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.siblings import fully_relativistic


def add_spin_orbit(
    hamiltonian: Hamiltonian,
    siblings: Mapping[str, Pseudopotential] | None = None,
    tables: TwoCentreTables | None = None,
    magnetization_axis: Sequence[float] | None = None,
):
    """Add the matrix ``spin_orbit`` to a Hamiltonian; its bands are those of spinors from then on.

    In a calculation with norm-conserving pseudopotentials the spin-orbit term is all in their nonlocal part, so that
    the two-centre integrals give it exactly, whatever the Hamiltonian comes from. What it changes in the density is
    left out, unless the Hamiltonian is that of a run with spin-orbit coupling.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With its pseudopotentials.
    siblings : mapping of str to Pseudopotential, optional
        Fully relativistic versions of its pseudopotentials, as far as these are scalar-relativistic.
    tables : TwoCentreTables, optional
        Those of its basis and the fully relativistic pseudopotentials, if they were made before.
    magnetization_axis : (3,) array, optional
        Cartesian, of any length: where spin up of a collinear Hamiltonian points; default: along z.

    Raises
    ------
    ValueError
        If a species has no fully relativistic pseudopotential, or one that does not belong to its scalar one, or an
        axis is given to a Hamiltonian without collinear spin.
    """
    if tables is None:
        tables = spin_orbit_tables(hamiltonian, siblings)
    hamiltonian.matrices[SPIN_ORBIT] = tables.spin_orbit_part(hamiltonian.atoms, hamiltonian.pattern)
    if magnetization_axis is not None:
        set_magnetization_axis(hamiltonian, magnetization_axis)


def set_magnetization_axis(hamiltonian: Hamiltonian, axis: Sequence[float]):
    """Let spin up of a collinear Hamiltonian with a spin-orbit part point along an axis.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With two spins and the spin-orbit part.
    axis : (3,) array
        Cartesian, of any length.

    Raises
    ------
    ValueError
        If it lacks one of both, or the axis is zero.
    """
    if hamiltonian.n_spin == 1 or not hamiltonian.has_spin_orbit:
        missing = 'collinear spin' if hamiltonian.n_spin == 1 else 'spin-orbit coupling'
        raise ValueError(f'{hamiltonian.atoms.get_chemical_formula()}: a magnetization axis needs {missing}')
    hamiltonian.attributes.magnetization_axis = unit_vector(axis, 'magnetization axis').tolist()


def spin_orbit_coupling(hamiltonian: Hamiltonian, siblings: Mapping[str, Pseudopotential] | None = None) -> np.ndarray:
    """K_x, K_y and K_z (3, M) of a Hamiltonian, eV, which is left as it is; see `add_spin_orbit`.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With its pseudopotentials; its spin does not matter.
    siblings : mapping of str to Pseudopotential, optional
        Fully relativistic versions of its pseudopotentials, as far as these are scalar-relativistic.

    Raises
    ------
    ValueError
        If a species has no fully relativistic pseudopotential, or one that does not belong to its scalar one.
    """
    return spin_orbit_tables(hamiltonian, siblings).spin_orbit_part(hamiltonian.atoms, hamiltonian.pattern)


def spin_orbit_tables(
    hamiltonian: Hamiltonian, siblings: Mapping[str, Pseudopotential] | None = None
) -> TwoCentreTables:
    """Tables of the spin-orbit part for the basis of a Hamiltonian; see `add_spin_orbit`."""
    texts = hamiltonian.pseudopotentials
    pseudos = {label: Pseudopotential.from_text(text, f'pseudopotential of {label}') for label, text in texts.items()}
    return TwoCentreTables(hamiltonian.basis, fully_relativistic(hamiltonian.basis, pseudos, siblings))
