"""`hamlr predict`: Hamiltonians of many structures from a model, and what follows from them."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path

from ase import Atoms

from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.distances import unusual_distances
from aiida_hamlr.electronic.geometry import check_structure, describe_periodicity
from aiida_hamlr.electronic.matrices.description import write_described
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.jobs.bands import warn_of_ghosts
from aiida_hamlr.jobs.config import load_config
from aiida_hamlr.jobs.inputs import read_frames
from aiida_hamlr.jobs.outputs import folder_names, remove_earlier
from aiida_hamlr.jobs.progress import log, track
from aiida_hamlr.jobs.schemas import PredictConfig
from aiida_hamlr.jobs.status import Status, one_line, status_of
from aiida_hamlr.jobs.summary import JobSummary
from aiida_hamlr.model.inference import Predictor, load_model

#: Files that a prediction may consist of.
_FILES = ('hamiltonian.h5', 'hamiltonian.h5.json', 'bands.h5', 'properties.h5', 'summary.json')

#: What may be wrong with one structure of many, the others being predicted all the same.
_OF_ONE_STRUCTURE = (Status.BAD_INPUT, Status.NUMERICAL, Status.OUT_OF_MEMORY)


@dataclass(frozen=True)
class Job:
    """One structure to predict: its name, the file it comes from and itself."""

    name: str
    source: str
    atoms: Atoms


def run_predict(config_file: Path) -> dict:
    """Predict all structures of a configuration.

    Every structure gets a folder in the output folder, named after its file, or with a running number if the file holds
    several. A structure that fails is reported and counted; the others go on.

    Parameters
    ----------
    config_file : path
        See `PredictConfig`.

    Returns
    -------
    dict
        The content of ``summary.json`` in the output folder.

    Raises
    ------
    ValueError
        If an input is missing or does not fit, or every structure fails.
    NumericalError
        If every structure fails, all for numerical reasons.
    MemoryError
        If every structure fails, all for want of memory.
    """
    summary = JobSummary('predict')
    config = load_config(config_file, PredictConfig)
    jobs = _collect(config)
    predictor = load_model(config.model, device=config.device)
    errors = {}
    for job in jobs:
        try:
            check_structure(job.atoms, job.source)
            predictor.check_species(job.atoms)
        except ValueError as error:
            errors[job.name] = error
    if len(errors) == len(jobs):
        raise _all_failed(errors)
    remove_earlier([config.output / 'summary.json'])
    for job in jobs:
        _remove_outputs(config.output / job.name)
    results = {}
    for job in track([job for job in jobs if job.name not in errors], 'structures'):
        try:
            results[job.name] = _predict_one(job, predictor, config, config.output / job.name)
        except Exception as error:
            _remove_outputs(config.output / job.name)
            if status_of(error) not in _OF_ONE_STRUCTURE or isinstance(error, OSError):
                raise
            errors[job.name] = error
    summary |= {
        'model': str(config.model),
        'outputs': list(config.outputs),
        'n_structures': len(jobs),
        'n_done': len(results),
        'n_failed': len(errors),
        'failed': [{'name': name, 'reason': one_line(error)} for name, error in errors.items()],
        'structures': results,
    }
    for entry in summary['failed']:
        log(f'{entry["name"]} failed: {entry["reason"]}')
    if not results:
        raise _all_failed(errors)
    summary.write(config.output / 'summary.json')
    log(f'{len(results)} of {len(jobs)} structures predicted, in {config.output}')
    return summary


def _collect(config: PredictConfig) -> list[Job]:
    """All structures of all files, with names of their folders: stems if these are unique, else running numbers."""
    jobs, stems = [], []
    for path in config.structures:
        frames = read_frames(path)
        width = len(str(len(frames) - 1))
        for index, atoms in enumerate(frames):
            stems.append(path.stem if len(frames) == 1 else f'{path.stem}_{index:0{width}d}')
            source = str(path) if len(frames) == 1 else f'{path}, structure {index}'
            jobs.append((source, atoms))
    return [Job(name, *job) for name, job in zip(folder_names(stems), jobs, strict=True)]


def _all_failed(errors: dict[str, Exception]) -> Exception:
    """The exception to raise when nothing could be predicted: that of the only structure, or the first of many."""
    name, first = next(iter(errors.items()))
    kinds = {status_of(error) for error in errors.values()}
    kind = {Status.NUMERICAL: NumericalError, Status.OUT_OF_MEMORY: MemoryError}.get(min(kinds), ValueError)
    kind = kind if len(kinds) == 1 else ValueError
    if len(errors) == 1:
        return kind(f'{name}: {one_line(first)}')
    return kind(f'none of {len(errors)} structures could be predicted; {name}: {one_line(first)}')


def _remove_outputs(folder: Path):
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _predict_one(job: Job, predictor: Predictor, config: PredictConfig, folder: Path) -> dict:
    """Predict one structure into its folder; return its numbers."""
    summary = JobSummary('predict')
    started = time.perf_counter()
    hamiltonian = predictor.predict(job.atoms)
    hamiltonian.attributes.overlap_threshold = config.overlap_threshold or None
    summary |= {
        'source': job.source,
        'formula': job.atoms.get_chemical_formula(),
        'n_atoms': len(job.atoms),
        'n_orbitals': hamiltonian.n_orbitals,
        'prediction_s': round(time.perf_counter() - started, 3),
    }
    known = predictor.description.get('distances')
    summary['warnings'] = describe_periodicity(job.atoms) + (unusual_distances(job.atoms, known) if known else [])
    for text in summary['warnings']:
        log(f'warning: {job.name}: {text}')
    found = compute_properties(hamiltonian, config.outputs, property_options(config))
    if found.mesh is not None:
        warn_of_ghosts(found.mesh, job.name)
        hamiltonian.attributes.fermi_level = found.scalars['fermi_level_eV']
        hamiltonian.attributes.gap = found.scalars.get('gap_eV')
    summary |= found.scalars
    if 'hamiltonian' in config.outputs:
        summary |= write_described(hamiltonian, folder / 'hamiltonian.h5')
    if found.bands is not None:
        found.bands.write(folder / 'bands.h5')
    if found.properties is not None:
        found.properties.write(folder / 'properties.h5')
    summary['solution_s'] = round(time.perf_counter() - started - summary['prediction_s'], 3)
    summary.write(folder / 'summary.json')
    return {key: value for key, value in summary.items() if key not in ('versions', 'command')}


def property_options(config: PredictConfig) -> PropertyOptions:
    """The keys of the configuration that say how properties are computed."""
    return PropertyOptions(**{each.name: getattr(config, each.name) for each in fields(PropertyOptions)})
