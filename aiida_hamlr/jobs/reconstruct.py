"""`hamlr reconstruct`: from the potential or the density of a pw.x run to a Hamiltonian in an orbital basis."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.density import potential_from_density
from aiida_hamlr.electronic.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reconstruction import reconstruct
from aiida_hamlr.electronic.resources import choose_device, set_threads
from aiida_hamlr.io.qe import (
    QeRun,
    check_same_structure,
    check_supported,
    read_charge_density,
    read_filplot,
    read_potential,
    read_scf_xml,
)
from aiida_hamlr.jobs.config import load_config
from aiida_hamlr.jobs.inputs import basis_of_config, read_pseudo_files, read_structure
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.schemas import ReconstructConfig
from aiida_hamlr.jobs.summary import JobSummary, summary_path

#: Attributes of the Hamiltonian that the summary repeats.
_SUMMARISED = ('functional', 'n_electrons', 'fermi_level_eV', 'gap_eV', 'vacuum_level_eV')


def run_reconstruct(config_file: Path) -> Hamiltonian:
    """Write ``hamiltonian.h5`` and ``summary.json`` beside it, as a configuration says.

    Parameters
    ----------
    config_file : path
        See `ReconstructConfig`. If ``structure`` or ``plane_wave_bands`` is the XML file of the run, the run is checked
        (converged, neutral, without spin, norm-conserving) and its eigenvalues verify the result.

    Raises
    ------
    ValueError
        If an input is missing, not supported or does not fit the others; before any long work.
    NumericalError
        If the overlap is not positive definite.
    """
    summary = JobSummary('reconstruct')
    config = load_config(config_file, ReconstructConfig)
    device = choose_device(config.device)
    set_threads(config.threads)
    run = _read_run(config)
    atoms = read_structure(config.structure)
    if run is None:
        log('no XML file of the run is given: convergence is not checked, bands are not compared')
    else:
        check_supported(run)
        try:
            check_same_structure(run.atoms, atoms)
        except ValueError as error:
            raise ValueError(f'{config.plane_wave_bands}: a run of another structure: {error}') from error
    elements = set(atoms.get_chemical_symbols())
    missing = sorted(elements - set(config.pseudos))
    if missing:
        raise ValueError(f'{config_file}: no pseudopotential for {", ".join(missing)}; add it to pseudos')
    pseudos = read_pseudo_files({element: config.pseudos[element] for element in sorted(elements)})
    basis = basis_of_config(config.basis, pseudos, str(config_file))
    potential, density, ecutrho = _read_potential(config, run, atoms, pseudos)
    log(f'{atoms.get_chemical_formula()}: {basis.n_orbitals(atoms.get_chemical_symbols()).sum()} orbitals')
    hamiltonian = reconstruct(
        atoms,
        potential,
        basis,
        pseudos,
        ecutrho,
        config.kpoints,
        run=run,
        density=density,
        device=device,
        memory_limit=config.memory_limit,
    )
    hamiltonian.write(config.output)
    verification = hamiltonian.attributes['verification']
    summary |= {
        'formula': atoms.get_chemical_formula(),
        'n_atoms': len(atoms),
        'n_orbitals': int(hamiltonian.pattern.orbital_offsets[-1]),
        'n_pairs': len(hamiltonian.pattern),
        'basis_hash': hamiltonian.basis.content_hash,
        **{key: hamiltonian.attributes.get(key) for key in _SUMMARISED},
        **verification,
        'output': str(config.output),
    }
    summary.write(summary_path(config.output))
    for key in ('band_mae_occupied_meV', 'band_mae_conduction_meV', 'variational_violation_meV', 'delta_ratio'):
        if key in verification:
            log(f'{key}: {verification[key]:.4g}')
    log(f'Hamiltonian written to {config.output}')
    return hamiltonian


def _read_potential(
    config: ReconstructConfig, run: QeRun | None, atoms, pseudos
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """The total local potential, eV, the density that it was made from, bohr^-3, if so, and the grid's cutoff, Ry."""
    if config.density is None:
        potential = read_potential(config.potential, atoms)
        return potential, None, read_filplot(config.potential).ecutrho if run is None else run.ecutrho
    if run is None:
        raise ValueError(f'{config.density}: needs the XML file of its run; give it as plane_wave_bands or structure')
    density = read_charge_density(config.density, run.fft_grid, atoms)
    try:
        return potential_from_density(atoms, density, pseudos, run.ecutrho), density, run.ecutrho
    except ValueError as error:
        raise ValueError(f'{config.density}: {error}') from error


def _read_run(config: ReconstructConfig) -> QeRun | None:
    """The XML file of the run, if one is given."""
    for path in (config.plane_wave_bands, config.structure):
        if path is not None and path.suffix == '.xml':
            return read_scf_xml(path)
    if config.plane_wave_bands is not None:
        raise ValueError(f'{config.plane_wave_bands}: plane_wave_bands must be the XML file of the pw.x run')
    return None
