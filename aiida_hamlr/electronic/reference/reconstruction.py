"""The Kohn-Sham Hamiltonian of a finished plane-wave run in an orbital basis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.bands.band_structure import band_edges
from aiida_hamlr.electronic.bands.edges import find_edges
from aiida_hamlr.electronic.bands.kpoints import MESH_SPACING, mesh_from_spacing
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.bands.spin import record_spin
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.h0 import structure_matrices
from aiida_hamlr.electronic.integrals.neutral_atom import common_functional, neutral_atom_potential
from aiida_hamlr.electronic.integrals.orbital_cutoff import sufficient_cutoff
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import check_electrons
from aiida_hamlr.electronic.reference.electrostatics import PERIODIC, Electrostatics
from aiida_hamlr.electronic.reference.hirshfeld import hirshfeld_moments
from aiida_hamlr.electronic.reference.levels_check import check_levels, check_zero, compare_levels
from aiida_hamlr.electronic.reference.planar_potential import planar_potential
from aiida_hamlr.electronic.reference.quality import find_warnings
from aiida_hamlr.electronic.reference.vacuum import check_falling_part, vacuum_levels
from aiida_hamlr.electronic.reference.verification import PlaneWaveRun, check_plausible, verify
from aiida_hamlr.electronic.resources import check_memory
from aiida_hamlr.electronic.species import species_labels

__all__ = ['PlaneWaveRun', 'reconstruct', 'verify']

#: Bonds, charges and fields change the potential of neutral atoms by less at every point, eV; by 2 to 8 as a rule.
IMPLAUSIBLE_DIFFERENCE = 100.0

#: Arrays as long as a matrix that are there at the same time at most; every spin adds two.
ARRAYS = 8


@dataclass(frozen=True)
class ReconstructionOptions:
    """Optional input of a reconstruction, and how it is computed.

    Parameters
    ----------
    density : (n1, n2, n3) array, optional
        Valence electrons of both spins together on the FFT grid, bohr^-3, for the vacuum level of slabs, see
        `vacuum_levels`, the electrostatic potential along the axes, see `planar_potential`, and the labels of the
        atoms, see `hirshfeld_moments`.
    levels : mapping, optional
        What `check_run` returned, if it was called before.
    tables : TwoCentreTables, optional
        Those of this basis and these pseudopotentials, if they were made before.
    device : str
        Where the grid integrals are done, 'auto', 'cpu' or 'cuda'.
    truncate : bool, optional
        Whether to check with the basis truncated at the cutoff of the run; default: if it is cheap. See `verify`.
    source : str, optional
        Name of the file of the potential, for errors.
    memory_limit : float, optional
        GB, for matrices and integrals; not for the diagonalisation of the mesh of k-points.
    """

    density: np.ndarray | None = None
    levels: Mapping | None = None
    tables: TwoCentreTables | None = None
    device: str = 'cpu'
    truncate: bool | None = None
    source: str | None = None
    memory_limit: float | None = None


def reconstruct(
    atoms: Atoms,
    potential: np.ndarray,
    basis: Basis,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    kpoints: tuple[int, int, int] | None = None,
    *,
    run: PlaneWaveRun | None = None,
    options: ReconstructionOptions | None = None,
) -> Hamiltonian:
    """Hamiltonian, overlap, H0 and density matrix from the total local potential of a plane-wave run.

    ``H = T + V_nl + V_loc`` with two-centre integrals for the first two and the grid sum for the last. H and H0 are
    in the neutral-atom gauge; H0 is computed on the grid of the potential, so that the grid errors of H - H0 cancel.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure of the run.
    potential : (n1, n2, n3) or (2, n1, n2, n3) array
        Total local Kohn-Sham potential ``V_loc + V_H + V_xc`` on the FFT grid, eV, in the gauge of Quantum ESPRESSO;
        with collinear spin those of spin up and spin down.
    basis : Basis
        Orbitals of every element.
    pseudos : mapping of str to Pseudopotential
        Those of the run.
    ecutrho : float
        Cutoff of the run's density, Ry.
    kpoints : three int, optional
        Mesh for the density matrix and the Fermi level; by default its points are at most 0.25 1/Å apart.
    run : QeRun, optional
        The run, to check the input against it and to verify the result; see `check_run` and `verify`.
    options : ReconstructionOptions, optional
        Density, checks, device and memory; see there.

    Returns
    -------
    Hamiltonian
        With all four matrices, with spin H and density matrix of each; H0 and the overlap have no spin. With the
        spin-orbit part if the run has spin-orbit coupling; H is the scalar part then, to be learned. With labels if
        the density is given. ``attributes.verification`` says how good it is.

    Raises
    ------
    ValueError
        If an element has no basis or pseudopotential, if the input is not that of the run, see `check_run`, if the
        bands cannot be its bands, see `check_plausible`, or if the matrices do not fit in the memory limit.
    NumericalError
        If the overlap is not positive definite.
    """
    options = options or ReconstructionOptions()
    basis = basis.restricted(species_labels(atoms))
    attributes = _attributes(atoms, potential, pseudos, ecutrho, run)
    levels = options.levels
    if run is not None and levels is None:
        levels = check_run(atoms, potential, pseudos, run, options.source)
    if options.density is not None:
        if np.shape(options.density) != np.shape(potential)[-3:]:
            raise ValueError(
                f'the density has {np.shape(options.density)} grid points, the potential {np.shape(potential)[-3:]}'
            )
        check_electrons(atoms, options.density, pseudos)
    texts = {label: pseudos[label].text for label in basis}
    pattern = overlap_pattern(atoms, basis)
    hamiltonian = Hamiltonian(atoms.copy(), basis, pattern, {}, texts, attributes)
    _add_matrices(hamiltonian, potential, pseudos, run is not None and run.spin_orbit, options)
    if options.density is not None:
        _record_density(hamiltonian, options.density, pseudos, _electrostatics(run))
    kpoints = kpoints or mesh_from_spacing(atoms, MESH_SPACING)
    attributes.kpoints = [int(n) for n in kpoints]
    solution = solve_mesh(hamiltonian, kpoints)
    hamiltonian.matrices['density_matrix'] = solution.density_matrix
    record_spin(hamiltonian, solution.filling)
    attributes.record_edges(find_edges(hamiltonian, solution))
    verification = verify(hamiltonian, run, potential=potential, pseudos=pseudos, truncate=options.truncate)
    verification |= levels or {}
    on_mesh = band_edges(hamiltonian, solution).gap
    if on_mesh is not None:
        verification['gap_on_mesh_eV'] = on_mesh
    check_plausible(verification, options.source, sufficient_cutoff(basis))
    attributes.verification = verification
    attributes.warnings = find_warnings(hamiltonian, pseudos, solution.n_ghosts, run is not None)
    return hamiltonian


def _attributes(
    atoms: Atoms,
    potential: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    ecutrho: float,
    run: PlaneWaveRun | None,
) -> HamiltonianAttributes:
    """What is known before anything is integrated."""
    species, shape = species_labels(atoms), np.shape(potential)
    electrostatics = _electrostatics(run)
    attributes = HamiltonianAttributes(
        origin='reference',
        functional=common_functional(species, pseudos),
        gauge='neutral_atom',
        gauge_shift=electrostatics.gauge_shift(atoms, pseudos),
        electrostatics=electrostatics.name,
        n_electrons=sum(pseudos[label].z_valence for label in species),
        n_spin=1 if len(shape) == 3 else shape[0],
        grid=[int(n) for n in shape[-3:]],
        ecutrho=float(ecutrho),
        code=f'aiida-hamlr {__version__}',
    )
    if run is not None:
        attributes.ecutwfc = float(run.ecutwfc)
        attributes.scf_kpoints = run.kpoint_mesh and list(run.kpoint_mesh)
        attributes.code = f'{attributes.code}, Quantum ESPRESSO {run.version}'
        if attributes.n_spin == 2:
            attributes.fixed_magnetization = run.fixed_magnetization
    return attributes


def _add_matrices(
    hamiltonian: Hamiltonian,
    potential: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    spin_orbit: bool,
    options: ReconstructionOptions,
):
    """H, H0, overlap and, if it is wanted, the spin-orbit part."""
    atoms, basis, pattern = hamiltonian.atoms, hamiltonian.basis, hamiltonian.pattern
    attributes = hamiltonian.attributes
    spins = np.reshape(potential, (-1, *np.shape(potential)[-3:]))
    n_arrays = ARRAYS + 2 * (len(spins) - 1) + (3 if spin_orbit else 0)
    check_memory(n_arrays * 8 * pattern.n_entries, options.memory_limit, f'the Hamiltonian of {len(atoms)} atoms')
    tables = options.tables or TwoCentreTables(basis, pseudos, options.memory_limit)
    overlap, fixed = structure_matrices(atoms, tables, pattern)
    neutral = neutral_atom_potential(atoms, pseudos, spins.shape[1:], attributes.ecutrho)
    for spin in spins:
        _check_against_neutral_atoms(spin, neutral, options.source)
    potentials = np.stack([*spins, neutral])
    *local, local_neutral = local_matrix(atoms, basis, pattern, potentials, options.device, options.memory_limit)
    local = local[0] if len(spins) == 1 else np.stack(local)
    hamiltonian.matrices |= {
        'hamiltonian': fixed + local + attributes.gauge_shift * overlap,
        'overlap': overlap,
        'h0': fixed + local_neutral,
    }
    if spin_orbit:
        hamiltonian.matrices[SPIN_ORBIT] = tables.spin_orbit_part(atoms, pattern)


def _electrostatics(run: PlaneWaveRun | None) -> Electrostatics:
    return PERIODIC if run is None else run.electrostatics


def _record_density(
    hamiltonian: Hamiltonian,
    density: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    electrostatics: Electrostatics,
):
    """Vacuum levels of a slab, plane averages of the potential, charges and dipoles of the atoms."""
    atoms, attributes = hamiltonian.atoms, hamiltonian.attributes
    levels = vacuum_levels(atoms, density, pseudos, attributes.ecutrho, electrostatics)
    if levels is not None:
        attributes.vacuum_level = levels[0]
        if levels[1] is not None:
            attributes.vacuum_levels = list(levels[1:])
    attributes.planar_potentials = [
        planar_potential(atoms, density, pseudos, attributes.ecutrho, axis, electrostatics).round(9).tolist()
        for axis in range(3)
    ]
    charges, dipoles = hirshfeld_moments(atoms, density, pseudos, attributes.ecutrho)
    hamiltonian.labels = {'hirshfeld_charges': charges, 'hirshfeld_dipoles': dipoles}


def check_run(
    atoms: Atoms,
    potential: np.ndarray,
    pseudos: Mapping[str, Pseudopotential],
    run: PlaneWaveRun,
    source: str | None = None,
) -> dict:
    """Refuse a potential or pseudopotentials that are not those of a run.

    Parameters
    ----------
    atoms, potential, pseudos, run, source
        See `reconstruct`.

    Returns
    -------
    dict
        How well the plane-wave levels of the run are met, see `compare_levels`.

    Raises
    ------
    ValueError
        If grid, electrons, spin or functional are not those of the run, if its electrostatics do not fit the structure,
        or if its levels are not met, or the potential does not vanish in the vacuum.
    """
    species = species_labels(atoms)
    spins = np.reshape(potential, (-1, *np.shape(potential)[-3:]))
    n_electrons = sum(pseudos[label].z_valence for label in species)
    _check_relativity(pseudos, species, run)
    _check_against_run(run, spins.shape[1:], len(spins), n_electrons, common_functional(species, pseudos), source)
    run.electrostatics.check_cell(atoms)
    check_falling_part(atoms, pseudos, run.electrostatics, source)
    levels = compare_levels(atoms, potential, pseudos, run)
    check_levels(levels, run, source)
    check_zero(atoms, spins.mean(axis=0), pseudos, run, source)
    return levels


def _check_against_neutral_atoms(potential: np.ndarray, neutral: np.ndarray, source: str | None):
    """Refuse a potential that is not that of atoms at these places: an exponent is damaged, or atoms are misplaced."""
    difference = potential - neutral
    largest = float(np.abs(difference - np.median(difference)).max())
    # A potential that is not finite is refused where it is integrated.
    if largest > IMPLAUSIBLE_DIFFERENCE:
        where = f'{source}: ' if source else ''
        raise ValueError(
            f'{where}the potential differs by up to {largest:.3g} eV from that of neutral atoms; '
            'it is damaged, or that of other atoms'
        )


def _check_relativity(pseudos: Mapping[str, Pseudopotential], species: list[str], run: PlaneWaveRun):
    """Refuse a run in which pw.x made scalar pseudopotentials out of fully relativistic ones."""
    full = sorted(label for label in set(species) if pseudos[label].has_spin_orbit)
    if full and not run.spin_orbit:
        raise ValueError(
            f'the pseudopotential of {" and ".join(full)} is fully relativistic, and the run has no spin-orbit '
            'coupling: pw.x averages projectors of both j then, which is not the scalar-relativistic part of the file '
            'and moves levels by up to electronvolts; set noncolin and lspinorb, or use scalar-relativistic '
            'pseudopotentials'
        )


def _check_against_run(run: PlaneWaveRun, shape, n_spin: int, n_electrons: float, functional: str, source: str | None):
    if n_spin != run.n_spin:
        raise ValueError(f'the potential is that of {n_spin} spin channels, the run has {run.n_spin}')
    if tuple(shape) != tuple(run.fft_grid):
        where = f'{source}: ' if source else ''
        raise ValueError(f'{where}the potential has {tuple(shape)} grid points, the run {tuple(run.fft_grid)}')
    if abs(run.n_electrons - n_electrons) > 1e-6:
        raise ValueError(
            f'the pseudopotentials leave {n_electrons:g} electrons, the run has {run.n_electrons:g}; '
            'give the pseudopotentials of the run'
        )
    if run.functional != functional:
        raise ValueError(f'the pseudopotentials are made for {functional}, the run used {run.functional}')
