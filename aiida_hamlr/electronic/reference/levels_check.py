"""Whether a potential and pseudopotentials are those of a run: their plane-wave eigenvalues against those of the run.

The Hamiltonian in plane waves, at the run's own cutoff, has the eigenvalues of the run to rounding and to the
convergence of its scf cycle. Unlike the variational check of a basis this tells levels that are too high as well as
levels that are too low, and needs no basis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.integrals.neutral_atom import gauge_shift as periodic_gauge_shift
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.electronic.reference.spinor_plane_waves import plane_wave_hamiltonian
from aiida_hamlr.electronic.reference.vacuum import find_vacuum, vacuum_sides
from aiida_hamlr.errors import NumericalError

if TYPE_CHECKING:
    from aiida_hamlr.electronic.reference.verification import PlaneWaveRun

#: Largest error of a level, meV, if the scf cycle is converged.
LEVEL_TOLERANCE = 1.0

#: Factor of ``sqrt(estimated accuracy of the total energy)``, sqrt(Ry): first-order error of levels.
CONVERGENCE_FACTOR = 1.0

#: Seconds that may be spent, and seconds per atom, as estimated from the constants below.
BUDGET, BUDGET_PER_ATOM = 4.0, 0.05

#: Iterations until states are found; seconds per state and iteration of a grid point and of a product of plane waves
#: and projectors, of one core.
ITERATIONS, SECONDS_PER_POINT, SECONDS_PER_PRODUCT = 10, 1e-7, 2e-9

#: States that are compared at least.
FEWEST_STATES = 4

#: Levels among which the end of a shell is looked for.
LARGEST_SHELL = 40

#: Norm of the residual of the states, Ry; leaves errors of some tenths of a meV in the dense levels of large cells.
RESIDUAL = 2e-3

#: Fraction of the mean below which the scatter of differences counts as a common shift.
COMMON_SHIFT = 0.05

#: Potential in the vacuum, eV, and relative to the gauge shift, that dipoles and exchange and correlation may leave.
VACUUM_TOLERANCE, GAUGE_TOLERANCE = 0.5, 0.5

#: The likeliest cause.
OTHER_PSEUDOS = 'pseudopotentials other than those of the run'


class LevelsDifferError(ValueError):
    """The levels of potential and pseudopotentials are not those of the run.

    Parameters
    ----------
    finding : str
        What was found.
    causes : sequence of str
        Likely causes, the likeliest first.
    """

    def __init__(self, finding: str, causes: Sequence[str]):
        self.finding, self.causes = finding, tuple(causes)
        super().__init__(f'{finding}; likely causes, in this order: {", ".join(self.causes)}')


def compare_levels(
    atoms: Atoms, potential: np.ndarray, pseudos: Mapping[str, Pseudopotential], run: PlaneWaveRun
) -> dict:
    """Plane-wave eigenvalues of the lowest occupied states at one k-point of the run against its own.

    As many states as cost some seconds, all occupied ones of a small cell, four at least.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure of the run.
    potential : (n1, n2, n3) or (2, n1, n2, n3) array
        Total local potential, with spin that of each, eV, in the gauge of Quantum ESPRESSO.
    pseudos : mapping of str to Pseudopotential
        By element.
    run : QeRun
        The run.

    Returns
    -------
    dict
        ``plane_wave_error_meV`` (largest magnitude of the differences), ``plane_wave_shift_meV`` (their mean),
        ``plane_wave_spread_meV`` (largest less smallest) and ``n_plane_wave_states``.

    Raises
    ------
    NumericalError
        If the states are not found.
    """
    spins = np.reshape(potential, (-1, *np.shape(potential)[-3:]))
    expected = np.reshape(run.eigenvalues, (-1, *np.shape(run.eigenvalues)[-2:]))
    occupations = np.reshape(run.occupations, expected.shape)
    # At Gamma s and p states do not mix; another point tells more.
    index = min(1, len(run.kpoints) - 1)
    differences = []
    for spin, energies, filled in zip(spins, expected[:, index], occupations[:, index], strict=True):
        operator = plane_wave_hamiltonian(atoms, spin, pseudos, run.ecutwfc, run.spin_orbit)
        n_occupied = max(int((filled > 0.5).sum()), 1)
        n_states = min(n_occupied, _affordable_states(operator, run.kpoints[index], len(atoms)))
        try:
            found = operator.eigenvalues(run.kpoints[index], n_states, residual=RESIDUAL)
        except NumericalError:
            n_states = _end_of_shell(energies[: n_occupied + 1], n_states)
            found = operator.eigenvalues(run.kpoints[index], n_states, residual=RESIDUAL)
        differences.append(1000 * (found - energies[:n_states]))
    differences = np.concatenate(differences)
    return {
        'plane_wave_error_meV': float(np.abs(differences).max()),
        'plane_wave_shift_meV': float(differences.mean()),
        'plane_wave_spread_meV': float(np.ptp(differences)),
        'n_plane_wave_states': len(differences),
    }


def _end_of_shell(energies: np.ndarray, n_states: int) -> int:
    """Number of states, ``n_states`` or more, that ends at the largest gap of the levels (n,) that follow, eV.

    Iterations for a few of many nearly equal levels, such as those of a d shell, do not converge.
    """
    gaps = np.diff(energies)[n_states - 1 : n_states - 1 + LARGEST_SHELL]
    return n_states + int(gaps.argmax()) if len(gaps) else n_states


def _affordable_states(operator: PlaneWaveHamiltonian, kpoint: np.ndarray, n_atoms: int) -> int:
    n_plane_waves = len(operator.plane_waves(kpoint)[0])
    seconds = SECONDS_PER_POINT * operator.n_points + SECONDS_PER_PRODUCT * n_plane_waves * operator.n_projectors
    return max(FEWEST_STATES, int((BUDGET + BUDGET_PER_ATOM * n_atoms) / (ITERATIONS * seconds)))


def check_levels(levels: Mapping, run: PlaneWaveRun, source: str | None = None):
    """Refuse a potential whose levels are not those of the run.

    Parameters
    ----------
    levels : mapping
        As `compare_levels` returns it.
    run : QeRun
        The run.
    source : str, optional
        Name of the file of the potential, for the message.

    Raises
    ------
    LevelsDifferError
        If a level differs by more than 1 meV and what the convergence of the scf cycle leaves.
    """
    tolerance = LEVEL_TOLERANCE + CONVERGENCE_FACTOR * 13.6057e3 * np.sqrt(run.scf_accuracy or 0.0)
    error, shift = levels['plane_wave_error_meV'], levels['plane_wave_shift_meV']
    if error <= tolerance:
        return
    where = f'{source}: ' if source else ''
    finding = (
        f'{where}with this potential and these pseudopotentials the {levels["n_plane_wave_states"]} lowest levels of '
        f'the run are missed by up to {error:.4g} meV ({shift:+.4g} meV on average, {tolerance:.2g} meV allowed)'
    )
    causes = [
        OTHER_PSEUDOS,
        'a potential or density of another run or geometry',
        'a keyword of the run that changes its Hamiltonian',
        'an scf cycle that is not converged',
        'a damaged file',
    ]
    if levels['plane_wave_spread_meV'] <= COMMON_SHIFT * abs(shift) and levels['n_plane_wave_states'] > 1:
        causes.insert(0, 'another zero of energy, for all levels are shifted alike (an isolated cell, another program)')
    raise LevelsDifferError(finding, causes)


def check_zero(
    atoms: Atoms, potential: np.ndarray, pseudos: Mapping[str, Pseudopotential], run: PlaneWaveRun, source: str | None
):
    """Refuse a potential that does not vanish, in the neutral-atom gauge, in the vacuum of a slab or a molecule.

    Levels that agree do not tell where their zero lies. Surface dipoles and exchange and correlation, which ends
    slowly, leave some tenths of an eV. Crystals without vacuum are not checked: their electrostatics are periodic.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure of the run.
    potential : (n1, n2, n3) array
        Total local potential, eV, in the gauge of Quantum ESPRESSO; of two spins, the mean.
    pseudos : mapping of str to Pseudopotential
        By element.
    run : QeRun
        The run.
    source : str, optional
        Name of the file of the potential, for the message.

    Raises
    ------
    ValueError
        If it is further from zero than half the gauge shift and 0.5 eV.
    """
    vacuum = find_vacuum(atoms, pseudos)
    if vacuum is None:
        return
    heights = vacuum_sides(atoms, vacuum, run.electrostatics)
    if not heights and run.electrostatics.slab_cutoff:
        return
    others = tuple(other for other in range(3) if other != vacuum[0])
    profile = np.mean(potential, axis=others)
    planes = [int(round(height * len(profile))) % len(profile) for height in heights or (vacuum[1],)]
    level = float(np.mean(profile[planes]))
    level += run.electrostatics.gauge_shift(atoms, pseudos)
    tolerance = VACUUM_TOLERANCE + GAUGE_TOLERANCE * abs(periodic_gauge_shift(atoms, pseudos))
    if not abs(level) <= tolerance:
        where = f'{source}: ' if source else ''
        raise ValueError(
            f'{where}in the vacuum the potential is {level:+.3g} eV with the zero of {run.electrostatics.name} '
            f'electrostatics ({tolerance:.2g} eV allowed); likely causes, in this order: a run of an isolated cell, a '
            'version of Quantum ESPRESSO with another zero, a damaged file'
        )
