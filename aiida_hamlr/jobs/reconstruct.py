"""`hamlr reconstruct`: from the potential or the density of a pw.x run to a Hamiltonian in an orbital basis."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.bands.calculation import PropertyResults, compute_properties
from aiida_hamlr.electronic.bands.kpoints import find_band_path
from aiida_hamlr.electronic.magnetism import set_starting_moments
from aiida_hamlr.electronic.matrices.description import VERIFICATION, description_path, write_described
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reading import naming
from aiida_hamlr.electronic.reference import reconstruction
from aiida_hamlr.electronic.reference.density import check_hartree_energy, check_potential, potential_from_density
from aiida_hamlr.electronic.reference.electrostatics import PERIODIC
from aiida_hamlr.electronic.reference.levels_check import OTHER_PSEUDOS, LevelsDifferError
from aiida_hamlr.electronic.resources import choose_device, set_threads
from aiida_hamlr.electronic.species import element_of_label, set_species_labels, species_labels
from aiida_hamlr.io.qe import (
    FieldResponse,
    QeRun,
    check_same_structure,
    check_saved_pseudos,
    check_supported,
    find_other_names,
    read_charge_density,
    read_density,
    read_field_response,
    read_filplot,
    read_potential,
    read_scf_xml,
)
from aiida_hamlr.jobs.bands import describe_ghosts
from aiida_hamlr.jobs.basis import basis_of_config
from aiida_hamlr.jobs.config import load_config, validate
from aiida_hamlr.jobs.inputs import read_pseudo_files, read_structure
from aiida_hamlr.jobs.outputs import BANDS, PROPERTIES, check_outputs, check_overwriting, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.properties import property_options, record_edges, write_properties
from aiida_hamlr.jobs.schemas import ReconstructConfig
from aiida_hamlr.jobs.summary import JobSummary

#: Attributes of the Hamiltonian that the summary repeats.
_SUMMARISED = (
    'functional',
    'ecutwfc_Ry',
    'ecutrho_Ry',
    'n_electrons',
    'n_spin',
    'fermi_level_eV',
    'gap_eV',
    'direct_gap_eV',
    'vbm_kpoint',
    'cbm_kpoint',
    'kpoints',
    'vacuum_level_eV',
)

#: Those that only some have.
_SUMMARISED_WHERE_KNOWN = (
    'vacuum_levels_eV',
    'electrostatics',
    'magnetization',
    'fixed_magnetization',
    'magnetic_moments',
    'spin_gaps_eV',
    'spin_fermi_levels_eV',
    'born_charge_sum_e',
)

#: Endings of files that pw.x writes into the folder that holds copies of its pseudopotentials.
_RUN_FILES = ('.xml', '.dat', '.hdf5')

#: Endings of the density that pw.x writes; any other is that of a filplot.
_CHARGE_DENSITY = ('.dat', '.hdf5')

#: Checks that are logged.
_LOGGED = (*(key for key in VERIFICATION if key.endswith('_meV')), 'delta_ratio')


def run_reconstruct(config_file: Path) -> Hamiltonian:
    """Write ``hamiltonian.h5`` and, beside it, description, properties and ``summary.json``, as a configuration says.

    Parameters
    ----------
    config_file : path
        See `ReconstructConfig`. If ``structure`` or ``plane_wave_bands`` is the XML file of the run, the run is checked
        (converged, neutral, collinear, norm-conserving) and its eigenvalues verify the result.

    Raises
    ------
    ValueError
        If an input is missing, not supported or does not fit the others; before any long work.
    NumericalError
        If the overlap is not positive definite.
    """
    summary = JobSummary('reconstruct')
    config = load_config(config_file, ReconstructConfig)
    folder = config.output.parent
    inputs = [
        config_file,
        config.structure,
        config.potential,
        config.density,
        config.phonon,
        config.plane_wave_bands,
        *config.pseudos.values(),
        *config.basis.files.values(),
    ]
    written = [config.output]
    written += [folder / BANDS, folder / PROPERTIES] if config.properties is not None else []
    check_outputs(written, inputs)
    check_overwriting([description_path(config.output)], [path for path in inputs if path])
    remove_earlier([*written, description_path(config.output), summary_path(config.output)])
    hamiltonian = _reconstruct(config, str(config_file))
    try:
        found = _compute_properties(hamiltonian, config)
    finally:
        # A property that fails does not take the Hamiltonian along, which was the long work.
        file = write_described(hamiltonian, config.output)
    write_properties(found, folder)
    attributes, verification = hamiltonian.attributes.to_dict(), hamiltonian.attributes.verification
    summary |= {
        'formula': hamiltonian.atoms.get_chemical_formula(),
        'n_atoms': len(hamiltonian.atoms),
        'n_orbitals': hamiltonian.n_orbitals,
        'n_pairs': len(hamiltonian.pattern),
        'basis_hash': hamiltonian.basis.content_hash,
        **{key: attributes.get(key) for key in _SUMMARISED},
        **{key: attributes[key] for key in _SUMMARISED_WHERE_KNOWN if key in attributes},
        **found.scalars,
        **verification,
        **_work_functions(hamiltonian),
        'warnings': hamiltonian.attributes.warnings,
        'labels': sorted(hamiltonian.labels),
        'output': str(config.output),
        **file,
    }
    summary.write(summary_path(config.output))
    for key in _LOGGED:
        if key in verification:
            log(f'{key}: {verification[key]:.4g}')
    if hamiltonian.n_spin == 2:
        log(f'magnetization: {hamiltonian.attributes.magnetization:.4f} Bohr magnetons per cell')
    for warning in hamiltonian.attributes.warnings:
        log(f'warning: {warning}')
    log(f'Hamiltonian written to {config.output}')
    return hamiltonian


def _compute_properties(hamiltonian: Hamiltonian, config: ReconstructConfig) -> PropertyResults:
    """What the configuration wants to know of the Hamiltonian, whose edges are then the same."""
    if config.properties is None:
        return PropertyResults()
    options = property_options(config.properties)
    mesh = options.kpoints or tuple(hamiltonian.attributes.kpoints)
    options = replace(options, kpoints=mesh, memory_limit=config.memory_limit)
    found = compute_properties(hamiltonian, config.properties.outputs, options)
    record_edges(hamiltonian, found)
    hamiltonian.attributes.warnings += found.warnings
    if mesh != tuple(hamiltonian.attributes.kpoints):
        # Of the mesh of the density matrix they are among the warnings already.
        hamiltonian.attributes.warnings += describe_ghosts(found.mesh)
        found.scalars['properties_kpoints'] = list(mesh)
    return found


def reconstruct(**settings) -> Hamiltonian:
    """Hamiltonian of a finished run of Quantum ESPRESSO from its files; nothing is written.

    Parameters
    ----------
    **settings
        The keys of ``reconstruct.yaml``, see `ReconstructConfig`: ``structure``, ``potential`` or ``density``,
        ``pseudos`` and ``basis`` are needed. Paths are relative to the working directory.

    Returns
    -------
    Hamiltonian
        See `aiida_hamlr.electronic.reference.reconstruction.reconstruct`.

    Raises
    ------
    ValueError
        If an input is missing, not supported or does not fit the others; before any long work.
    NumericalError
        If the overlap is not positive definite.
    """
    return _reconstruct(validate(ReconstructConfig, settings, 'reconstruct'), 'reconstruct')


def _reconstruct(config: ReconstructConfig, source: str) -> Hamiltonian:
    """The Hamiltonian of a configuration; ``source`` is what errors call it."""
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
    if config.properties is not None and 'bands' in config.properties.outputs:
        find_band_path(atoms, config.properties.path, config.properties.spacing)
    response = None
    if config.phonon is not None:
        response = read_field_response(config.phonon)
        response.check_structure(atoms)
    species = species_of_run(atoms, run, config.pseudos)
    set_species_labels(atoms, species)
    missing = sorted(set(species) - set(config.pseudos))
    if missing:
        raise ValueError(f'{source}: no pseudopotential for {", ".join(missing)}; add it to pseudos')
    pseudos = read_pseudo_files({label: config.pseudos[label] for label in sorted(set(species))})
    if run is not None:
        valences = [pseudos[label].z_valence for label in species]
        set_starting_moments(atoms, _starting_moments(run, valences) if run.n_spin == 2 else None)
        check_saved_pseudos(run, pseudos, _save_folders(config))
    potential, density, ecutrho = _read_potential(config, run, atoms, pseudos)
    potential_source, levels = str(config.potential or config.density), None
    if run is not None:
        try:
            levels = reconstruction.check_run(atoms, potential, pseudos, run, potential_source)
        except LevelsDifferError as error:
            raise _with_names(error, find_other_names(run, config.pseudos)) from error
    basis = basis_of_config(config.basis, pseudos, source)
    log(f'{atoms.get_chemical_formula()}: {basis.n_orbitals(species).sum()} orbitals')
    options = reconstruction.ReconstructionOptions(
        density=density,
        levels=levels,
        device=device,
        truncate=config.quality_assurance,
        source=potential_source,
        memory_limit=config.memory_limit,
    )
    hamiltonian = reconstruction.reconstruct(
        atoms, potential, basis, pseudos, ecutrho, config.kpoints, run=run, options=options
    )
    if response is not None:
        _add_response(hamiltonian, response)
    return hamiltonian


def _with_names(error: LevelsDifferError, names: str | None) -> LevelsDifferError:
    """The same error with pseudopotentials of other names as the first cause."""
    if names is None:
        return error
    return LevelsDifferError(error.finding, [names, *(cause for cause in error.causes if cause != OTHER_PSEUDOS)])


def _save_folders(config: ReconstructConfig) -> list[Path]:
    """Folders in which copies of the run's pseudopotentials may lie; links are followed to them."""
    files = [path.resolve() for path in (config.plane_wave_bands, config.structure, config.density) if path is not None]
    return [file if file.is_dir() else file.parent for file in files if file.is_dir() or file.suffix in _RUN_FILES]


