"""What is compared: elements, bands near the gap, band offset, and the potential across the structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.levels import onsite_levels, potential_profile
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model.evaluation import band_errors, element_errors, filled_bands
from aiida_hamlr.model.reference_matrices import fitted_shift

#: Errors of one structure in the order of the table, and their headings.
COLUMNS = {
    'mae_meV': 'all elements',
    'mae_onsite_meV': 'on-site',
    'mae_near_meV': 'up to 4.5 Å',
    'mae_far_meV': 'beyond 4.5 Å',
    'band_mae_occupied_meV': 'occupied bands',
    'band_mae_conduction_meV': 'conduction bands',
    'edge_error_meV': 'band edges',
    'gap_error_meV': 'direct gaps',
    'band_offset_error_meV': 'band offset',
    'slope_error_meV_per_A': 'slope, meV/Å',
    'largest_level_error_meV': 'largest level error',
}

#: Distance that separates near from far pairs, Å; one of the ranges of `element_errors`.
NEAR = 4.5


def all_errors(
    predicted: Hamiltonian, reference: Hamiltonian, materials: Sequence[Sequence[str]], margin: float, threshold: float
) -> dict:
    """Errors of one structure: `COLUMNS`, and with them those of `element_errors`.

    The predicted bands are without the eigenvectors of the overlap below the threshold (see `eigenvalues`).
    """
    found = element_errors(predicted.hamiltonian - reference.hamiltonian, reference)
    found |= by_range(found) | band_errors(predicted, reference, overlap_threshold=threshold)
    return (
        found | edge_errors(predicted, reference, threshold) | profile_errors(predicted, reference, materials, margin)
    )


def inner_atoms(atoms: Atoms, materials: Sequence[Sequence[str]], margin: float) -> list[np.ndarray]:
    """Indices of the atoms of each material farther than ``margin`` (Å) along z from its first and last atoms."""
    labels, heights = np.array(species_labels(atoms)), atoms.positions[:, 2]
    found = []
    for species in materials:
        chosen = np.isin(labels, list(species))
        if not chosen.any():
            found.append(np.array([], dtype=int))
            continue
        low, high = heights[chosen].min() + margin, heights[chosen].max() - margin
        found.append(np.flatnonzero(chosen & (heights >= low) & (heights <= high)))
    return found


def potential_slope(hamiltonian: Hamiltonian, chosen: np.ndarray) -> float:
    """Slope along z of the potential at some atoms, eV/Å, by least squares with a constant for every species."""
    labels = np.array(species_labels(hamiltonian.atoms))[chosen]
    constants = (labels[:, None] == np.unique(labels)).astype(float)
    design = np.column_stack([hamiltonian.atoms.positions[chosen, 2], constants])
    return float(np.linalg.lstsq(design, potential_profile(hamiltonian)[chosen], rcond=None)[0][0])


def line_up(hamiltonian: Hamiltonian, inner: Sequence[np.ndarray]) -> float:
    """Mean of the potential at the inner atoms of the second material less that of the first, eV.

    The valence band offset is this line-up and the difference of the bulk valence edges, each against the potential in
    its own crystal (Van de Walle and Martin, Phys. Rev. B 35, 8154 (1987)). Only the line-up depends on the
    heterostructure, so that its error is the error of the band offset.
    """
    profile = potential_profile(hamiltonian)
    return float(profile[inner[1]].mean() - profile[inner[0]].mean())


def profile_errors(
    predicted: Hamiltonian, reference: Hamiltonian, materials: Sequence[Sequence[str]], margin: float
) -> dict[str, float]:
    """Errors of the potential across a structure; empty entries where a material has too few inner atoms.

    Returns
    -------
    dict
        ``largest_level_error_meV`` of all atoms after one constant; ``slope_error_meV_per_A``, the mean over the
        materials; ``band_offset_error_meV`` of two materials; and slopes and line-up of the reference.
    """
    error = onsite_levels(predicted) - onsite_levels(reference)
    found = {'largest_level_error_meV': 1e3 * float(np.abs(error - np.median(error)).max())}
    inner = inner_atoms(reference.atoms, materials, margin)
    if min(map(len, inner)) < 4:
        return found
    slopes = [[potential_slope(one, chosen) for chosen in inner] for one in (predicted, reference)]
    found['slope_error_meV_per_A'] = 1e3 * float(np.abs(np.subtract(*slopes)).mean())
    found['slopes_eV_per_A'] = slopes[1]
    if len(inner) == 2:
        line_ups = [line_up(one, inner) for one in (predicted, reference)]
        found['band_offset_error_meV'] = 1e3 * abs(line_ups[0] - line_ups[1])
        found['line_up_eV'] = line_ups[1]
    return found


def edge_errors(predicted: Hamiltonian, reference: Hamiltonian, threshold: float) -> dict[str, float]:
    """Mean error of the valence and conduction edge at the zone centre, meV, after the shift fitted to the elements."""
    [filled] = filled_bands(reference, predicted)
    shift = fitted_shift(predicted.hamiltonian - reference.hamiltonian, reference.overlap)
    found, expected = (
        eigenvalues(one, np.zeros((1, 3)), n_bands=filled + 1, overlap_threshold=least).ravel()[filled - 1 :]
        for one, least in ((predicted, threshold), (reference, 0.0))
    )
    return {'edge_error_meV': 1e3 * float(np.abs(found + shift - expected).mean())}


def by_range(errors: Mapping) -> dict[str, float]:
    """Mean errors of the elements of pairs of atoms up to `NEAR` and beyond, from those by distance."""
    result = {}
    for name, chosen in (
        ('mae_near_meV', [entry for entry in errors['mae_by_distance'] if entry['to_angstrom'] <= NEAR]),
        ('mae_far_meV', [entry for entry in errors['mae_by_distance'] if entry['from_angstrom'] >= NEAR]),
    ):
        numbers = [entry['n_elements'] for entry in chosen]
        if numbers:
            result[name] = float(np.average([entry['mae_meV'] for entry in chosen], weights=numbers))
    return result


def mean_errors(structures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over the structures that have a value."""
    values = {key: [one[key] for one in structures if key in one] for key in COLUMNS}
    return {key: float(np.mean(entry)) for key, entry in values.items() if entry}


def format_table(results: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> str:
    """Markdown table of the errors by variant and part; of several seeds the mean and half the range.

    Parameters
    ----------
    results : mapping
        Variant, seed, part, and the errors of `mean_errors`.
    """
    lines = ['| | | ' + ' | '.join(COLUMNS.values()) + ' |', '|---' * (2 + len(COLUMNS)) + '|']
    for variant, seeds in results.items():
        for part in next(iter(seeds.values())):
            cells = [[one[part][key] for one in seeds.values() if key in one[part]] for key in COLUMNS]
            lines.append(f'| `{variant}` | {part} | ' + ' | '.join(_cell(values) for values in cells) + ' |')
    return '\n'.join(lines) + '\n'


def _cell(values: Sequence[float]) -> str:
    if not values:
        return '–'
    mean = f'{np.mean(values):.3g}' if np.mean(values) < 100 else f'{np.mean(values):.0f}'
    return mean if len(values) == 1 else f'{mean} ± {(max(values) - min(values)) / 2:.2g}'
