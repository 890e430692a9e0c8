"""What a basis is worth: bands of a crystal in plane waves and in orbitals, in the potential of neutral atoms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from ase import Atoms
from scipy.linalg import eigh

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.electronic.bands.kpoints import BandPath, band_path
from aiida_hamlr.electronic.contraction.crystals import simple_crystals
from aiida_hamlr.electronic.contraction.reference_bands import RESIDUAL
from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.integrals.orbital_cutoff import suggested_cutoff
from aiida_hamlr.electronic.matrices.attributes import count_occupied
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.spinor_plane_waves import plane_wave_hamiltonian
from aiida_hamlr.electronic.species import SPECIES_LABELS, set_species_labels, species_labels

#: Distance between the points of the path, 1/Å.
SPACING = 0.12

#: Empty bands, as far as a small basis has them.
N_EMPTY = 8

PLANE_WAVES = 'plane waves'


def crystal_of_basis(basis: Basis) -> Atoms:
    """The first crystal on which a basis was contracted; of other bases a simple crystal of the elements."""
    for species in basis.values():
        for structure in species.metadata.get('structures', ())[:1]:
            atoms = Atoms(**{key: value for key, value in structure.items() if key != SPECIES_LABELS})
            set_species_labels(atoms, structure.get(SPECIES_LABELS, atoms.get_chemical_symbols()))
            return atoms
    return simple_crystals(list(basis))[0]


def bands_of_basis(
    atoms: Atoms,
    pseudos: Mapping[str, Pseudopotential],
    basis: Basis,
    ecutwfc: float | None = None,
    spacing: float | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, Bands]:
    """Bands along the standard path, from plane waves, from plain orbitals and from those of a basis.

    Parameters
    ----------
    atoms : ase.Atoms
        Crystal of a few atoms.
    pseudos : mapping of str to Pseudopotential
        One of every element.
    basis : Basis
        Its metadata say how it was made; of contracted orbitals the plain ones of the same size are shown too.
    ecutwfc : float, optional
        Plane-wave cutoff, Ry; default: the largest `suggested_cutoff`. Orbitals are truncated at it too, so that
        their bands lie above those of plane waves.
    spacing : float, optional
        Distance of neighbouring points of the path, 1/Å; default: `SPACING`.
    progress : callable, optional
        Wraps the k-points of the plane waves.

    Returns
    -------
    dict of str to Bands
        By name: 'plane waves', 'plain', and 'contracted' or what else the recipe is called. All in the same potential,
        and with the band edges of the plane waves. Of spinors if the orbitals were made for spin-orbit coupling.
    """
    labels = species_labels(atoms)
    basis = basis.restricted(labels)
    bases = {}
    if all(species.metadata.get('recipe') == 'contracted' for species in basis.values()):
        bases['plain'] = Basis(
            {element: _plain(species.metadata, pseudos[element]) for element, species in basis.items()}
        )
    bases[', '.join(sorted({species.metadata.get('recipe', 'orbitals') for species in basis.values()}))] = basis
    ecutwfc = ecutwfc or max(suggested_cutoff(pseudos[element]) for element in basis)
    potential = neutral_atom_potential(atoms, pseudos, fft_grid(atoms.cell[:], 4 * ecutwfc), 4 * ecutwfc)
    spin_orbit = any(species.metadata.get('spin_orbit', False) for species in basis.values())
    plane_waves = plane_wave_hamiltonian(atoms, potential, pseudos, ecutwfc, spin_orbit)
    path = band_path(atoms, spacing or SPACING)
    n_electrons = sum(pseudos[label].z_valence for label in labels)
    components = plane_waves.n_components
    n_functions = min(int(orbitals.n_orbitals(labels).sum()) for orbitals in bases.values())
    n_bands = min(count_occupied(n_electrons, 2 // components) + components * N_EMPTY, components * n_functions)
    energies = {PLANE_WAVES: []}
    for name, orbitals in bases.items():
        energies[name] = []
        last = name == list(bases)[-1]
        for kpoint in progress(path.kpoints) if last else path.kpoints:
            levels, states = eigh(*plane_waves.project(orbitals, kpoint))
            energies[name].append(levels[:n_bands])
            if last:
                # As many states as there are; those beyond the bands help the iterations.
                start = np.linalg.qr(plane_waves.orbitals(orbitals, kpoint) @ states[:, : n_bands + 4 * components])[0]
                energies[PLANE_WAVES].append(plane_waves.eigenvalues(kpoint, n_bands, start, RESIDUAL))
    attributes = _edges(np.array(energies[PLANE_WAVES]), n_electrons, 2 // components)
    attributes.formula = atoms.get_chemical_formula('metal')
    return {name: _bands(path, values, attributes) for name, values in energies.items()}


def _plain(metadata: Mapping, pseudo: Pseudopotential):
    return generate_basis(
        pseudo, metadata['size'], metadata['cutoff_radius_bohr'], spin_orbit=metadata.get('spin_orbit', False)
    )


def _bands(path: BandPath, energies, attributes: BandAttributes) -> Bands:
    return Bands(
        path.kpoints, np.array(energies), path.labels, distances=path.distances, attributes=replace(attributes)
    )


def _edges(energies: np.ndarray, n_electrons: float, electrons_per_band: int) -> BandAttributes:
    """Band edges along the path; of a metal the level up to which its points are filled, eV."""
    attributes = BandAttributes(n_electrons=n_electrons, electrons_per_band=1 if electrons_per_band == 1 else None)
    n_occupied = count_occupied(n_electrons, electrons_per_band)
    if n_occupied < energies.shape[1] and n_electrons % electrons_per_band == 0:
        vbm, cbm = float(energies[:, n_occupied - 1].max()), float(energies[:, n_occupied].min())
        if cbm > vbm:
            return replace(attributes, vbm=vbm, cbm=cbm, gap=cbm - vbm, fermi_level=0.5 * (vbm + cbm))
    filled = min(int(round(n_electrons / electrons_per_band * len(energies))), energies.size) - 1
    return replace(attributes, gap=0.0, fermi_level=float(np.sort(energies, axis=None)[filled]))