def _work_functions(hamiltonian: Hamiltonian) -> dict:
    """Vacuum levels of both sides of a slab less the Fermi level, eV; nothing where the sides are not known."""
    levels, fermi = hamiltonian.attributes.vacuum_levels, hamiltonian.attributes.fermi_level
    return {} if levels is None or fermi is None else {'work_functions_eV': [level - fermi for level in levels]}


def species_of_run(atoms: Atoms, run: QeRun | None, pseudos: Collection[str]) -> list[str]:
    """The species label of every atom of a run.

    The structure's labels count, or those of the run if it has none. Species of the run for which no pseudopotential is
    given, but one of their element, are one species if the run had one file for all of them: such as the sublattices of
    an antiferromagnet.

    Parameters
    ----------
    atoms : ase.Atoms
        Of which only the species count.
    run : QeRun or None
        Of the same structure.
    pseudos : collection of str
        Species for which a pseudopotential is given.

    Raises
    ------
    ValueError
        If structure and run have different labels, or species of one element that had different pseudopotentials in the
        run have no pseudopotential each.
    """
    labels = species_labels(atoms)
    if run is None:
        return labels
    of_run = species_labels(run.atoms)
    if labels == atoms.get_chemical_symbols():
        labels = of_run
    for index, (label, other) in enumerate(zip(labels, of_run, strict=True)):
        if label != other:
            raise ValueError(f'{run.source}: atom {index} (from 0) is of species {other}, in the structure of {label}')
    result = {label: label for label in set(labels)}
    for element in {element_of_label(label) for label in result if label not in pseudos} & set(pseudos):
        species = sorted(label for label in result if element_of_label(label) == element and label not in pseudos)
        files = [run.pseudo_files.get(label, '') for label in species]
        if len(set(files)) > 1:
            raise ValueError(
                f'{run.source}: species {" and ".join(species)} had different pseudopotentials ({", ".join(files)}); '
                f'give one for each, as pseudos: {{{", ".join(f"{label}: FILE" for label in species)}}}'
            )
        result.update(dict.fromkeys(species, element))
        log(f'species {" and ".join(species)} count as {element}: they had one pseudopotential')
    return [result[label] for label in labels]


