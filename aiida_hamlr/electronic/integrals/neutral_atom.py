"""The potential of superposed neutral atoms on the FFT grid, and the zero of energy that goes with it.

Inside: bohr and Ry; results: eV.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from ase import Atoms
from scipy import fft
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.integrals.structure_factor import fast_structure_factor
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.xc import xc_potential_grid
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.electronic.units import BOHR, RYDBERG

#: Spacing of the wave vectors at which form factors are tabulated, bohr^-1.
Q_STEP = 0.01

#: Atoms above which structure factors are made by a fast Fourier transform.
LARGEST_DIRECT = 1000

#: Complex numbers of one slab of the structure-factor product.
SLAB_SIZE = 8_000_000


def neutral_atom_form_factor(pseudo: Pseudopotential, q: np.ndarray) -> np.ndarray:
    """Fourier transform of ``V_loc + V_H[rho_atom]`` of one neutral atom, Ry bohr^3.

    It is short-ranged, so its limit at ``q = 0`` is finite: that of the local potential's finite part less
    ``4 pi e^2 / 6 <r^2>`` of the electrons (``e^2 = 2``).

    Parameters
    ----------
    pseudo : Pseudopotential
        Local potential and density of the atom.
    q : array
        bohr^-1.
    """
    q = np.asarray(q, dtype=float)
    finite = q > 1e-8
    hartree = 8 * np.pi * pseudo.density_form_factor(q) / np.where(finite, q, 1.0) ** 2
    return pseudo.local_form_factor(q) + np.where(finite, hartree, -4 * np.pi / 3 * pseudo.r2_moment)


class ReciprocalGrid:
    """Half of the reciprocal vectors of an FFT grid, those that the transform of a real function needs.

    Parameters
    ----------
    cell : (3, 3) array
        Å.
    shape : three int
        Dimensions of the real-space grid.
    ecutrho : float
        Vectors with ``|G|^2`` above it (Ry, bohr^-2) carry nothing.
    """

    def __init__(self, cell: np.ndarray, shape: tuple[int, int, int], ecutrho: float):
        self.cell = np.asarray(cell) / BOHR
        self.shape = tuple(int(n) for n in shape)
        self.volume = abs(np.linalg.det(self.cell))
        vectors = reciprocal(self.cell)
        self.indices = [fft.fftfreq(n, 1 / n) for n in self.shape[:2]] + [np.arange(self.shape[2] // 2 + 1)]
        metric = vectors @ vectors.T
        a, b, c = np.ix_(*self.indices)
        squared = metric[0, 0] * a**2 + metric[1, 1] * b**2 + metric[2, 2] * c**2
        squared = squared + 2 * (metric[0, 1] * a * b + metric[0, 2] * a * c + metric[1, 2] * b * c)
        self.inside = squared <= ecutrho * (1 + 1e-10)
        self.lengths = np.sqrt(np.maximum(squared[self.inside], 0.0))

    def structure_factor(self, positions: np.ndarray) -> np.ndarray:
        """``sum_a exp(-i G.tau_a)`` for atoms at ``positions`` (n, 3), bohr, on the vectors within the cutoff.

        The phases factorise along the three axes, so that the sum is one matrix product; for many atoms a fast Fourier
        transform takes less.
        """
        fractional = positions @ np.linalg.inv(self.cell)
        if len(positions) > LARGEST_DIRECT:
            return fast_structure_factor(fractional, self.shape)[self.inside]
        first, second, third = (
            np.exp(-2j * np.pi * fractional[:, axis, None] * self.indices[axis]) for axis in range(3)
        )
        result = np.empty((len(self.indices[0]), len(self.indices[1]), len(self.indices[2])), dtype=complex)
        rows = max(1, SLAB_SIZE // (len(positions) * third.shape[1]))
        for start in range(0, second.shape[1], rows):
            slab = second[:, start : start + rows, None] * third[:, None, :]
            product = first.T @ slab.reshape(len(positions), -1)
            result[:, start : start + rows] = product.reshape(len(first.T), -1, third.shape[1])
        return result[self.inside]

    def to_real(self, coefficients: np.ndarray) -> np.ndarray:
        """Real-space values of ``sum_G c_G exp(i G.r)``, c given within the cutoff."""
        full = np.zeros(self.inside.shape, dtype=complex)
        full[self.inside] = coefficients
        return fft.irfftn(full, s=self.shape, workers=1) * np.prod(self.shape)

    def form_factor(self, function) -> np.ndarray:
        """A smooth radial function of q at the lengths of all vectors, by a spline."""
        return CubicSpline(self.table_mesh, function(self.table_mesh))(self.lengths)

    @property
    def table_mesh(self) -> np.ndarray:
        """Mesh of q on which form factors are tabulated, bohr^-1."""
        return Q_STEP * np.arange(int(np.ceil(self.lengths.max() / Q_STEP)) + 2)


@lru_cache(maxsize=64)
def _neutral_atom_splines(pseudo: Pseudopotential, n: int) -> CubicSpline:
    """Potential of the neutral atom, and its density with the core, of q; the same for every structure."""
    q = Q_STEP * np.arange(n)
    density = pseudo.density_form_factor(q) + pseudo.core_form_factor(q)
    return CubicSpline(q, np.stack([neutral_atom_form_factor(pseudo, q), density], axis=1))


def neutral_atom_potential(
    atoms: Atoms, pseudos: Mapping[str, Pseudopotential], grid: tuple[int, int, int], ecutrho: float
) -> np.ndarray:
    """``sum_a (V_loc + V_H[rho_a]) + V_xc[sum_a rho_a + core]``: the Kohn-Sham potential before any self-consistency.

    Its zero of energy is the neutral-atom gauge: the vacuum level outside any collection of neutral atoms.

    Parameters
    ----------
    atoms : ase.Atoms
        Taken as periodic in all three directions.
    pseudos : mapping of str to Pseudopotential
        One of every element, all of one functional.
    grid : three int
        FFT dimensions, as `fft_grid` gives them.
    ecutrho : float
        Ry.

    Returns
    -------
    (n1, n2, n3) array
        eV.

    Raises
    ------
    ValueError
        If a pseudopotential is missing or their functionals differ.
    """
    labels = np.array(species_labels(atoms))
    functional = common_functional(labels, pseudos)
    vectors = ReciprocalGrid(atoms.cell[:], grid, ecutrho)
    potential = np.zeros(len(vectors.lengths), dtype=complex)
    density = np.zeros_like(potential)
    for element in sorted(set(labels)):
        pseudo = pseudos[element]
        phases = vectors.structure_factor(atoms.positions[labels == element] / BOHR) / vectors.volume
        splines = _neutral_atom_splines(pseudo, len(vectors.table_mesh))
        factors = splines(vectors.lengths)
        potential += phases * factors[:, 0]
        density += phases * factors[:, 1]
    exchange = xc_potential_grid(functional, vectors.to_real(density), vectors.cell, ecutrho)
    return (vectors.to_real(potential) + exchange) * RYDBERG


def common_functional(labels, pseudos: Mapping[str, Pseudopotential]) -> str:
    """The functional of the pseudopotentials of some elements.

    Raises
    ------
    ValueError
        If an element has no pseudopotential, or the functionals differ.
    """
    elements = sorted(set(labels))
    missing = [element for element in elements if element not in pseudos]
    if missing:
        raise ValueError(f'no pseudopotential for {", ".join(missing)}')
    functionals = {element: pseudos[element].functional for element in elements}
    if len(set(functionals.values())) > 1:
        listed = ', '.join(f'{element} {name}' for element, name in functionals.items())
        raise ValueError(f'the pseudopotentials are of different functionals: {listed}')
    return functionals[elements[0]]


def gauge_shift(atoms: Atoms, pseudos: Mapping[str, Pseudopotential]) -> float:
    """What to add, times S, to a plane-wave code's H for the neutral-atom gauge, eV.

    The plane-wave code leaves out the ``G = 0`` term of the Hartree potential; that of superposed neutral atoms is
    ``-(2 pi e^2 / 3 Omega) sum_a <r^2>_a``, with the mean square radius of their electrons.

    Parameters
    ----------
    atoms : ase.Atoms
        The cell and its elements.
    pseudos : mapping of str to Pseudopotential
        One of every element.
    """
    moments = sum(pseudos[label].r2_moment for label in species_labels(atoms))
    return -4 * np.pi / 3 * moments / (atoms.get_volume() / BOHR**3) * RYDBERG
