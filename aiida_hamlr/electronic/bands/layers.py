"""Layers of atoms along a lattice vector: band edges by layer, offsets, edges against the vacuum, averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.bands.mesh import MeshSolution
from aiida_hamlr.electronic.bands.projections import project_states
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: Atoms whose heights differ by less belong to one layer, Å.
LAYER_TOLERANCE = 0.5

#: Electrons per atom of a layer that lie between the Fermi level and its band edge.
EDGE_ELECTRONS = 0.01

#: Points at which averages along an axis are computed, per Å.
_POINTS_PER_ANGSTROM = 10.0


def plane_distance(atoms: Atoms, axis: int) -> float:
    """Distance of the lattice planes across lattice vector ``axis`` of a cell, Å.

    Raises
    ------
    ValueError
        If the axis is not 0, 1 or 2.
    """
    if axis not in (0, 1, 2):
        raise ValueError(f'axis {axis}: 0, 1 or 2 is needed')
    return 2 * np.pi / float(np.linalg.norm(reciprocal(atoms.cell[:])[axis]))


@dataclass(frozen=True)
class Layers:
    """Atoms in layers normal to a reciprocal vector.

    Parameters
    ----------
    heights : (n_layers,) array
        Mean height of the atoms, Å, ascending from 0 up to ``length``.
    of_atom : (N,) int array
        Layer of each atom.
    length : float
        Distance of the lattice planes of the cell, Å.
    """

    heights: np.ndarray
    of_atom: np.ndarray
    length: float

    @classmethod
    def of(cls, atoms: Atoms, axis: int = 2, tolerance: float = LAYER_TOLERANCE) -> Layers:
        """Layers of a structure along lattice vector ``axis``; neighbouring heights in one are within ``tolerance``, Å.

        Raises
        ------
        ValueError
            If the axis is not 0, 1 or 2.
        """
        length = plane_distance(atoms, axis)
        # Heights a rounding error below the upper face are those of the lower one.
        heights = (atoms.get_scaled_positions(wrap=False)[:, axis] + 1e-9) % 1.0 * length
        order = np.argsort(heights, kind='stable')
        gaps = np.diff(np.append(heights[order], heights[order[0]] + length))
        of_atom = np.empty(len(atoms), dtype=int)
        of_atom[order] = np.concatenate([[0], np.cumsum(gaps[:-1] > tolerance)])
        n_layers = of_atom.max() + 1
        if n_layers > 1 and gaps[-1] <= tolerance:
            last = of_atom == n_layers - 1
            heights = np.where(last, heights - length, heights)
            of_atom[last] = 0
        counts = np.bincount(of_atom)
        means = np.bincount(of_atom, weights=heights) / counts % length
        order = np.argsort(means)
        place = np.empty(len(order), dtype=int)
        place[order] = np.arange(len(order))
        return cls(means[order], place[of_atom], length)

    def within(self, region: tuple[float, float]) -> np.ndarray:
        """(n_layers,) whether each layer lies between the lower and the upper height of a region, Å.

        Raises
        ------
        ValueError
            If no layer does.
        """
        inside = (self.heights >= region[0]) & (self.heights <= region[1])
        if not inside.any():
            raise ValueError(
                f'no layer between {region[0]:g} and {region[1]:g} Å; they are at {self.heights.round(2).tolist()}'
            )
        return inside

    def average(self, values: np.ndarray) -> np.ndarray:
        """(n_layers,) mean over the atoms of each layer of values (N,), in their unit."""
        return np.bincount(self.of_atom, weights=values) / np.bincount(self.of_atom)


@dataclass(frozen=True)
class LayerEdges:
    """Band edges of each layer.

    Parameters
    ----------
    layers : Layers
    valence, conduction : (n_layers,) array
        eV.
    """

    layers: Layers
    valence: np.ndarray
    conduction: np.ndarray

    def offsets(self, first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
        """Valence and conduction band offset, second less first region, eV.

        Parameters
        ----------
        first, second : (float, float)
            Lower and upper height of each region, Å; take the inner layers of each material.

        Returns
        -------
        valence, conduction : float
            Differences of the means over the layers, eV.

        Raises
        ------
        ValueError
            If a region has no layer.
        """
        chosen = [self.layers.within(region) for region in (first, second)]
        return tuple(float(edge[chosen[1]].mean() - edge[chosen[0]].mean()) for edge in (self.valence, self.conduction))


def layer_edges(
    hamiltonian: Hamiltonian, mesh: MeshSolution, layers: Layers, electrons: float = EDGE_ELECTRONS
) -> LayerEdges:
    """Band edges by layer from the local density of states.

    The valence edge of a layer is the energy above which the occupied states hold ``electrons`` per atom of the layer,
    by Mulliken shares; the conduction edge likewise among the empty states.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the overlap; an insulator.
    mesh : MeshSolution
        Bands on a mesh.
    layers : Layers
        As from `Layers.of`.
    electrons : float
        Per atom.

    Returns
    -------
    LayerEdges
        Energies in eV, in the gauge of the Hamiltonian.

    Raises
    ------
    ValueError
        If the bands have no gap on the mesh, or too few empty bands were computed.
    """
    if mesh.filling is None or mesh.filling.n_occupied is None:
        reason = 'the number of electrons is not known' if mesh.filling is None else 'there is no gap on the mesh'
        raise ValueError(f'no band edges by layer: {reason}; leave out layers')
    _, shares = project_states(hamiltonian, mesh.kpoints, mesh.states, 'atom')
    membership = np.eye(len(layers.heights))[layers.of_atom]
    by_layer = (shares @ membership) / membership.sum(axis=0)
    weights = mesh.electrons_per_band * mesh.weights[:, None, None] * by_layer
    levels, weights = mesh.eigenvalues.ravel(), weights.reshape(-1, by_layer.shape[-1])
    order = np.argsort(levels)
    below = order[levels[order] < mesh.filling.fermi_level][::-1]
    above = order[levels[order] >= mesh.filling.fermi_level]
    return LayerEdges(
        layers, _edges(levels[below], weights[below], electrons), _edges(levels[above], weights[above], electrons)
    )


def _edges(levels: np.ndarray, weights: np.ndarray, electrons: float) -> np.ndarray:
    """Where the weights (n, n_layers), summed from the gap, reach a number of electrons."""
    sums = np.cumsum(weights, axis=0)
    if not len(sums) or sums[-1].min() < electrons:
        raise ValueError('too few bands were computed for the edges of all layers; raise n_bands')
    return levels[(sums >= electrons).argmax(axis=0)]


def macroscopic_average(layers: Layers, values: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray]:
    """Macroscopic average along the axis of values of the layers (Baldereschi et al., Phys. Rev. Lett. 61, 734 (1988)).

    The planar averages, joined by straight lines, are averaged over a window of one period of the crystal.

    Parameters
    ----------
    layers : Layers
        As from `Layers.of`.
    values : (n_layers,) array
        As an average by `Layers.average` of the potential of `potential_profile`, eV.
    period : float
        Distance after which the layers of the bulk crystal repeat, Å.

    Returns
    -------
    heights, averages : (n,) array
        Å, and in the unit of the values.

    Raises
    ------
    ValueError
        If the period is not between 0 and the length of the cell.
    """
    n = max(64, int(np.ceil(layers.length * _POINTS_PER_ANGSTROM)))
    heights = np.arange(n) / n * layers.length
    planar = np.interp(heights, layers.heights, values, period=layers.length)
    return heights, window_average(planar, layers.length, period)


def window_average(values: np.ndarray, length: float, period: float) -> np.ndarray:
    """Averages of equally spaced values of one cell over a window around each point.

    For two crystals of different periods take the averages over both windows, one after the other.

    Parameters
    ----------
    values : (n,) array
        At the heights 0, length / n, ...; any unit.
    length : float
        Of the cell, Å.
    period : float
        Width of the window, Å.

    Returns
    -------
    (n,) array
        In the unit of the values.

    Raises
    ------
    ValueError
        If the window is not between 0 and the length of the cell.
    """
    if not 0 < period <= length:
        raise ValueError(f'period {period:g} Å: it must lie between 0 and {length:g} Å, the length of the cell')
    n = len(values)
    # The average over a window of a Fourier component exp(i q z) is a factor sin(x) / x with x = q period / 2.
    factors = np.sinc(np.fft.rfftfreq(n, length / n) * period)
    return np.fft.irfft(np.fft.rfft(values) * factors, n)
