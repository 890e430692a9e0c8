"""`hamlr info`: what a file of ours holds, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from aiida_hamlr.electronic.bands.band_structure import FORMAT as BANDS
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import FORMAT as PROPERTIES
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.files import open_hdf5
from aiida_hamlr.electronic.matrices.hamiltonian import FORMAT as HAMILTONIAN
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import FORMAT as BASIS
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.jobs.bands import edges_in_words
from aiida_hamlr.model.folder import DESCRIPTION, check_folder

#: Characters after which a value is cut.
_LONGEST = 500


def describe_file(path: Path) -> list[str]:
    """Lines that describe a Hamiltonian, basis, bands or properties file, a model folder or a UPF file.

    Raises
    ------
    ValueError
        If there is no such file, or it is of no kind of ours, or damaged.
    """
    if not path.exists():
        raise ValueError(f'{path}: no such file')
    if path.is_dir():
        return _describe_model(path)
    if not h5py.is_hdf5(path):
        head = path.read_bytes()[:4096]
        if b'UPF' in head or b'PP_HEADER' in head or b'PP_INFO' in head:
            return _describe_pseudopotential(path)
        raise ValueError(f'{path}: neither an HDF5 file of hamlr nor a UPF file, or truncated')
    with open_hdf5(path) as handle:
        kind = handle.attrs.get('format')
    describe = {
        HAMILTONIAN: _describe_hamiltonian,
        BASIS: _describe_basis,
        BANDS: _describe_bands,
        PROPERTIES: _describe_properties,
    }.get(kind)
    if describe is None:
        raise ValueError(f'{path}: an HDF5 file of unknown format {kind!r}')
    return describe(path)


def _axis_in_words(axis: np.ndarray | None) -> str:
    return '' if axis is None else ', magnetization along ' + ' '.join(f'{x:.4g}' for x in axis)


def _describe_hamiltonian(path: Path) -> list[str]:
    h = Hamiltonian.read(path)
    attributes = h.attributes.to_dict()
    vectors = h.pattern.vectors(h.atoms.cell[:], h.atoms.positions)
    reach = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
    lines = [
        f'Hamiltonian of {h.atoms.get_chemical_formula()}: {len(h.atoms)} atoms, {h.n_orbitals} orbitals, '
        f'{len(h.pattern)} blocks up to {reach:.2f} Å',
        f'holds {", ".join(h.matrices)}; origin {attributes.get("origin", "not recorded")}'
        + ', two spins' * (h.n_spin == 2)
        + _axis_in_words(h.magnetization_axis),
        'cell ' + '  '.join('(' + ' '.join(f'{x:.4f}' for x in row) + ')' for row in h.atoms.cell) + ' Å',
    ]
    for label, species in h.basis.items():
        unknown = '' if species.has_radial_functions else '; their radial functions are not known'
        lines.append(f'orbitals of {label}: {_shells(species)}{unknown}')
    if h.pseudopotentials:
        lines.append(f'with the pseudopotentials of {", ".join(h.pseudopotentials)}')
    if 'hirshfeld_charges' in h.labels:
        charges = _by_species(h.species, h.labels['hirshfeld_charges'])
        largest = np.linalg.norm(h.labels['hirshfeld_dipoles'], axis=1).max()
        lines.append(f'Hirshfeld charges: {charges}; dipoles up to {largest:.4f} e Å')
    if 'dielectric_tensor' in h.labels:
        rows = ('(' + ' '.join(f'{x:.4f}' for x in row) + ')' for row in h.labels['dielectric_tensor'])
        lines.append('dielectric tensor ' + '  '.join(rows))
    if 'born_charges' in h.labels:
        means = np.trace(h.labels['born_charges'], axis1=1, axis2=2) / 3
        lines.append(f'Born charges: {_by_species(h.species, means)} of atoms and directions')
    planes = attributes.pop('planar_potentials_eV', None)
    if planes is not None:
        counts = ', '.join(str(len(each)) for each in planes)
        lines.append(f'averages of the electrostatic potential over {counts} planes along the axes')
    lines += [f'{key}: {_short(value)}' for key, value in attributes.items() if key not in ('origin', 'verification')]
    return lines + [f'{key}: {_short(value)}' for key, value in (attributes.get('verification') or {}).items()]


def _by_species(labels: list[str], charges: np.ndarray) -> str:
    """The mean charge of every species."""
    means = {label: charges[np.array(labels) == label].mean() for label in sorted(set(labels))}
    return ', '.join(f'{label} {mean:+.4f} e' for label, mean in means.items()) + ' on average'


def _describe_basis(path: Path) -> list[str]:
    species = SpeciesBasis.read(path)
    return [
        f'orbitals of {species.element}: {species.n_orbitals} per atom, {_shells(species)}',
        f'content hash {species.content_hash}',
        *(f'{key}: {_short(value)}' for key, value in species.metadata.items() if key != 'structures'),
    ]


def _shells(species: SpeciesBasis) -> str:
    return ', '.join(
        f'{shell.label or "shell"} (l = {shell.angular_momentum}, to {shell.cutoff_radius:g} bohr)'
        for shell in species.shells
    )


def _describe_bands(path: Path) -> list[str]:
    bands = Bands.read(path)
    n_spin, n_kpoints, n_bands = bands.eigenvalues.shape
    where = 'on a mesh' if bands.distances is None else 'along ' + ' '.join(label for label in bands.labels if label)
    of = bands.attributes.formula or ''
    lines = [f'bands of {of}: {n_bands} bands at {n_kpoints} k-points {where}' + (', two spins' * (n_spin == 2))]
    lines.append(f'from {bands.eigenvalues.min():.3f} to {bands.eigenvalues.max():.3f} eV')
    if bands.attributes.fermi_level is not None:
        lines.append(edges_in_words(bands.attributes))
    return lines


def _describe_properties(path: Path) -> list[str]:
    properties = Properties.read(path)
    lines = [f'properties of {len(properties.symbols)} atoms']
    if properties.dos is not None:
        lo, hi = properties.dos_energies[[0, -1]]
        lines.append(f'density of states at {len(properties.dos)} energies from {lo:.2f} to {hi:.2f} eV')
    if properties.charges is not None:
        for label in sorted(set(properties.symbols)):
            chosen = properties.charges[np.array(properties.symbols) == label]
            lines.append(f'Mulliken charge of {label}: {chosen.mean():+.4f} e on average')
    if properties.groups:
        names = list(dict.fromkeys(group.label for group in properties.groups))
        lines.append(f'projected on {len(names)} groups: {_short(", ".join(names))}')
    for edge, mass in (properties.attributes.get('effective_masses') or {}).items():
        masses = mass.get('principal_masses') or mass['masses_along']
        lines.append(f'effective masses at {edge}: {_masses(masses) if masses else "none, there are no bands"}')
    if properties.layer_heights is not None:
        lines.append(f'band edges of {len(properties.layer_heights)} layers')
    if properties.planar_potential is not None:
        n, axis = len(properties.planar_potential), properties.attributes.get('axis', 2)
        lines.append(f'electrostatic potential of {n} planes along lattice vector {axis + 1}')
    if properties.levels is not None:
        lines.append('on-site levels and their difference to neutral atoms, along z')
    return lines


def _describe_pseudopotential(path: Path) -> list[str]:
    pseudo = Pseudopotential.read(path)
    momenta = ', '.join(str(projector.angular_momentum) for projector in pseudo.projectors) or 'none'
    orbitals = ', '.join(f'{w.label} ({w.occupation:g})' for w in pseudo.wavefunctions) or 'none'
    return [
        f'norm-conserving pseudopotential of {pseudo.element}: {pseudo.z_valence:g} valence electrons, '
        f'functional {pseudo.functional}',
        f'angular momenta of the projectors: {momenta}; pseudo-orbitals: {orbitals}',
        'with' + ('out' if pseudo.core_density is None else '') + ' nonlinear core correction',
        f'content hash {pseudo.content_hash}',
    ]


def _describe_model(path: Path) -> list[str]:
    if not (path / DESCRIPTION).is_file():
        raise ValueError(f'{path}: not a model folder, it has no {DESCRIPTION}')
    description = check_folder(path)
    lines = [f'model of {", ".join(description.get("species", []))}']
    return lines + [f'{key}: {_short(value)}' for key, value in description.items() if key != 'species']


def _masses(masses: Mapping[str, Sequence[float | None]] | Sequence[float | None]) -> str:
    """Principal masses, or those of degenerate bands by direction; directions with equal masses stand together."""
    if not isinstance(masses, Mapping):
        return ' '.join('infinite' if mass is None else f'{mass:.3f}' for mass in masses)
    directions: dict[str, list[str]] = {}
    for direction, values in masses.items():
        ascending = sorted(values, key=lambda mass: np.inf if mass is None else mass)
        directions.setdefault(_masses(ascending), []).append(direction)
    return '; '.join(f'{" ".join(names)} {values}' for values, names in directions.items())


def _short(value) -> str:
    """A JSON value on one line, of long ones the first entries."""
    text = _in_words(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(' ')[0].rstrip(',') + ' ...'


def _in_words(value) -> str:
    """A JSON value without quotes; numbers that are not whole have six digits."""
    if isinstance(value, Mapping):
        entries = ((key, _in_words(each), isinstance(each, Mapping)) for key, each in value.items())
        return ', '.join(f'{key} ({words})' if nested else f'{key} {words}' for key, words, nested in entries)
    if isinstance(value, list | tuple):
        return f'({" ".join(_in_words(each) for each in value)})'
    if isinstance(value, float):
        return f'{value:.6g}'
    return value if isinstance(value, str) else json.dumps(value)
