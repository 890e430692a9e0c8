"""How good a reconstructed Hamiltonian is: its bands against those of the plane-wave run that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError, eigh, eigvalsh

from aiida_hamlr.electronic.bands.kspace import BlochSum, eigenvalues
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.electrostatics import Electrostatics
from aiida_hamlr.electronic.reference.spinor_plane_waves import plane_wave_hamiltonian

#: Conduction bands that count as the lowest ones.
CONDUCTION_BANDS = 4

#: Width of the window above the conduction-band minimum, eV.
CONDUCTION_WINDOW = 2.0

#: A state that is filled by more than this fraction is occupied.
HALF_FILLED = 0.5

#: An eigenvalue violates the variational theorem if it lies further than this below that of the plane waves, meV: as
#: far as the grid, the digits of the files and the convergence of the run reach.
VIOLATION_TOLERANCE = 0.1

#: k-points at which the condition number of the overlap is computed at most.
CONDITION_KPOINTS = 4

#: k-points at which the basis is truncated at most.
TRUNCATED_KPOINTS = 2

#: Plane waves times orbitals, summed over these k-points, up to which the truncated basis is checked unasked: some
#: tenths of a second, less than the reconstruction of such a cell.
TRUNCATED_SIZE = 200_000

#: Above it the mean error of the occupied bands is not that of a usable basis, eV; a minimal one confined to 5 bohr has
#: up to one half of it.
IMPLAUSIBLE_ERROR = 2.0

#: Part of the error of the bands that the cutoff makes if it is its cause.
CUTOFF_SHARE = 0.5

#: Above it a violation of the variational theorem by the truncated basis is not the convergence of the run, meV.
IMPLAUSIBLE_VIOLATION = 10.0


#: How the message of `check_plausible` about a cutoff begins.
TOO_LOW = 'ecutwfc is too low'


class PlaneWaveRun(Protocol):
    """What is used of a finished run; `aiida_hamlr.io.qe.QeRun` has it."""

    n_electrons: float
    ecutwfc: float
    ecutrho: float
    fft_grid: tuple[int, int, int]
    functional: str
    kpoints: np.ndarray
    kpoint_mesh: tuple[int, int, int] | None
    weights: np.ndarray
    eigenvalues: np.ndarray
    occupations: np.ndarray
    n_spin: int
    spin_orbit: bool
    magnetization: float | None
    fixed_magnetization: float | None
    version: str
    scf_accuracy: float | None
    electrostatics: Electrostatics


def verify(
    hamiltonian: Hamiltonian,
    run: PlaneWaveRun | None = None,
    *,
    potential: np.ndarray | None = None,
    pseudos: Mapping[str, Pseudopotential] | None = None,
    truncate: bool | None = None,
) -> dict:
    """Checks that a reconstructed Hamiltonian can be judged by.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        With all four matrices.
    run : QeRun, optional
        Its eigenvalues at its own k-points are compared with those in the basis.
    potential : (n1, n2, n3) or (2, n1, n2, n3) array, optional
        Total local potential of the run, with spin that of each, eV, in the gauge of Quantum ESPRESSO: with ``run`` and
        ``pseudos``, the basis is truncated at the cutoff of the run at one or two of its k-points.
    pseudos : mapping of str to Pseudopotential, optional
        Those of the run.
    truncate : bool, optional
        Whether to truncate the basis; default: if it costs less than the rest, see ``TRUNCATED_SIZE``.

    Returns
    -------
    dict
        Always: ``electrons_from_density_matrix`` (tr PS), ``hermiticity_eV`` (largest ``|H_ij(R) - H_ji(-R)^T|``),
        ``overlap_condition_number`` (largest over some k-points), ``delta_ratio`` (mean ``|H - H0|`` by mean ``|H|``).

        With a run, the errors ``e_basis - e_plane_waves``, which are positive by the variational principle but for the
        finite cutoff of the run. Occupied are the states that the run fills by more than one half. Their mean, and that
        of the four lowest conduction bands at every k, is ``band_error_*_meV``. After the one shift that makes the mean
        of the occupied bands zero (``band_shift_meV``) their mean magnitude is ``band_mae_*_meV``, the largest of all
        of them ``band_max_error_meV``, of the occupied bands ``band_max_error_occupied_meV``; the same of all empty
        states up to 2 eV above the conduction-band minimum that the run computed, ``band_mae_window_meV`` and
        ``band_max_error_window_meV`` (``n_states_window`` of them). How far one that is occupied or in
        the window lies below its plane-wave one at most is ``variational_violation_meV``, how many of them do by more
        than 0.1 meV ``n_variational_violations``.

        With the truncated basis, for which the variational theorem is exact: ``variational_violation_truncated_meV`` of
        the occupied states, ``cutoff_error_meV`` (largest change of an eigenvalue, occupied or of the window, by the
        truncation) and ``n_kpoints_truncated``; if it was left out, ``truncated_check_skipped`` says why.

        With spin-orbit coupling the bands are those of spinors, and the lowest eight conduction bands count. With spin,
        the bands of both count alike, and ``run_magnetization`` is that of the run, to be compared with the
        attribute ``magnetization``.
    """
    pattern, overlap = hamiltonian.pattern, hamiltonian.overlap
    kpoints = np.zeros((1, 3)) if run is None else run.kpoints[:CONDITION_KPOINTS]
    spectra = [eigvalsh(matrix) for matrix in BlochSum(pattern).matrices(overlap, kpoints)]
    delta = np.abs(hamiltonian.hamiltonian - hamiltonian.h0).mean() / np.abs(hamiltonian.hamiltonian).mean()
    result = {
        'electrons_from_density_matrix': float(np.sum(hamiltonian.density_matrix * overlap)),
        'hermiticity_eV': pattern.asymmetry(hamiltonian.hamiltonian),
        'overlap_condition_number': float(max(spectrum[-1] / spectrum[0] for spectrum in spectra)),
        'delta_ratio': float(delta),
    }
    if run is None:
        return result
    if hamiltonian.n_spin == 2:
        result['run_magnetization'] = run.magnetization
    # (n_spin, nk, nb) from here on
    expected = _with_spin(run.eigenvalues)
    found = _with_spin(eigenvalues(hamiltonian, run.kpoints, n_bands=expected.shape[2]))
    found = found - hamiltonian.attributes.gauge_shift
    n_bands = min(found.shape[2], expected.shape[2])
    found, expected = found[..., :n_bands], expected[..., :n_bands]
    n_conduction = CONDUCTION_BANDS * (2 if run.spin_orbit else 1)
    occupied, conduction, window = _compared_states(expected, _with_spin(run.occupations)[..., :n_bands], n_conduction)
    result |= _compare_bands(1000 * (found - expected), occupied, conduction, window, run.weights)
    if potential is not None and pseudos is not None:
        truncated = _truncated_eigenvalues(hamiltonian, run, potential, pseudos, truncate)
        if isinstance(truncated, str):
            result['truncated_check_skipped'] = truncated
        else:
            n_kpoints = truncated.shape[1]
            # pw.x may miss an empty state, and the order of those above it is then off by one; never an occupied one.
            below = (expected[:, :n_kpoints] - truncated[..., :n_bands])[occupied[:, :n_kpoints]]
            change = (truncated[..., :n_bands] - found[:, :n_kpoints])[(occupied | window)[:, :n_kpoints]]
            result |= {
                'variational_violation_truncated_meV': float(max(0.0, 1000 * below.max())),
                'cutoff_error_meV': float(1000 * np.abs(change).max()),
                'n_kpoints_truncated': n_kpoints,
            }
    return result


def _with_spin(values: np.ndarray) -> np.ndarray:
    """(nk, nb) as (1, nk, nb)."""
    return np.reshape(values, (-1, *np.shape(values)[-2:]))


def _compared_states(
    energies: np.ndarray, occupations: np.ndarray, n_conduction: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which states (n_spin, nk, nb) are occupied, are among the lowest conduction bands, and lie in the window."""
    occupied = occupations > HALF_FILLED
    conduction = ~occupied & (np.cumsum(~occupied, axis=2) <= n_conduction)
    minimum = energies[~occupied].min(initial=np.inf)
    return occupied, conduction, ~occupied & (energies <= minimum + CONDUCTION_WINDOW)


