"""`hamlr predict`: Hamiltonians of many structures from a model, and what follows from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aiida_hamlr.electronic.bands.calculation import PropertyResults, compute_properties
from aiida_hamlr.electronic.bands.kpoints import mesh_from_spacing
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.distances import unusual_distances
from aiida_hamlr.electronic.geometry import check_structure, describe_periodicity
from aiida_hamlr.electronic.matrices.description import write_described
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.siblings import fully_relativistic
from aiida_hamlr.electronic.reading import parse_json, read_text
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.jobs.bands import describe_ghosts
from aiida_hamlr.jobs.committee import Committee
from aiida_hamlr.jobs.config import load_config
from aiida_hamlr.jobs.inputs import read_siblings
from aiida_hamlr.jobs.outputs import BANDS, PROPERTIES, check_folder, check_outside, check_overwriting, remove_earlier
from aiida_hamlr.jobs.progress import log, track
from aiida_hamlr.jobs.properties import property_options, record_edges, write_properties
from aiida_hamlr.jobs.results import DONE, FAILED, RESULTS, ResultsWriter, write_results
from aiida_hamlr.jobs.schemas import PredictConfig
from aiida_hamlr.jobs.status import Status, one_line, status_of
from aiida_hamlr.jobs.structure_set import InputsDigest, Job, batches_by_size, collect_structures
from aiida_hamlr.jobs.summary import JobSummary
from aiida_hamlr.model.inference import Predictor, load_model

#: Files that a prediction may consist of; the summary is the first to be removed.
_FILES = ('summary.json', 'hamiltonian.h5', 'hamiltonian.h5.json', BANDS, PROPERTIES)

#: Those that are written after the Hamiltonian, which stays when one of them fails.
_AFTER_HAMILTONIAN = ('summary.json', BANDS, PROPERTIES)

#: The file that an output is in.
_FILES_OF_OUTPUTS = {
    'hamiltonian': 'hamiltonian.h5',
    'bands': BANDS,
    'dos': PROPERTIES,
    'charges': PROPERTIES,
    'profile': PROPERTIES,
    'projections': PROPERTIES,
    'masses': PROPERTIES,
    'layers': PROPERTIES,
    'response': PROPERTIES,
}

#: Largest summary of one structure that is read, bytes.
_LARGEST_SUMMARY = 100_000_000

#: What may be wrong with one structure of many, the others being predicted all the same.
_OF_ONE_STRUCTURE = (Status.BAD_INPUT, Status.NUMERICAL, Status.OUT_OF_MEMORY)


def run_predict(config_file: Path) -> dict:
    """Predict all structures of a configuration.

    Every structure gets a folder in the output folder, named after its file, or with a running number if the file holds
    several, and a row in ``results.csv``; both are written as soon as it is done. A structure that fails is reported
    and counted; the others go on. Results of an earlier run that depend on the same inputs are kept, so that a run that
    was interrupted continues where it stopped.

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
        If an input is missing, does not fit or would be replaced, or every structure fails.
    NumericalError
        If every structure fails, all for numerical reasons.
    MemoryError
        If every structure fails, all for want of memory.
    """
    summary = JobSummary('predict')
    config = load_config(config_file, PredictConfig)
    jobs = collect_structures(config.structures, config.labels, config.magnetic_moments)
    written = [config.output / name for name in ('summary.json', RESULTS)]
    written += [config.output / job.name / name for job in jobs for name in _FILES]
    check_folder(config.output)
    for model in (config.model, *config.committee):
        check_outside(config.output, model)
    check_overwriting(written, [config_file, *config.structures])
    committee, siblings = _load_models(config)
    errors = _find_unfit(jobs, committee.predictor)
    if len(errors) == len(jobs):
        _log_failures(errors, config.output)
        raise _all_failed(errors)
    digest = InputsDigest(config, committee.content_hash)
    digests = {job.name: digest(job.atoms) for job in jobs if job.name not in errors}
    remove_earlier([config.output / name for name in ('summary.json', RESULTS)])
    results = _keep_earlier(jobs, digests, config)
    n_earlier = len(results)
    if n_earlier:
        log(f'{n_earlier} of {len(jobs)} structures were done before with the same inputs')
    rows = [_row(name, result) for name, result in results.items()]
    rows += [_failed_row(name, error) for name, error in errors.items()]
    waiting = [job for job in jobs if job.name in digests and job.name not in results]
    with ResultsWriter(config.output / RESULTS, rows) as table:
        for job, found in _predict_and_finish(waiting, committee, siblings, digests, config):
            if isinstance(found, Exception):
                remove_outputs(config.output / job.name, _AFTER_HAMILTONIAN)
                errors[job.name] = found
                table.add(_failed_row(job.name, found))
            else:
                results[job.name] = found
                table.add(_row(job.name, found))
    results = {job.name: results[job.name] for job in jobs if job.name in results}
    summary |= {
        'model': str(config.model),
        'outputs': list(config.outputs),
        'n_structures': len(jobs),
        'n_done': len(results),
        'n_earlier': n_earlier,
        'n_failed': len(errors),
        'failed': [{'name': name, 'reason': one_line(error)} for name, error in errors.items()],
        'structures': results,
    }
    _log_failures(errors, config.output)
    if not results:
        remove_earlier([config.output / RESULTS])
        raise _all_failed(errors)
    rows = [
        _row(job.name, results[job.name]) if job.name in results else _failed_row(job.name, errors[job.name])
        for job in jobs
    ]
    write_results(config.output / RESULTS, rows)
    summary.write(config.output / 'summary.json')
    log(f'{len(results)} of {len(jobs)} structures predicted, in {config.output}')
    return summary


def _log_failures(errors: Mapping[str, Exception], output: Path):
    """One line for every structure that failed, and for a Hamiltonian that is there all the same."""
    for name, error in errors.items():
        log(f'{name} failed: {one_line(error)}')
        kept = output / name / 'hamiltonian.h5'
        if kept.is_file():
            log(f'its Hamiltonian is in {kept}; `hamlr properties` computes of it what can be computed')


def _load_models(config: PredictConfig) -> tuple[Committee, Mapping]:
    """The committee, whose first model predicts, and the pseudopotentials of the spin-orbit part."""
    predictor = load_model(config.model, device=config.device, memory_limit=config.memory_limit)
    siblings = read_siblings(config.spin_orbit, config.spin_orbit_pseudos)
    if config.spin_orbit:
        if config.committee:
            raise ValueError(
                'committee and spin_orbit: a committee compares gaps without spin-orbit coupling; leave out one of both'
            )
        fully_relativistic(predictor.species, predictor.pseudos, siblings)
    if 'response' in config.outputs and not predictor.model.config.has_response:
        raise ValueError(f'{config.model}: a model without response has no dielectric tensor; leave out response')
    return Committee(config.committee, predictor, config.device, config.memory_limit), siblings


def _find_unfit(jobs: Sequence[Job], predictor: Predictor) -> dict[str, Exception]:
    """Why structures could not be read or cannot be predicted, by name."""
    errors = {}
    for job in jobs:
        try:
            _check(job, predictor)
        except ValueError as error:
            errors[job.name] = error
    return errors


def _predict_and_finish(
    jobs: Sequence[Job], committee: Committee, siblings: Mapping, digests: Mapping[str, str], config: PredictConfig
) -> Iterator[tuple[Job, dict | Exception]]:
    """The numbers of every structure, whose files are written then, or why it failed."""
    predictor = committee.predictor
    for job, found in track(_predict_all(jobs, predictor, config), 'structures', len(jobs)):
        if config.spin_orbit and not isinstance(found, Exception):
            # It changes the Hamiltonian in place.
            axis = config.magnetization_axis if found[0].n_spin == 2 else None
            problem = _attempt(predictor.add_spin_orbit, found[0], siblings, axis)
            found = problem if isinstance(problem, Exception) else found
        if not isinstance(found, Exception):
            found = _attempt(_finish, job, found, committee, config, digests[job.name])
        yield job, found


def _check(job: Job, predictor: Predictor):
    """Raise ``ValueError`` if a structure could not be read or cannot be predicted."""
    if job.error is not None:
        raise job.error
    check_structure(job.atoms, job.source)
    predictor.check_species(job.atoms)


def _keep_earlier(jobs: Sequence[Job], digests: Mapping[str, str], config: PredictConfig) -> dict[str, dict]:
    """Results of an earlier run with the same inputs, by name; what else lies in the folders is removed."""
    kept = {}
    needed = {output: name for output, name in _FILES_OF_OUTPUTS.items() if output in config.outputs}.values()
    for job in jobs:
        folder = config.output / job.name
        try:
            result = parse_json(read_text(folder / 'summary.json', _LARGEST_SUMMARY), str(folder / 'summary.json'))
            matches = result['inputs_sha256'] == digests[job.name]
        except (ValueError, KeyError, TypeError):
            matches = False
        if matches and all((folder / name).is_file() for name in needed):
            kept[job.name] = _plain(result)
        else:
            remove_outputs(folder)
    return kept


def _predict_all(
    jobs: Sequence[Job], predictor: Predictor, config: PredictConfig
) -> Iterator[tuple[Job, tuple[Hamiltonian, float] | Exception]]:
    """The Hamiltonian of every structure and the seconds that it took, or why it failed; in batches by size."""
    for batch in batches_by_size(jobs, config.batch_atoms):
        starts, seconds = {}, {}
        for job in batch:
            begin = time.perf_counter()
            found = _attempt(predictor.start, job.atoms)
            seconds[job.name] = time.perf_counter() - begin
            if isinstance(found, Exception):
                yield job, found
            else:
                starts[job.name] = found
        begin = time.perf_counter()
        predicted = _attempt(predictor.predict_batch, list(starts.values())) if starts else []
        if isinstance(predicted, Exception):
            # One of them may have failed them all: each alone.
            predicted = [_attempt(predictor.predict_from, start) for start in starts.values()]
        each = (time.perf_counter() - begin) / max(1, len(starts))
        for job, found in zip((job for job in batch if job.name in starts), predicted, strict=True):
            yield job, found if isinstance(found, Exception) else (found, seconds[job.name] + each)


def _attempt(function: Callable, *arguments):
    """What a function returns, or its exception if that concerns one structure only; others are raised."""
    try:
        return function(*arguments)
    except Exception as error:
        if status_of(error) not in _OF_ONE_STRUCTURE or isinstance(error, OSError):
            raise
        return error


def _all_failed(errors: dict[str, Exception]) -> Exception:
    """The exception to raise when nothing could be predicted: that of the only structure, or the first of many."""
    name, first = next(iter(errors.items()))
    kinds = {status_of(error) for error in errors.values()}
    kind = {Status.NUMERICAL: NumericalError, Status.OUT_OF_MEMORY: MemoryError}.get(min(kinds), ValueError)
    kind = kind if len(kinds) == 1 else ValueError
    if len(errors) == 1:
        return kind(f'{name}: {one_line(first)}')
    return kind(f'none of {len(errors)} structures could be predicted; {name}: {one_line(first)}')


def remove_outputs(folder: Path, names: Sequence[str] = _FILES):
    """Remove files of a prediction from the folder of a structure, and the folder if it is empty then."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _row(name: str, result: Mapping) -> dict:
    return {'label': name, 'status': DONE, **result}