def _starting_moments(run: QeRun, valences: list[float]) -> np.ndarray:
    """(N,) starting moments of a run, Bohr magnetons; values up to 1 are fractions of the valence electrons."""
    values = np.array([run.starting_magnetization.get(label, 0.0) for label in species_labels(run.atoms)])
    return np.where(np.abs(values) > 1.0, values, values * valences)


def _add_response(hamiltonian: Hamiltonian, response: FieldResponse):
    """Add what ph.x found to the labels."""
    if response.dielectric_tensor is not None:
        hamiltonian.labels['dielectric_tensor'] = response.dielectric_tensor
    if response.born_charges is not None:
        hamiltonian.labels['born_charges'] = response.born_charges
        hamiltonian.attributes.born_charge_sum = response.charge_sum
        log(
            f'Born charges: their sum over the atoms, up to {response.charge_sum:.4f} e, was taken from all alike; '
            'a denser mesh of k-points in ph.x makes it smaller'
        )


def _read_potential(
    config: ReconstructConfig, run: QeRun | None, atoms, pseudos
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """The total local potential of every spin, eV, and the cutoff of its grid, Ry.

    Between them the density of both spins together, bohr^-3, if it is given.
    """
    if config.potential is not None and run is not None and run.n_spin == 2:
        raise ValueError(
            f'{config.potential}: pp.x writes the potential of one spin only, and the run has two; '
            'give its charge-density.dat or .hdf5 as density instead of potential'
        )
    density = None if config.density is None else _read_density(config.density, run, atoms)
    ecutrho = read_filplot(config.potential or config.density).ecutrho if run is None else run.ecutrho
    if density is None:
        return read_potential(config.potential, atoms), None, ecutrho
    total = density if density.ndim == 3 else density.sum(axis=0)
    electrostatics = PERIODIC if run is None else run.electrostatics
    files = [str(path) for path in (config.potential, config.density) if path is not None]
    with naming(' and '.join(files)):
        if config.potential is None:
            potential = potential_from_density(atoms, density, pseudos, ecutrho, electrostatics)
        else:
            potential = read_potential(config.potential, atoms)
            check_potential(atoms, potential, total, pseudos, ecutrho, electrostatics)
    return potential, total, ecutrho


def _read_density(path: Path, run: QeRun | None, atoms) -> np.ndarray:
    """Electrons of every spin on the FFT grid, bohr^-3, from a filplot or from the file of pw.x."""
    if path.suffix not in _CHARGE_DENSITY and not path.is_dir():
        density = read_density(path, atoms)
    elif run is None:
        raise ValueError(f'{path}: needs the XML file of its run; give it as plane_wave_bands or structure')
    else:
        density = read_charge_density(path, run.fft_grid, atoms)
    if run is None:
        return density
    n_spin = 1 if density.ndim == 3 else 2
    if n_spin != run.n_spin:
        raise ValueError(f'{path}: the density of {n_spin} spin channels, but {run.source} has {run.n_spin}')
    if run.hartree_energy is not None:
        total = density if n_spin == 1 else density.sum(axis=0)
        with naming(path):
            check_hartree_energy(atoms, total, run.hartree_energy, run.electrostatics)
    return density


def _read_run(config: ReconstructConfig) -> QeRun | None:
    """The XML file of the run, if one is given."""
    for path in (config.plane_wave_bands, config.structure):
        if path is not None and path.suffix == '.xml':
            return read_scf_xml(path)
    if config.plane_wave_bands is not None:
        raise ValueError(f'{config.plane_wave_bands}: plane_wave_bands must be the XML file of the pw.x run')
    return None
