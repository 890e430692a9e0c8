"""Bands on a path or a mesh, and their file, ``bands.h5``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import expit

from aiida_hamlr.electronic.attributes import StoredAttributes, stored_as
from aiida_hamlr.electronic.bands.kpoints import PATH_SPACING, BandPath, find_band_path
from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues, eigenvectors
from aiida_hamlr.electronic.bands.mesh import MeshSolution, sample
from aiida_hamlr.electronic.bands.occupations import SMEARING, band_gap, filled_bands, spin_gaps
from aiida_hamlr.electronic.bands.projections import OrbitalGroup, project_states
from aiida_hamlr.electronic.bands.spinors import spin_expectation
from aiida_hamlr.electronic.files import (
    atomic_hdf5,
    check_digest,
    content_digest,
    read_array,
    read_hdf5,
)
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

FORMAT = 'hamlr-bands'
#: Version 4 has bands of spinors, version 3 projections; bands without either are written as version 2.
VERSION = 4

#: Decimals of the k-points of band edges; what is behind them is rounding.
KPOINT_DIGITS = 12

#: Gaps below this are none, eV: bands that touch, as those of graphene, do so to rounding only.
NO_GAP = 1e-4

#: Arrays that are there for some bands only.
_OPTIONAL = ('distances', 'weights', 'spins', 'projections')


@dataclass(slots=True, kw_only=True)
class BandAttributes(StoredAttributes):
    """Attributes of `Bands`; None stands for what is not known or does not apply.

    Energies in eV; the keys in the file are the names with ``_eV``.

    Parameters
    ----------
    formula : str
    matrix : str
        'hamiltonian' or 'h0'.
    n_electrons : float
        Per cell.
    electrons_per_band : int
        1 for bands of spinors; None: 2, or 1 with spin.
    overlap_threshold : float
        With which the bands were computed, see `eigenvalues`; None if all eigenvectors of the overlap were kept.
    fermi_level : float
        The middle of the gap if there is one.
    spin_fermi_levels : list of two float
        Of spin up and spin down if the magnetization is fixed.
    vbm, cbm : float
        Highest occupied and lowest empty level, of both spins together.
    magnetization_axis : list of three float
        Cartesian, of bands of spinors of a magnetic structure.
    first_band : int
        Number of bands below the stored ones, where not the lowest bands are stored.
    gap, direct_gap : float
        ``cbm - vbm``, 0 if they overlap and of every metal, and the smallest vertical gap.
    spin_gaps : list of two float
        Gap of spin up and of spin down on their own, 0 where a band crosses the Fermi level: only one of them is 0 in a
        half-metal. None where a spin has no filled or no empty band.
    vbm_kpoint, cbm_kpoint, direct_gap_kpoint : list of three float
        Where they are, fractions of the reciprocal vectors.
    vbm_band, cbm_band : int
        Bands of the edges, counted from 0.
    vbm_spin, cbm_spin : int
        Their spins, 0 up and 1 down; None without spin.
    """

    formula: str | None = None
    matrix: str | None = None
    n_electrons: float | None = None
    electrons_per_band: int | None = None
    overlap_threshold: float | None = None
    magnetization_axis: list[float] | None = None
    first_band: int | None = None
    fermi_level: float | None = stored_as('fermi_level_eV')
    spin_fermi_levels: list[float] | None = stored_as('spin_fermi_levels_eV')
    vbm: float | None = stored_as('vbm_eV')
    cbm: float | None = stored_as('cbm_eV')
    gap: float | None = stored_as('gap_eV')
    direct_gap: float | None = stored_as('direct_gap_eV')
    spin_gaps: list[float | None] | None = stored_as('spin_gaps_eV')
    vbm_kpoint: list[float] | None = None
    cbm_kpoint: list[float] | None = None
    direct_gap_kpoint: list[float] | None = None
    vbm_band: int | None = None
    cbm_band: int | None = None
    vbm_spin: int | None = None
    cbm_spin: int | None = None


@dataclass
class Bands:
    """Eigenvalues at k-points.

    Parameters
    ----------
    kpoints : (nk, 3) array
        Fractional.
    eigenvalues : (n_spin, nk, nb) array
        eV.
    labels : tuple of nk str
        Names of the special points, empty elsewhere.
    distances : (nk,) array, optional
        Length along the path, 1/Å; None for a mesh.
    weights : (nk,) array, optional
        Weights of a mesh, sum 1; None for a path.
    spins : (nk, 3, nb) array, optional
        ``<sigma>`` of bands of spinors, dimensionless; see `spin_expectation`.
    attributes : BandAttributes
        Fermi level and band edges, eV.
    groups : tuple of OrbitalGroup
        What the states are projected on; empty without projections.
    projections : (n_spin, nk, nb, n_groups) array, optional
        Shares of the groups in the states, without unit; see `project_states`.
    """

    kpoints: np.ndarray
    eigenvalues: np.ndarray
    labels: tuple[str, ...]
    distances: np.ndarray | None = None
    weights: np.ndarray | None = None
    spins: np.ndarray | None = None
    attributes: BandAttributes = field(default_factory=BandAttributes)
    groups: tuple[OrbitalGroup, ...] = ()
    projections: np.ndarray | None = None

    def __post_init__(self):
        self.eigenvalues = np.asarray(self.eigenvalues, dtype=float)
        if self.eigenvalues.ndim == 2:
            self.eigenvalues = self.eigenvalues[None]
        n_kpoints = len(self.kpoints)
        lengths = [self.eigenvalues.shape[1], len(self.labels)]
        lengths += [len(a) for a in (self.distances, self.weights) if a is not None]
        if self.eigenvalues.ndim != 3 or np.shape(self.kpoints) != (n_kpoints, 3) or set(lengths) != {n_kpoints}:
            raise ValueError('k-points, eigenvalues and labels disagree in number')
        expected = (n_kpoints, 3, self.eigenvalues.shape[2])
        if self.spins is not None and np.shape(self.spins) != expected:
            raise ValueError(f'spins have shape {np.shape(self.spins)} instead of {expected}')
        shape = (*self.eigenvalues.shape, len(self.groups))
        if self.projections is not None and np.shape(self.projections) != shape:
            raise ValueError(f'projections of shape {np.shape(self.projections)} instead of {shape}')

    @property
    def electrons_per_band(self) -> int:
        """Electrons that a band holds: 2, with collinear spin or of spinors 1."""
        return self.attributes.electrons_per_band or 2 // len(self.eigenvalues)

    def occupations(self, smearing: float = SMEARING) -> np.ndarray:
        """(n_spin, nk, nb) electrons in the states: whole below a gap, else Fermi-Dirac of width ``smearing``, eV.

        Raises
        ------
        ValueError
            If the Fermi level is not known.
        """
        attributes = self.attributes
        levels = attributes.spin_fermi_levels or [attributes.fermi_level] * len(self.eigenvalues)
        if levels[0] is None:
            raise ValueError('occupations need the Fermi level, which these bands do not record')
        above = self.eigenvalues - np.array(levels)[:, None, None]
        filled = above < 0 if attributes.gap else expit(-above / smearing)
        return self.electrons_per_band * filled

    @classmethod
    def on_path(
        cls,
        hamiltonian: Hamiltonian,
        path: BandPath,
        mesh: MeshSolution,
        n_bands: int | None = None,
        projection: str | None = None,
    ) -> Bands:
        """All or the lowest ``n_bands`` bands along a path.

        Parameters
        ----------
        hamiltonian : Hamiltonian
            With the overlap and the matrix of ``mesh``.
        path : BandPath
            Where to compute the bands.
        mesh : MeshSolution
            Fermi level and band edges take it into account; it says which matrix is diagonalised, with which overlap
            threshold.
        n_bands : int, optional
            Default: all.
        projection : str, optional
            For fat bands, see `orbital_groups`.
        """
        bands = cls._at(hamiltonian, path.kpoints, mesh, n_bands, projection)
        bands.labels, bands.distances = path.labels, path.distances
        return bands

    @classmethod
    def on_mesh(cls, hamiltonian: Hamiltonian, mesh: MeshSolution, n_bands: int | None = None) -> Bands:
        """All or the lowest ``n_bands`` bands at the points of a mesh; see `on_path`."""
        bands = cls._at(hamiltonian, mesh.kpoints, mesh, n_bands)
        bands.weights = mesh.weights
        return bands

    @classmethod
    def _at(
        cls, hamiltonian: Hamiltonian, kpoints: np.ndarray, mesh: MeshSolution, n_bands: int | None, projection=None
    ) -> Bands:
        settings = (mesh.matrix, n_bands, mesh.overlap_threshold)
        groups, shares, spins, states = (), None, None, None
        if projection is None and not hamiltonian.has_spin_orbit:
            energies = eigenvalues(hamiltonian, kpoints, *settings)
        else:
            energies, states = eigenvectors(hamiltonian, kpoints, *settings)
        if hamiltonian.has_spin_orbit:
            spins = spin_expectation(states, bloch_matrices(hamiltonian.pattern, hamiltonian.overlap, kpoints))
        if projection is not None:
            groups, shares = project_states(hamiltonian, kpoints, states, projection)
            shares = shares.reshape(-1, *shares.shape[-3:])
        attributes = band_edges(hamiltonian, mesh, kpoints, energies)
        more = {'spins': spins, 'groups': groups, 'projections': shares}
        return cls(kpoints, energies, ('',) * len(kpoints), attributes=attributes, **more)

    def write(self, path: str | Path):
        """Write ``bands.h5``, under a temporary name first."""
        version = VERSION if self.attributes.electrons_per_band else VERSION - (1 if self.groups else 2)
        with atomic_hdf5(path, FORMAT, version) as handle:
            handle.attrs['units'] = 'eigenvalues eV, k-points fractional, distances 1/Å'
            handle.attrs['attributes'] = json.dumps(self.attributes.to_dict())
            handle['kpoints'] = np.asarray(self.kpoints, dtype=float)
            handle['eigenvalues'] = self.eigenvalues
            handle['labels'] = list(self.labels)
            for name in _OPTIONAL:
                if getattr(self, name) is not None:
                    handle[name] = getattr(self, name)
            if self.groups:
                handle.attrs['groups'] = json.dumps([asdict(group) for group in self.groups])
            handle.attrs['sha256'] = content_digest(self._content)

    @property
    def _content(self) -> dict[str, str | np.ndarray]:
        """What is stored, for its digest."""
        arrays = {name: getattr(self, name) for name in ('kpoints', 'eigenvalues', *_OPTIONAL)}
        texts = {'groups': json.dumps([asdict(group) for group in self.groups])} if self.groups else {}
        return {
            **texts,
            'attributes': json.dumps(self.attributes.to_dict()),
            'labels': json.dumps(list(self.labels)),
            **{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items() if values is not None},
        }

    @classmethod
    def read(cls, source) -> Bands:
        """Read ``bands.h5`` from a path or a binary stream.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, newer than this program or damaged; the message names the file.
        """
        with read_hdf5(source, FORMAT, VERSION) as handle:
            kpoints, energies = read_array(handle, 'kpoints'), read_array(handle, 'eigenvalues')
            optional = {key: read_array(handle, key) for key in _OPTIONAL if key in handle}
            groups = tuple(OrbitalGroup(**group) for group in json.loads(handle.attrs.get('groups', '[]')))
            labels = tuple(label.decode() for label in read_array(handle, 'labels'))
            attributes = BandAttributes.from_dict(json.loads(handle.attrs['attributes']))
            bands = cls(kpoints, energies, labels, attributes=attributes, groups=groups, **optional)
            check_digest(handle, bands._content)
            if not all(np.isfinite(values).all() for values in (kpoints, energies, *optional.values())):
                raise ValueError('k-points or eigenvalues are not finite')
            return bands


def band_structure(
    hamiltonian: Hamiltonian,
    path: str | Path | BandPath = 'auto',
    mesh: Sequence[int] | MeshSolution | None = None,
    n_bands: int | None = None,
    spacing: float = PATH_SPACING,
    overlap_threshold: float | None = None,
    projection: str | None = None,
) -> Bands:
    """Bands along a path, with Fermi level and band edges.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With ``hamiltonian`` and ``overlap``.
    path : str, path or BandPath
        'auto': the standard path of the crystal, see `band_path`; or the name of a path file, see `read_band_path`.
    mesh : three int or MeshSolution, optional
        For the Fermi level and the band edges; default: as in `sample`.
    n_bands : int, optional
        Number of the lowest bands; default: all.
    spacing : float
        Largest distance of neighbouring points of the path, 1/Å.
    overlap_threshold : float, optional
        See `eigenvalues`; default: the recorded one. Without effect if ``mesh`` is a solution.
    projection : str, optional
        For fat bands: 'species', 'shell', 'm', 'atom' or 'orbital', see `orbital_groups`; default: none.

    Returns
    -------
    Bands
        Energies in eV, with Fermi level and edges among the attributes.

    Raises
    ------
    ValueError
        If no path is found or the file cannot be read.
    """
    if not isinstance(path, BandPath):
        path = find_band_path(hamiltonian.atoms, path, spacing)
    return Bands.on_path(hamiltonian, path, sample(hamiltonian, mesh, overlap_threshold), n_bands, projection)


def band_edges(
    hamiltonian: Hamiltonian,
    mesh: MeshSolution,
    kpoints: np.ndarray | None = None,
    energies: np.ndarray | None = None,
) -> BandAttributes:
    """Fermi level, gap and band edges over a mesh and further k-points together.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        The one of the mesh.
    mesh : MeshSolution
        Its filling says which bands are occupied.
    kpoints : (nk, 3) array, optional
        Further points, as of a path, fractional.
    energies : (nk, nb) or (2, nk, nb) array, optional
        Bands at the further points, eV.

    Returns
    -------
    BandAttributes
        Energies in eV. Without edges if a band is partly filled on the mesh, without Fermi level too if the number of
        electrons is not known. Further points with too few bands to show the conduction band do not count.
    """
    filling = mesh.filling
    attributes = BandAttributes(
        formula=hamiltonian.atoms.get_chemical_formula(),
        matrix=mesh.matrix,
        n_electrons=hamiltonian.attributes.n_electrons,
        electrons_per_band=1 if hamiltonian.has_spin_orbit else None,
        magnetization_axis=None if mesh.magnetization_axis is None else mesh.magnetization_axis.tolist(),
        overlap_threshold=mesh.overlap_threshold or None,
    )
    if filling is None:
        return attributes
    attributes.fermi_level = filling.fermi_level
    attributes.spin_fermi_levels = None if filling.spin_fermi_levels is None else list(filling.spin_fermi_levels)
    points, together = mesh.kpoints, mesh.eigenvalues
    is_metal = filling.n_occupied is None
    if kpoints is not None and (is_metal or energies.shape[-1] > max(filling.n_occupied)):
        n_common = min(energies.shape[-1], together.shape[-1])
        together = np.concatenate([together[..., :n_common], energies[..., :n_common]], axis=-2)
        points = np.concatenate([points, kpoints])
    has_spin = mesh.eigenvalues.ndim == 3
    if has_spin:
        attributes.spin_gaps = list(spin_gaps(together, filled_bands(mesh.eigenvalues, filling)))
    edges = None if is_metal else band_gap(together, hamiltonian.n_electrons, filling.n_occupied)
    if edges is None:
        attributes.gap = 0.0 if is_metal else None
        return attributes
    attributes.vbm, attributes.cbm = edges.vbm, edges.cbm
    attributes.gap, attributes.direct_gap = edges.gap if edges.gap > NO_GAP else 0.0, edges.direct_gap
    if attributes.gap:
        attributes.fermi_level = 0.5 * (edges.vbm + edges.cbm)
    attributes.vbm_kpoint, attributes.cbm_kpoint, attributes.direct_gap_kpoint = (
        (points[index].round(KPOINT_DIGITS) + 0.0).tolist()
        for index in (edges.vbm_index, edges.cbm_index, edges.direct_index)
    )
    attributes.vbm_band, attributes.cbm_band = edges.vbm_band, edges.cbm_band
    if has_spin:
        attributes.vbm_spin, attributes.cbm_spin = edges.vbm_spin, edges.cbm_spin
    return attributes