def _failed_row(name: str, error: Exception) -> dict:
    return {'label': name, 'status': FAILED, 'reason': one_line(error)}


def _plain(result: Mapping) -> dict:
    """The summary of one structure without what is the same for all."""
    return {key: value for key, value in result.items() if key not in ('versions', 'command')}


def _finish(
    job: Job, prediction: tuple[Hamiltonian, float], committee: Committee, config: PredictConfig, digest: str
) -> dict:
    """Compute what follows from the Hamiltonian of a structure, into its folder; return its numbers."""
    summary, folder = JobSummary('predict'), config.output / job.name
    started, file = time.perf_counter(), {}
    hamiltonian, seconds = prediction
    hamiltonian.attributes.overlap_threshold = config.overlap_threshold or None
    summary |= {
        'source': job.source,
        'formula': job.atoms.get_chemical_formula(),
        'n_atoms': len(job.atoms),
        'n_orbitals': hamiltonian.n_orbitals,
        'prediction_s': round(seconds, 3),
    }
    predictor = committee.predictor
    known = predictor.description.get('distances')
    unusual = unusual_distances(job.atoms, known) if known else []
    if known:
        summary['n_unusual_distances'] = len(unusual)
    summary.warn(describe_periodicity(job.atoms) + unusual + predictor.describe_moments(job.atoms), job.name)
    mesh = config.kpoints or mesh_from_spacing(job.atoms, config.kpoints_distance)
    hamiltonian.attributes.kpoints = summary['kpoints'] = [int(n) for n in mesh]
    try:
        found = _solve(job, hamiltonian, committee, config, summary)
    finally:
        # A property that fails does not take the Hamiltonian along, which may have been the long work.
        if 'hamiltonian' in config.outputs:
            hamiltonian.attributes.warnings = list(summary['warnings'])
            file = write_described(hamiltonian, folder / 'hamiltonian.h5')
    write_properties(found, folder)
    summary |= file
    summary['solution_s'] = round(time.perf_counter() - started, 3)
    summary['inputs_sha256'] = digest
    # The last file: with it the structure counts as done.
    summary.write(folder / 'summary.json')
    return _plain(summary)


def _solve(
    job: Job, hamiltonian: Hamiltonian, committee: Committee, config: PredictConfig, summary: JobSummary
) -> PropertyResults:
    """What follows from the Hamiltonian of a structure; its numbers and warnings go into the summary."""
    predictor, options = committee.predictor, replace(property_options(config), kpoints=tuple(summary['kpoints']))
    found = compute_properties(hamiltonian, config.outputs, options)
    summary.warn(describe_ghosts(found.mesh) + found.warnings, job.name)
    record_edges(hamiltonian, found)
    summary |= found.scalars
    summary |= committee.describe(hamiltonian, found, options)
    if 'response' in config.outputs:
        found.properties = found.properties or Properties(hamiltonian.species, hamiltonian.atoms.positions)
        tensor, charges = predictor.field_response(hamiltonian)
        found.properties.dielectric_tensor, found.properties.born_charges = tensor, charges
        summary['dielectric_constant'] = float(tensor.trace() / 3)
        if not predictor.model.long_range.identified.any():
            summary.warn(
                ['response: unidentified, no training data told the polarisabilities; they are zero'], job.name
            )
    return found
