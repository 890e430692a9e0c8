"""What Hamiltonian files to learn from hold together: elements, distances, gaps, and the size of H - H0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.distances import summarise_distances
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model.evaluation import DISTANCES, element_errors
from aiida_hamlr.model.training.references import Reference


def data_statistics(paths: Iterable[str | Path]) -> dict:
    """Statistics of Hamiltonian files; the matrices of one at a time are in memory.

    Parameters
    ----------
    paths : iterable of paths
        Files with H, H0 and S.

    Returns
    -------
    dict
        ``n_structures``; ``n_atoms`` [least, most]; ``species``: number of atoms by label; ``formulas``: number of
        structures; ``distances``: of `summarise_distances`, Å; ``gap_eV`` [least, median, most] of the files that have
        one; ``delta_meV``: mean absolute elements of H - H0 after the constant of each structure, by `element_errors`
        (``mae_meV``, ``mae_onsite_meV``, ``mae_by_distance``), and ``largest_onsite_meV``, the largest of a structure.

    Raises
    ------
    ValueError
        If there is no file, or one cannot be learned from.
    """
    species, formulas, sizes, gaps, structures, deltas = Counter(), Counter(), [], [], [], []
    for path in paths:
        reference = Reference.read(path)
        structures.append(reference.atoms)
        species.update(species_labels(reference.atoms))
        formulas[reference.atoms.get_chemical_formula()] += 1
        sizes.append(len(reference.atoms))
        if reference.attributes.gap is not None:
            gaps.append(reference.attributes.gap)
        deltas.append(element_errors(reference.delta, reference))
    if not structures:
        raise ValueError('no Hamiltonian files to describe')
    return {
        'n_structures': len(structures),
        'n_atoms': [min(sizes), max(sizes)],
        'species': dict(sorted(species.items())),
        'formulas': dict(sorted(formulas.items())),
        'distances': summarise_distances(structures),
        'gap_eV': [float(value) for value in (min(gaps), np.median(gaps), max(gaps))] if gaps else None,
        'delta_meV': {
            'mae_meV': float(np.mean([one['mae_meV'] for one in deltas])),
            'mae_onsite_meV': float(np.mean([one['mae_onsite_meV'] for one in deltas])),
            'largest_onsite_meV': float(max(one['mae_onsite_meV'] for one in deltas)),
            'mae_by_distance': _by_distance(deltas),
        },
    }


def statistics_in_words(found: dict) -> list[str]:
    """Lines that describe the statistics of :func:`data_statistics`."""
    least, most = found['n_atoms']
    many = f'{found["n_structures"]} structure{"s" if found["n_structures"] > 1 else ""}'
    lines = [
        f'{many} of {least if least == most else f"{least} to {most}"} atoms: '
        + ', '.join(f'{number} {label}' for label, number in found['species'].items())
        + ' atoms',
        'formulas: ' + ', '.join(f'{formula} ({number})' for formula, number in found['formulas'].items()),
    ]
    if found['gap_eV']:
        low, median, high = found['gap_eV']
        several = f'gaps from {low:.2f} to {high:.2f} eV, median {median:.2f} eV'
        lines.append(several if low < high else f'gap {median:.2f} eV')
    shortest = found['distances']['shortest'].items()
    lines.append('shortest distances: ' + ', '.join(f'{pair} {length:.2f} Å' for pair, length in shortest))
    nearest = found['distances']['nearest'].items()
    lines.append('farthest nearest neighbours: ' + ', '.join(f'{label} {length:.2f} Å' for label, length in nearest))
    delta = found['delta_meV']
    lines.append(
        f'mean |H - H0|: {delta["mae_meV"]:.3f} meV over all elements, {delta["mae_onsite_meV"]:.1f} meV on-site '
        f'(up to {delta["largest_onsite_meV"]:.1f} meV in one structure)'
    )
    lines += [
        f'  pairs {one["from_angstrom"]:.1f} to {one["to_angstrom"]:.1f} Å: {one["mae_meV"]:.4f} meV'
        for one in delta['mae_by_distance']
    ]
    return lines


def _by_distance(deltas: list[dict]) -> list[dict]:
    """Means over all elements in each range of `DISTANCES`."""
    result = []
    for low in DISTANCES[:-1]:
        entries = [e for one in deltas for e in one['mae_by_distance'] if e['from_angstrom'] == low]
        if entries:
            numbers = [entry['n_elements'] for entry in entries]
            result.append(
                {
                    'from_angstrom': float(low),
                    'to_angstrom': max(entry['to_angstrom'] for entry in entries),
                    'mae_meV': float(np.average([entry['mae_meV'] for entry in entries], weights=numbers)),
                    'n_elements': int(sum(numbers)),
                }
            )
    return result
