"""All that is wanted of one Hamiltonian in one call, with one diagonalisation on the mesh."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from aiida_hamlr.electronic.bands.band_structure import Bands, band_edges, band_structure
from aiida_hamlr.electronic.bands.charges import mulliken_charges
from aiida_hamlr.electronic.bands.density_of_states import BROADENING, density_of_states
from aiida_hamlr.electronic.bands.kpoints import PATH_SPACING
from aiida_hamlr.electronic.bands.levels import onsite_levels, potential_profile
from aiida_hamlr.electronic.bands.mesh import (
    MeshSolution,
    default_mesh,
    default_n_bands,
    recorded_threshold,
    solve_mesh,
)
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: What `compute_properties` knows, and of it what needs the bands on a mesh.
OUTPUTS = ('gap', 'bands', 'dos', 'charges', 'profile')
_ON_MESH = frozenset({'gap', 'bands', 'dos', 'charges'})


@dataclass(frozen=True)
class PropertyOptions:
    """How properties are computed.

    Parameters
    ----------
    kpoints : three int, optional
        Mesh for Fermi level, gap, density of states and charges; default: see `default_mesh`.
    n_bands : int, optional
        Number of the lowest bands; default: see `default_n_bands`.
    path : str or path
        'auto' or a file with the path of the bands, see `find_band_path`.
    spacing : float
        Distance of the points of the path, 1/Å.
    broadening : float
        Standard deviation of the Gaussians of the density of states, eV.
    overlap_threshold : float, optional
        See `eigenvalues`; default: the recorded one.
    """

    kpoints: tuple[int, int, int] | None = None
    n_bands: int | None = None
    path: str | Path = 'auto'
    spacing: float = PATH_SPACING
    broadening: float = BROADENING
    overlap_threshold: float | None = None


@dataclass
class PropertyResults:
    """What `compute_properties` found.

    Parameters
    ----------
    scalars : dict
        Plain JSON values, keys with their units: the keys of `BandAttributes` and ``n_ghost_states``.
    bands : Bands, optional
        Along the path.
    properties : Properties, optional
        Density of states, charges and profile.
    mesh : MeshSolution, optional
        Bands on the mesh.
    """

    scalars: dict = field(default_factory=dict)
    bands: Bands | None = None
    properties: Properties | None = None
    mesh: MeshSolution | None = None


def compute_properties(
    hamiltonian: Hamiltonian, outputs: Collection[str], options: PropertyOptions | None = None
) -> PropertyResults:
    """Bands, gap, density of states, charges and profile of one Hamiltonian, as far as wanted.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``; 'profile' needs ``h0``, 'charges' the pseudopotentials.
    outputs : collection of str
        Of ``OUTPUTS``; other names are ignored. 'gap' gives the scalars on the mesh alone; with 'bands' they are those
        of path and mesh together.
    options : PropertyOptions, optional
        Default: all settings at their defaults.

    Returns
    -------
    PropertyResults
        Scalars, bands and properties; energies in eV.

    Raises
    ------
    ValueError
        If the Hamiltonian lacks what an output needs.
    """
    options, wanted = options or PropertyOptions(), set(outputs)
    results = PropertyResults()
    if wanted & _ON_MESH:
        results.mesh = solve_mesh(
            hamiltonian,
            options.kpoints or default_mesh(hamiltonian),
            n_bands=options.n_bands or default_n_bands(hamiltonian),
            overlap_threshold=recorded_threshold(hamiltonian, options.overlap_threshold),
        )
        results.scalars['n_ghost_states'] = results.mesh.n_ghosts
    if 'bands' in wanted:
        n_bands = options.n_bands or default_n_bands(hamiltonian)
        results.bands = band_structure(hamiltonian, options.path, results.mesh, n_bands, options.spacing)
        results.scalars |= results.bands.attributes.to_dict()
    elif results.mesh is not None:
        results.scalars |= band_edges(hamiltonian, results.mesh).to_dict()
    if wanted & {'dos', 'charges', 'profile'}:
        results.properties = _properties(hamiltonian, results.mesh, wanted, options)
    return results


def _properties(
    hamiltonian: Hamiltonian, mesh: MeshSolution | None, wanted: set[str], options: PropertyOptions
) -> Properties:
    properties = Properties(hamiltonian.species, hamiltonian.atoms.positions)
    if 'dos' in wanted:
        dos = density_of_states(hamiltonian, mesh, options.broadening)
        properties.dos_energies, properties.dos = dos.energies, dos.values
    if 'charges' in wanted:
        properties.charges = mulliken_charges(hamiltonian, mesh)
    if 'profile' in wanted:
        properties.levels = onsite_levels(hamiltonian)
        properties.potential = potential_profile(hamiltonian)
    return properties