def _compare_bands(errors, occupied, conduction, window, weights) -> dict:
    """What is said of the errors (n_spin, nk, nb), meV, of these states."""

    def mean(values, states):
        importance = weights[None, :, None] * states
        return float((importance * values).sum() / importance.sum())

    shift = mean(errors, occupied)
    compared, near_gap = occupied | conduction, errors[occupied | window]
    result = {
        'n_kpoints': len(weights),
        'band_shift_meV': shift,
        'band_max_error_meV': float(np.abs(errors - shift)[compared].max()),
        'band_max_error_occupied_meV': float(np.abs(errors - shift)[occupied].max()),
        'variational_violation_meV': float(max(0.0, -near_gap.min())),
        'n_variational_violations': int((near_gap < -VIOLATION_TOLERANCE).sum()),
    }
    for name, states in (('occupied', occupied), ('conduction', conduction)):
        if states.any():
            result[f'band_error_{name}_meV'] = mean(errors, states)
            result[f'band_mae_{name}_meV'] = mean(np.abs(errors - shift), states)
    if window.any():
        result['band_mae_window_meV'] = mean(np.abs(errors - shift), window)
        result['band_max_error_window_meV'] = float(np.abs(errors - shift)[window].max())
        result['n_states_window'] = int(window.sum())
    return result


