"""What speaks against the use of a reference, in words: ``warnings`` of a reconstructed Hamiltonian."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aiida_hamlr.electronic.integrals.orbital_cutoff import kinetic_energy_beyond, sufficient_cutoff
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import species_labels

#: Limits, meV: mean error of the occupied bands, change of a level by the cutoff, violation of the variational theorem.
OCCUPIED_ERROR, CUTOFF_ERROR, VIOLATION = 100.0, 50.0, 20.0

#: Condition number of the overlap above which the orbitals are nearly dependent.
CONDITION_NUMBER = 1e6

#: Kinetic energy of an orbital beyond the cutoff of the run that is too much, eV.
KINETIC_ENERGY = 0.1

#: Difference of the gaps on the mesh and on the band path that is told, eV.
MISSED_EDGE = 0.1

#: Largest distance of the k-points of a run, 1/Å.
KPOINT_DISTANCE = 0.45

#: Keys of the verification, their limits, and what exceeds them.
_LIMITS = (
    (
        'band_mae_occupied_meV',
        OCCUPIED_ERROR,
        'the occupied bands are {:.0f} meV from those of the run: the basis is too small; use a larger or '
        'contracted one',
    ),
    (
        'cutoff_error_meV',
        CUTOFF_ERROR,
        'levels change by up to {:.0f} meV when the orbitals are truncated at the cutoff of the run: ecutwfc is too '
        'low for these orbitals; raise it, or use softer pseudopotentials or orbitals',
    ),
    (
        'variational_violation_meV',
        VIOLATION,
        'a level lies {:.0f} meV below that of the run: ecutwfc is too low, or the scf cycle not converged',
    ),
    (
        'overlap_condition_number',
        CONDITION_NUMBER,
        'the condition number of the overlap is {:.1g}: orbitals are nearly dependent; use a smaller or shorter basis',
    ),
)


def find_warnings(
    hamiltonian: Hamiltonian, pseudos: Mapping[str, Pseudopotential], n_ghosts: int = 0, from_run: bool = True
) -> list[str]:
    """One line for everything that speaks against training on a Hamiltonian, or publishing its numbers.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With the attribute ``verification``, see `verify`.
    pseudos : mapping of str to Pseudopotential
        Their notes count.
    n_ghosts : int
        Occupied states that are combinations of nearly dependent orbitals, see `solve_mesh`.
    from_run : bool
        Whether the run was given, so that its k-points are known.
    """
    attributes = hamiltonian.attributes
    verification = attributes.verification or {}
    found = [text.format(verification[key]) for key, limit, text in _LIMITS if verification.get(key, 0.0) > limit]
    if verification.get('cutoff_error_meV', 0.0) > CUTOFF_ERROR:
        cutoff = sufficient_cutoff(hamiltonian.basis)
        found.append(
            f'ecutwfc is {attributes.ecutwfc:g} Ry: '
            + (f'{cutoff:g} Ry or more are enough for these orbitals' if cutoff else 'no cutoff in use is enough')
        )
    found += _missed_edges(hamiltonian)
    if n_ghosts:
        found.append(f'{n_ghosts} occupied states are combinations of nearly dependent orbitals (ghost states)')
    if from_run and 'cutoff_error_meV' not in verification:
        found += _hard_orbitals(hamiltonian)
    if not from_run:
        found.append('the run is not known: neither its convergence nor its levels were checked; give its XML file')
    elif attributes.scf_kpoints is None:
        found.append('the k-points of the run were listed: whether they are dense enough is not known')
    else:
        found += _coarse_mesh(hamiltonian.atoms.cell[:], attributes.scf_kpoints)
    for label in sorted(set(species_labels(hamiltonian.atoms))):
        found += pseudos[label].notes
    return found


def _hard_orbitals(hamiltonian: Hamiltonian) -> list[str]:
    cutoff = hamiltonian.attributes.ecutwfc
    found = []
    for element, species in hamiltonian.basis.items():
        energies = kinetic_energy_beyond(species, [cutoff])[:, 0]
        hardest = int(np.argmax(energies))
        if energies[hardest] > KINETIC_ENERGY:
            found.append(
                f'orbital {species.shells[hardest].label} of {element} has {1000 * energies[hardest]:.0f} meV of '
                f'kinetic energy beyond the cutoff of the run ({cutoff:g} Ry): raise ecutwfc, or use softer orbitals'
            )
    return found


def _missed_edges(hamiltonian: Hamiltonian) -> list[str]:
    attributes = hamiltonian.attributes
    on_mesh = (attributes.verification or {}).get('gap_on_mesh_eV')
    if on_mesh is None or on_mesh - attributes.gap <= MISSED_EDGE:
        return []
    points = ' and '.join(
        f'{name} at ({", ".join(f"{x:.3g}" for x in point)})'
        for name, point in (
            ('top of the valence band', attributes.vbm_kpoint),
            ('bottom of the conduction band', attributes.cbm_kpoint),
        )
    )
    mesh = ' x '.join(map(str, attributes.kpoints))
    return [
        f'the mesh of k-points ({mesh}) misses the band edges: the gap is {on_mesh:.3f} eV on it and '
        f'{attributes.gap:.3f} eV on the band path, {points}; `gap` is the latter'
    ]


def _coarse_mesh(cell: np.ndarray, mesh: list[int]) -> list[str]:
    distances = np.linalg.norm(reciprocal(cell), axis=1) / mesh
    if distances.max() <= 1.01 * KPOINT_DISTANCE:
        return []
    return [
        f'the k-points of the run ({" x ".join(map(str, mesh))}) are up to {distances.max():.2f} 1/Å apart: density '
        f'and potential may not be converged; use {KPOINT_DISTANCE} 1/Å or less'
    ]
