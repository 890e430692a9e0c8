"""Density of states, charges and levels of one structure, and their file, ``properties.h5``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.bands.projections import OrbitalGroup
from aiida_hamlr.electronic.files import (
    atomic_hdf5,
    check_digest,
    content_digest,
    read_array,
    read_hdf5,
)

FORMAT = 'hamlr-properties'
#: Version 5 has averages of the electrostatic potential, version 4 magnetic moments, version 3 the projected density of
#: states, layers and long-range charges; each is written as the oldest version that can hold it.
VERSION = 5

#: Arrays over the energies of the density of states, and all others beside the positions.
DOS_ARRAYS = ('dos_energies', 'dos', 'dos_by_spin', 'projected_dos')
OTHER_ARRAYS = (
    'charges',
    'magnetic_moments',
    'long_range_charges',
    'long_range_dipoles',
    'levels',
    'potential',
    'layer_heights',
    'layer_valence_edges',
    'layer_conduction_edges',
    'plane_heights',
    'planar_potential',
    'macroscopic_potential',
    'dielectric_tensor',
    'born_charges',
)
_ARRAYS = DOS_ARRAYS + OTHER_ARRAYS

#: Those with one number for every atom.
_OF_ATOMS = ('charges', 'magnetic_moments', 'long_range_charges', 'levels', 'potential')


@dataclass
class Properties:
    """What follows from a Hamiltonian; all but symbols and positions is optional.

    Parameters
    ----------
    symbols : list of N str
        Species labels, see `aiida_hamlr.electronic.species`; the chemical symbols unless elements have several.
    positions : (N, 3) array
        Å; the profile along z is ``levels`` or ``potential`` over ``positions[:, 2]``.
    dos_energies, dos : (ne,) arrays
        Energies in eV and density of states per eV and cell.
    dos_by_spin : (2, ne) array
        Of spin up and down, 1/eV per cell.
    projected_dos : (n_spin, n_groups, ne) array
        Parts of the density of states on ``groups``, 1/eV per cell.
    charges : (N,) array
        Mulliken charges ``Z - sum_{mu in i} (P S)_mumu``, |e|.
    magnetic_moments : (N,) array
        Mulliken moments ``sum_{mu in i} ((P_up - P_down) S)_mumu``, Bohr magnetons.
    long_range_charges : (N,) array
        Charges of the model's long range, |e|.
    long_range_dipoles : (N, 3) array
        Its permanent dipoles, |e| Å.
    levels : (N,) array
        On-site level of every atom, eV.
    potential : (N,) array
        Mean of ``(H - H0)_mumu`` of every atom, eV: the potential relative to that of neutral atoms.
    layer_heights : (n_layers,) array
        Heights of the layers along the axis of ``attributes``, Å.
    layer_valence_edges, layer_conduction_edges : (n_layers,) array
        Band edges by layer, eV.
    plane_heights : (n,) array
        Heights of planes along the axis of ``attributes``, Å.
    planar_potential : (n,) array
        Electrostatic potential of a reference averaged over each plane, eV, see `planar_potential`.
    macroscopic_potential : (n,) array
        Its average over a window, eV, see `window_average`.
    dielectric_tensor : (3, 3) array
        Of a model with response, with the atoms at rest, without unit.
    born_charges : (N, 3, 3) array
        ``[i, a, b]``: dipole of the cell along a per displacement of atom i along b, |e|.
    groups : tuple of OrbitalGroup
        What ``projected_dos`` is projected on.
    attributes : dict
        Plain JSON values: ``fermi_level_eV``, ``gap_eV``, ``vbm_eV``, ``n_electrons``, ``effective_masses``, ``axis``
        of layers and planes.
    """

    symbols: list[str]
    positions: np.ndarray
    dos_energies: np.ndarray | None = None
    dos: np.ndarray | None = None
    dos_by_spin: np.ndarray | None = None
    projected_dos: np.ndarray | None = None
    charges: np.ndarray | None = None
    magnetic_moments: np.ndarray | None = None
    long_range_charges: np.ndarray | None = None
    long_range_dipoles: np.ndarray | None = None
    levels: np.ndarray | None = None
    potential: np.ndarray | None = None
    layer_heights: np.ndarray | None = None
    layer_valence_edges: np.ndarray | None = None
    layer_conduction_edges: np.ndarray | None = None
    plane_heights: np.ndarray | None = None
    planar_potential: np.ndarray | None = None
    macroscopic_potential: np.ndarray | None = None
    dielectric_tensor: np.ndarray | None = None
    born_charges: np.ndarray | None = None
    groups: tuple[OrbitalGroup, ...] = ()
    attributes: dict = field(default_factory=dict)

    @property
    def _version(self) -> int:
        """The oldest version that can hold it."""
        return 5 if self.planar_potential is not None else 4 if self.magnetic_moments is not None else 3

    def write(self, path: str | Path):
        """Write ``properties.h5``, under a temporary name first."""
        with atomic_hdf5(path, FORMAT, self._version) as handle:
            handle.attrs['units'] = 'energies eV, lengths Å, charges |e|, density of states 1/eV per cell'
            handle.attrs['attributes'] = json.dumps(self.attributes)
            handle.attrs['groups'] = json.dumps([asdict(group) for group in self.groups])
            handle['symbols'] = list(self.symbols)
            handle['positions'] = self.positions
            for name in _ARRAYS:
                if getattr(self, name) is not None:
                    handle[name] = getattr(self, name)
            handle.attrs['sha256'] = content_digest(self._content)

    @property
    def _content(self) -> dict[str, str | np.ndarray]:
        """What is stored, for its digest."""
        arrays = {name: getattr(self, name) for name in ('positions', *_ARRAYS)}
        found = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items() if values is not None}
        texts = {'symbols': json.dumps(list(self.symbols))}
        if self.attributes:
            texts['attributes'] = json.dumps(self.attributes)
        if self.groups:
            texts['groups'] = json.dumps([asdict(group) for group in self.groups])
        return {**texts, **found}

    @classmethod
    def read(cls, source) -> Properties:
        """Read ``properties.h5`` from a path or a binary stream.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, newer than this program or damaged; the message names the file.
        """
        with read_hdf5(source, FORMAT, VERSION) as handle:
            arrays = {key: read_array(handle, key) for key in _ARRAYS if key in handle}
            symbols = [symbol.decode() for symbol in read_array(handle, 'symbols')]
            properties = cls(symbols, read_array(handle, 'positions'), **arrays)
            # Files before version 3 have neither.
            properties.attributes = json.loads(handle.attrs.get('attributes', '{}'))
            groups = json.loads(handle.attrs.get('groups', '[]'))
            properties.groups = tuple(OrbitalGroup(**group) for group in groups)
            check_digest(handle, properties._content)
            properties._check()
            return properties

    def _check(self):
        """Raise ``ValueError`` unless all arrays are of the same atoms and energies, and finite."""
        n_atoms = len(self.symbols)
        shapes = {'positions': (n_atoms, 3)} | dict.fromkeys(_OF_ATOMS, (n_atoms,))
        shapes |= {'long_range_dipoles': (n_atoms, 3)}
        shapes |= {'dielectric_tensor': (3, 3), 'born_charges': (n_atoms, 3, 3)}
        n_energies = np.shape(self.dos_energies)
        shapes |= dict.fromkeys(('dos_energies', 'dos'), n_energies) | {'dos_by_spin': (2, *n_energies)}
        n_spin = 1 if self.dos_by_spin is None else 2
        shapes['projected_dos'] = (n_spin, len(self.groups), *n_energies)
        layers = ('layer_heights', 'layer_valence_edges', 'layer_conduction_edges')
        shapes |= dict.fromkeys(layers, np.shape(self.layer_heights))
        planes = ('plane_heights', 'planar_potential', 'macroscopic_potential')
        shapes |= dict.fromkeys(planes, np.shape(self.plane_heights))
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and (np.shape(values) != shape or not np.isfinite(values).all()):
                raise ValueError(f'{name} of shape {np.shape(values)} instead of {shape}, or not finite')