def _truncated_eigenvalues(hamiltonian, run, potential, pseudos, wanted: bool | None) -> np.ndarray | str:
    """Eigenvalues (n_spin, nk, n_orbitals), eV, of the basis truncated at the run's cutoff, or why there are none."""
    if wanted is False:
        return 'not asked for'
    spins = [
        plane_wave_hamiltonian(hamiltonian.atoms, channel, pseudos, run.ecutwfc, run.spin_orbit)
        for channel in np.reshape(potential, (-1, *np.shape(potential)[-3:]))
    ]
    n_orbitals = hamiltonian.n_orbitals
    kpoints, size = [], 0
    for kpoint in run.kpoints[:TRUNCATED_KPOINTS]:
        n_plane_waves = len(spins[0].plane_waves(kpoint)[0])
        size += n_plane_waves * n_orbitals
        if n_plane_waves < n_orbitals:
            return f'{n_plane_waves} plane waves cannot hold {n_orbitals} orbitals'
        if size > TRUNCATED_SIZE and not (wanted and not kpoints):
            break
        kpoints.append(kpoint)
    if not kpoints:
        return (
            f'{n_orbitals} orbitals in {n_plane_waves} plane waves take longer than the reconstruction; '
            'set quality_assurance: true for it'
        )
    try:
        return np.array(
            [[eigh(*spin.project(hamiltonian.basis, k), eigvals_only=True) for k in kpoints] for spin in spins]
        )
    except LinAlgError:
        return 'the orbitals are linearly dependent when they are truncated at the cutoff of the run'


def check_plausible(verification: Mapping, source: str | None = None, cutoff: float | None = None):
    """Refuse a Hamiltonian whose bands cannot be those of the run.

    A damaged potential, or that of another run, has other eigenvalues. What stays within the errors that a basis and
    the convergence of a run have goes unnoticed.

    Parameters
    ----------
    verification : mapping
        As `verify` returns it, with a run.
    source : str, optional
        Name of the file that the potential comes from, for the message.
    cutoff : float, optional
        Cutoff that the orbitals need, Ry, for the message.

    Raises
    ------
    ValueError
        If the truncated basis violates the variational theorem by more than 10 meV, or the mean error of the occupied
        bands is beyond 2 eV; the message holds the numbers.
    """
    where = f'{source}: ' if source else ''
    proven = 'plane_wave_error_meV' in verification
    violation = verification.get('variational_violation_truncated_meV', 0.0)
    if not violation <= IMPLAUSIBLE_VIOLATION:
        cause = (
            'its plane-wave levels are right, so that the scf cycle is not converged, or orbitals are nearly dependent'
            if proven
            else 'the potential is damaged or that of another run'
        )
        raise ValueError(
            f'{where}an eigenvalue lies {violation:.4g} meV below that of the run, which the variational theorem '
            f'forbids; {cause}'
        )
    error = max(abs(verification.get(key, 0.0)) for key in ('band_shift_meV', 'band_mae_occupied_meV')) / 1000
    if error <= IMPLAUSIBLE_ERROR:
        return
    cutoff_error, below = (verification.get(k, 0.0) for k in ('cutoff_error_meV', 'variational_violation_meV'))
    if proven and max(cutoff_error, below) > 1000 * CUTOFF_SHARE * error:
        cause = (
            f'{TOO_LOW} for these pseudopotentials and orbitals: the cutoff moves levels by '
            f'{max(cutoff_error, below):.0f} meV' + (f'; use {cutoff:g} Ry or more' if cutoff else '; raise it')
        )
    elif proven:
        cause = 'the potential is right, so that the basis is far too small'
    else:
        cause = 'the potential is damaged or that of another run, or the basis is far too small'
    raise ValueError(f'{where}the occupied bands are {error:.3g} eV away from those of the run; {cause}')
