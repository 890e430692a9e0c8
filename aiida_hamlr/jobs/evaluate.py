"""`hamlr evaluate`: errors of a model on reference Hamiltonians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiida_hamlr.jobs.inputs import read_sibling_folder
from aiida_hamlr.jobs.outputs import check_folder, check_overwriting, check_replaceable, files_below, remove_earlier
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary
from aiida_hamlr.model.evaluation import evaluate
from aiida_hamlr.model.inference import load_model
from aiida_hamlr.plotting.formats import check_suffix

_ROWS = {
    'mae_meV': 'all elements',
    'mae_onsite_meV': 'on-site elements',
    'mae_overlapping_meV': 'elements of orbitals that overlap',
    'band_mae_occupied_meV': 'occupied bands',
    'band_mae_conduction_meV': 'lowest conduction bands',
    'gap_error_meV': 'direct gaps',
}

#: Errors by which a model can be compared with others, and their names.
QUOTED = {
    'mae_onsite_meV': 'on-site elements',
    'mae_overlapping_meV': 'elements of orbitals that overlap',
    'band_mae_occupied_meV': 'occupied bands',
    'band_mae_conduction_meV': 'lowest conduction bands',
}

#: Without unit, and in e.
_LABEL_ROWS = {'dielectric_mae': 'dielectric tensor (1)', 'born_mae_e': 'Born charges (e)'}


def describe_errors(errors: Mapping[str, float]) -> list[str]:
    """Which errors to quote, in a sentence: the mean over all elements is small because most elements are nearly zero.

    Parameters
    ----------
    errors : mapping
        As of `evaluate`, meV.
    """
    quoted = [f'{QUOTED[key]} {errors[key]:.2f}' for key in QUOTED if key in errors]
    lines = [f'errors to quote (meV): {", ".join(quoted)}'] if quoted else []
    total, onsite = errors.get('mae_meV', 0.0), errors.get('mae_onsite_meV', 0.0)
    if lines and total > 0:
        lines.append(
            f'the mean over all elements, {total:.3f} meV, is not one of them: most elements belong to distant pairs '
            f'and are nearly zero, so that it is {onsite / total:.0f} times smaller than that of the on-site elements'
        )
    return lines


def run_evaluate(
    model: Path,
    data: Sequence[Path],
    json_file: Path | None = None,
    overlap_threshold: float = 0.0,
    spin_orbit: bool = False,
    plot: Path | None = None,
    spin_orbit_folder: Path | None = None,
    magnetization_axis: Sequence[float] | None = None,
) -> dict:
    """Print mean absolute errors in meV and, if asked for, write them with costs and versions.

    Parameters
    ----------
    model : path
        Model folder.
    data : sequence of paths
        Reference Hamiltonian files.
    json_file : path, optional
        Gets the errors, with costs and versions.
    overlap_threshold : float
        For the bands of the predictions, see `eigenvalues`.
    spin_orbit : bool
        Whether to compare bands of spinors.
    plot : path, optional
        Gets a figure of the errors by species, shells and distance.
    spin_orbit_folder : path, optional
        Folder with fully relativistic versions of the model's pseudopotentials.
    magnetization_axis : (3,) array, optional
        With spin-orbit coupling, where spin up of magnetic structures points.

    Raises
    ------
    ValueError
        If a file is missing or does not fit the model.
    """
    summary = JobSummary('evaluate')
    if plot is not None:
        check_suffix(plot)
    if json_file is not None:
        check_replaceable(json_file, 'JSON')
    written = [path for path in (json_file, plot) if path]
    check_overwriting(written, [*data, *files_below(model)])
    for path in written:
        check_folder(path.parent)
    for path in data:
        if not path.is_file():
            raise ValueError(f'{path}: no such file')
    predictor = load_model(model)
    siblings = read_sibling_folder(spin_orbit, spin_orbit_folder, predictor.pseudos) if spin_orbit_folder else None
    remove_earlier([json_file] if json_file else [])
    errors = evaluate(
        predictor,
        data,
        overlap_threshold=overlap_threshold,
        spin_orbit=spin_orbit,
        siblings=siblings,
        magnetization_axis=magnetization_axis,
    )
    log(f'mean absolute errors over {errors["n_structures"]} structures, after one fitted shift each (meV)')
    for key, name in _ROWS.items():
        if key in errors:
            log(f'  {name:28s}{errors[key]:10.3f}')
    for entry in errors['mae_by_distance']:
        reach = f'{entry["from_angstrom"]:.1f} to {entry["to_angstrom"]:.1f} Å'
        log(f'  pairs {reach}'.ljust(30) + f'{entry["mae_meV"]:10.3f}')
    for key, name in _LABEL_ROWS.items():
        if key in errors:
            log(f'  {name:28s}{errors[key]:10.3f}')
    for line in describe_errors(errors):
        log(line)
    summary |= errors
    summary['to_quote'] = [key for key in QUOTED if key in errors]
    summary['model'] = str(model)
    if json_file is not None:
        summary.write(json_file)
    if plot is not None:
        from aiida_hamlr.plotting.errors import plot_errors

        log(f'wrote {plot_errors(errors, plot)}')
    return summary
