"""All that is wanted of one Hamiltonian in one call, with one diagonalisation on the mesh."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.bands.band_structure import Bands, band_structure
from aiida_hamlr.electronic.bands.charges import check_pseudopotentials, mulliken_charges
from aiida_hamlr.electronic.bands.density_of_states import BROADENING, density_of_states
from aiida_hamlr.electronic.bands.derivatives import edge_masses
from aiida_hamlr.electronic.bands.edges import find_edges
from aiida_hamlr.electronic.bands.kpoints import PATH_SPACING
from aiida_hamlr.electronic.bands.layers import Layers, layer_edges, plane_distance, window_average
from aiida_hamlr.electronic.bands.levels import onsite_levels, potential_profile
from aiida_hamlr.electronic.bands.mesh import (
    MeshSolution,
    default_mesh,
    default_n_bands,
    recorded_threshold,
    solve_mesh,
)
from aiida_hamlr.electronic.bands.near_gap import states_around
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.bands.spin import magnetic_moments
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: What `compute_properties` knows, and of it what needs the bands on a mesh.
OUTPUTS = ('gap', 'bands', 'dos', 'projections', 'masses', 'charges', 'profile', 'layers')
_ON_MESH = frozenset(OUTPUTS) - {'profile'}
_IN_FILE = frozenset(OUTPUTS) - {'gap', 'bands'}
#: What needs the states on the mesh beside the energies.
_OF_STATES = frozenset({'projections', 'charges', 'layers'})
#: What needs the number of electrons.
_OF_ELECTRONS = frozenset({'gap', 'masses', 'charges', 'layers'})
#: Orbitals above which a gap at Gamma alone is found from the states around it, without the other bands.
LARGEST_DENSE = 3000

#: States around a gap.
N_AROUND_GAP = 16


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
    dos_method : str
        'gaussian' or 'tetrahedra', see `density_of_states`.
    projection : str
        What 'projections' projects densities of states and bands on, see `orbital_groups`.
    axis : int
        Lattice vector along which layers and averages of the potential are, 0, 1 or 2.
    period : float, optional
        Width of the window of the macroscopic average of a reference's electrostatic potential, Å; default: none.
    memory_limit : float, optional
        GB, for the factorisations of large structures; default: see `ShiftedMatrices`.
    """

    kpoints: tuple[int, int, int] | None = None
    n_bands: int | None = None
    path: str | Path = 'auto'
    spacing: float = PATH_SPACING
    broadening: float = BROADENING
    overlap_threshold: float | None = None
    dos_method: str = 'gaussian'
    projection: str = 'orbital'
    axis: int = 2
    period: float | None = None
    memory_limit: float | None = None


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
    warnings : list of str
        What was wanted and is not there, and why.
    """

    scalars: dict = field(default_factory=dict)
    bands: Bands | None = None
    properties: Properties | None = None
    mesh: MeshSolution | None = None
    warnings: list[str] = field(default_factory=list)


def compute_properties(
    hamiltonian: Hamiltonian, outputs: Collection[str], options: PropertyOptions | None = None
) -> PropertyResults:
    """Bands, gap, density of states, charges and profile of one Hamiltonian, as far as wanted.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``; 'profile' needs ``h0``, 'charges' the pseudopotentials.
    outputs : collection of str
        Of ``OUTPUTS``; other names are ignored. The edges of all are those over mesh and path together, see
        `find_edges`.
    options : PropertyOptions, optional
        Default: all settings at their defaults.

    Returns
    -------
    PropertyResults
        Scalars, bands and properties; energies in eV.

    Raises
    ------
    ValueError
        If the Hamiltonian lacks what an output needs. A metal has no 'layers': that is a warning if there are other
        results.
    """
    options, wanted = options or PropertyOptions(), set(outputs)
    check_inputs(hamiltonian, wanted)
    fills = hamiltonian.attributes.n_electrons is not None
    results = PropertyResults()
    if _only_gap_of_large(hamiltonian, wanted, options):
        near = states_around(hamiltonian, N_AROUND_GAP, memory_limit=options.memory_limit)
        results.scalars |= near.attributes(hamiltonian).to_dict()
        if hamiltonian.n_spin == 2 and near.magnetization is not None:
            results.scalars['magnetization_muB'] = near.magnetization
    elif wanted & _ON_MESH:
        results.mesh = solve_mesh(
            hamiltonian,
            options.kpoints or default_mesh(hamiltonian),
            n_bands=options.n_bands or default_n_bands(hamiltonian),
            overlap_threshold=recorded_threshold(hamiltonian, options.overlap_threshold),
            # The magnetization of spinors is a sum over the states.
            vectors=bool(wanted & _OF_STATES) or hamiltonian.magnetization_axis is not None,
        )
        results.scalars['n_ghost_states'] = results.mesh.n_ghosts
        if fills and hamiltonian.magnetization_axis is not None:
            moments = magnetic_moments(hamiltonian, results.mesh.density_matrix)
            results.scalars['magnetization_muB'] = float(moments.sum())
        elif fills and hamiltonian.n_spin == 2:
            results.scalars['magnetization_muB'] = results.mesh.magnetization
    if 'bands' in wanted:
        n_bands = options.n_bands or default_n_bands(hamiltonian)
        projection = options.projection if 'projections' in wanted else None
        results.bands = band_structure(
            hamiltonian, options.path, results.mesh, n_bands, options.spacing, projection=projection
        )
        results.scalars |= results.bands.attributes.to_dict()
    elif results.mesh is not None:
        results.scalars |= find_edges(hamiltonian, results.mesh).to_dict()
    results.scalars |= _against_vacuum(hamiltonian, results.scalars)
    if 'masses' in wanted and results.scalars.get('gap_eV'):
        results.scalars['effective_masses'] = edge_masses(hamiltonian, results.scalars)
    if 'layers' in wanted and len(wanted) > 1 and not results.scalars.get('gap_eV'):
        results.warnings.append('no band edges by layer: there is no gap')
        wanted.remove('layers')
    if wanted & _IN_FILE:
        results.properties = _properties(hamiltonian, results.mesh, wanted, options)
        results.properties.attributes |= {
            key: results.scalars[key]
            for key in ('fermi_level_eV', 'gap_eV', 'vbm_eV', 'n_electrons', 'effective_masses')
            if key in results.scalars
        }
    return results


def check_inputs(hamiltonian: Hamiltonian, outputs: Collection[str]):
    """Raise ``ValueError`` if a Hamiltonian lacks what an output needs: electrons, H0 or pseudopotentials."""
    lacking = [name for name in OUTPUTS if name in _OF_ELECTRONS.intersection(outputs)]
    if lacking and hamiltonian.attributes.n_electrons is None:
        raise ValueError(
            f'its number of electrons is not known, so no {" and no ".join(lacking)} can be computed; give it to hamlr '
            'import with --electrons N, or in Python as hamiltonian.attributes.n_electrons'
        )
    if 'profile' in outputs and 'h0' not in hamiltonian.matrices:
        raise ValueError('it has no H0, so no profile can be computed; hamlr import adds it with --pseudos')
    if 'charges' in outputs:
        check_pseudopotentials(hamiltonian)


def _against_vacuum(hamiltonian: Hamiltonian, scalars: dict) -> dict:
    """Ionization energy and electron affinity of a slab whose vacuum level is recorded, one for each side if known."""
    attributes = hamiltonian.attributes
    levels = attributes.vacuum_levels or ([] if attributes.vacuum_level is None else [attributes.vacuum_level])
    if not levels or 'vbm_eV' not in scalars:
        return {}
    return {
        'vacuum_levels_eV': list(levels),
        'ionization_energies_eV': [level - scalars['vbm_eV'] for level in levels],
        'electron_affinities_eV': [level - scalars['cbm_eV'] for level in levels],
    }


def _only_gap_of_large(hamiltonian: Hamiltonian, wanted: set[str], options: PropertyOptions) -> bool:
    """Whether the gap at Gamma is all that is wanted of the bands of a large structure."""
    mesh = options.kpoints or default_mesh(hamiltonian)
    return (
        wanted & _ON_MESH == {'gap'}
        and hamiltonian.n_orbitals * (2 if hamiltonian.has_spin_orbit else 1) > LARGEST_DENSE
        and tuple(mesh) == (1, 1, 1)
        and not recorded_threshold(hamiltonian, options.overlap_threshold)
        and hamiltonian.attributes.fixed_magnetization is None
    )


def _properties(
    hamiltonian: Hamiltonian, mesh: MeshSolution | None, wanted: set[str], options: PropertyOptions
) -> Properties:
    properties = Properties(hamiltonian.species, hamiltonian.atoms.positions)
    if wanted & {'dos', 'projections'}:
        projection = options.projection if 'projections' in wanted else None
        dos = density_of_states(hamiltonian, mesh, options.broadening, method=options.dos_method, projection=projection)
        properties.dos_energies, properties.dos, properties.dos_by_spin = dos.energies, dos.values, dos.by_spin
        properties.groups, properties.projected_dos = dos.groups, dos.projected
    if 'charges' in wanted:
        properties.charges = mulliken_charges(hamiltonian, mesh)
        if hamiltonian.n_spin == 2:
            properties.magnetic_moments = magnetic_moments(hamiltonian, mesh.density_matrix)
        attributes = hamiltonian.attributes
        if attributes.long_range_charges is not None:
            properties.long_range_charges = np.array(attributes.long_range_charges)
        if attributes.long_range_permanent_dipoles is not None:
            properties.long_range_dipoles = np.array(attributes.long_range_permanent_dipoles)
    if 'layers' in wanted:
        edges = layer_edges(hamiltonian, mesh, Layers.of(hamiltonian.atoms, options.axis))
        properties.attributes['axis'] = options.axis
        properties.layer_heights = edges.layers.heights
        properties.layer_valence_edges, properties.layer_conduction_edges = edges.valence, edges.conduction
    if 'profile' in wanted:
        properties.levels = onsite_levels(hamiltonian)
        properties.potential = potential_profile(hamiltonian)
        _add_planes(properties, hamiltonian, options)
    return properties


def _add_planes(properties: Properties, hamiltonian: Hamiltonian, options: PropertyOptions):
    """Plane averages of the electrostatic potential along the axis, where the Hamiltonian records them."""
    recorded = hamiltonian.attributes.planar_potentials
    if recorded is None:
        return
    properties.attributes['axis'] = options.axis
    planar = np.array(recorded[options.axis])
    length = plane_distance(hamiltonian.atoms, options.axis)
    properties.plane_heights, properties.planar_potential = np.arange(len(planar)) / len(planar) * length, planar
    if options.period is not None:
        properties.macroscopic_potential = window_average(planar, length, options.period)
