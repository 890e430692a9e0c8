"""Errors of a model on reference Hamiltonians: elements and bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.mesh import default_mesh, solve_mesh
from aiida_hamlr.electronic.bands.spin import magnetic_moments
from aiida_hamlr.electronic.integrals.spin_orbit import set_magnetization_axis
from aiida_hamlr.electronic.matrices.attributes import WHOLE
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.model.inference import Predictor, load_model
from aiida_hamlr.model.long_range.field_response import screened_charges
from aiida_hamlr.model.reference_matrices import fitted_shift, read_reference
from aiida_hamlr.model.uncertainty import atom_rms

#: k points at which bands are compared: the centre, a face, and one without symmetry.
KPOINTS = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.21, 0.13, 0.37]])

#: Bands above the gap that are compared.
N_CONDUCTION = 4

#: Errors in other units than meV of which there is a mean.
MEANS = ('dielectric_mae', 'born_mae_e', 'moment_mae_muB', 'moment_largest_error_muB')

#: Edges of the distance ranges, Å.
DISTANCES = np.array([0.0, 3.0, 4.5, 5.5, 6.5, 7.5, np.inf])


def element_errors(error: np.ndarray, hamiltonian: Hamiltonian) -> dict:
    """Mean absolute errors of the elements, meV, after the fitted shift.

    Parameters
    ----------
    error : (M,) or (2, M) array
        Predicted minus reference H, eV; with collinear spin of spin up and down.
    hamiltonian : Hamiltonian
        Gives overlap and structure.

    Returns
    -------
    dict
        ``mae_meV``, ``mae_onsite_meV``, ``mae_onsite_diagonal_meV``, ``mae_overlapping_meV`` (elements with
        ``|S| > 1e-8``) and ``mae_by_distance``: list of dicts with ``from_angstrom``, ``to_angstrom``,
        ``mae_meV`` and ``n_elements``; ``mae_by_species`` and ``mae_by_shells``: the same entries without distances, by
        pairs of species such as ``Al-As`` and of angular momenta such as ``s-p``, blocks up to the last range but one.
        With collinear spin all are means over both; ``mae_spin_up_meV`` and ``mae_spin_down_meV`` are those of one, and
        ``mae_spin_difference_meV`` is that of H of spin up less that of spin down.
    """
    pattern, overlap = hamiltonian.pattern, hamiltonian.overlap
    spins = 1e3 * np.atleast_2d(error + fitted_shift(error, overlap) * overlap)
    error = np.abs(spins).mean(axis=0)
    sizes = pattern.chunk_shapes.prod(axis=1)
    onsite_block = np.zeros(len(pattern), dtype=bool)
    onsite_block[pattern.onsite] = True
    onsite = np.repeat(onsite_block, sizes)
    lengths = np.linalg.norm(pattern.vectors(np.asarray(hamiltonian.atoms.cell), hamiltonian.atoms.positions), axis=1)
    rows, columns = pattern.orbital_indices
    bins = np.where(onsite, -1, np.repeat(np.digitize(lengths, DISTANCES) - 1, sizes))
    by_distance = [
        {
            'from_angstrom': float(DISTANCES[n]),
            'to_angstrom': float(min(DISTANCES[n + 1], lengths.max())),
            'mae_meV': float(error[bins == n].mean()),
            'n_elements': int((bins == n).sum()),
        }
        for n in range(len(DISTANCES) - 1)
        if (bins == n).any()
    ]
    return {
        'mae_meV': float(error.mean()),
        'mae_onsite_meV': float(error[onsite].mean()),
        'mae_onsite_diagonal_meV': float(error[onsite & (rows == columns)].mean()),
        'mae_overlapping_meV': float(error[np.abs(overlap) > 1e-8].mean()),
        'mae_by_distance': by_distance,
        **_by_spin(spins),
        **_by_orbitals(error, hamiltonian, np.repeat(lengths < DISTANCES[-2], sizes)),
    }


def _by_spin(errors: np.ndarray) -> dict:
    """Mean absolute errors of each spin and of the difference of both; nothing without collinear spin."""
    if len(errors) == 1:
        return {}
    names = ('mae_spin_up_meV', 'mae_spin_down_meV', 'mae_spin_difference_meV')
    return dict(zip(names, np.abs([*errors, errors[0] - errors[1]]).mean(axis=1).tolist(), strict=True))


def _by_orbitals(error: np.ndarray, hamiltonian: Hamiltonian, near: np.ndarray) -> dict:
    """Mean errors (meV) of the elements that are ``near`` (M,), by pairs of species and of angular momenta."""
    basis, labels = hamiltonian.basis, species_labels(hamiltonian.atoms)
    momenta = {label: np.concatenate([[l] * (2 * l + 1) for l in basis[label].angular_momenta]) for label in labels}
    of_species = np.unique(np.concatenate([[label] * len(momenta[label]) for label in labels]), return_inverse=True)
    of_shells = ('spdfgh', np.concatenate([momenta[label] for label in labels]))
    rows, columns = (indices[near] for indices in hamiltonian.pattern.orbital_indices)
    result = {}
    for key, (kinds, number) in (('mae_by_species', of_species), ('mae_by_shells', of_shells)):
        low, high = np.minimum(number[rows], number[columns]), np.maximum(number[rows], number[columns])
        pair = len(kinds) * low + high
        counts = np.bincount(pair, minlength=len(kinds) ** 2)
        sums = np.bincount(pair, error[near], minlength=len(kinds) ** 2)
        result[key] = {
            f'{kinds[n // len(kinds)]}-{kinds[n % len(kinds)]}': {
                'mae_meV': float(sums[n] / counts[n]),
                'n_elements': int(counts[n]),
            }
            for n in np.flatnonzero(counts)
        }
    return result


def band_errors(
    predicted: Hamiltonian, reference: Hamiltonian, kpoints: np.ndarray = KPOINTS, overlap_threshold: float = 0.0
) -> dict:
    """Errors of bands near the gap at some k points, meV, after the shift fitted to the elements.

    Parameters
    ----------
    predicted : Hamiltonian
        With H in eV, and the overlap.
    reference : Hamiltonian
        Of the same structure and basis.
    kpoints : (nk, 3) array
        Fractional.
    overlap_threshold : float
        Of the predicted bands, see `eigenvalues`; the reference has the one that it records.

    Returns
    -------
    dict
        ``band_mae_occupied_meV``, ``band_mae_conduction_meV`` (the lowest four, of spinors eight) and
        ``gap_error_meV``, the mean absolute error of the direct gaps at the k points, with collinear spin of those
        between the highest occupied and the lowest empty state of both spins. Empty if the number of electrons is
        unknown or odd, or the electrons of a spin are no integer.
    """
    filled = filled_bands(reference, predicted)
    if filled is None:
        return {}
    shift = fitted_shift(predicted.hamiltonian - reference.hamiltonian, reference.overlap)
    factor = 2 if reference.has_spin_orbit else 1
    n_bands = min(max(filled) + N_CONDUCTION * factor, reference.n_orbitals * factor)
    threshold = reference.attributes.overlap_threshold or 0.0
    shape = (len(filled), -1, n_bands)
    found = eigenvalues(predicted, kpoints, n_bands=n_bands, overlap_threshold=overlap_threshold).reshape(shape) + shift
    expected = eigenvalues(reference, kpoints, n_bands=n_bands, overlap_threshold=threshold).reshape(shape)
    error = 1e3 * np.abs(found - expected)
    occupied = np.concatenate([one[:, :number].ravel() for one, number in zip(error, filled, strict=True)])
    empty = [one[:, number : number + N_CONDUCTION * factor].ravel() for one, number in zip(error, filled, strict=True)]
    gaps = [
        np.min([one[:, number] for one, number in zip(levels, filled, strict=True)], axis=0)
        - np.max([one[:, number - 1] for one, number in zip(levels, filled, strict=True) if number], axis=0)
        for levels in (found, expected)
    ]
    return {
        'band_mae_occupied_meV': float(occupied.mean()),
        'band_mae_conduction_meV': float(np.concatenate(empty).mean()),
        'gap_error_meV': float(1e3 * np.abs(gaps[0] - gaps[1]).mean()),
    }


def filled_bands(reference: Hamiltonian, predicted: Hamiltonian) -> tuple[int, ...] | None:
    """Numbers of filled bands, of each spin with collinear spin, of spinors all; None where bands are partly filled."""
    attributes = reference.attributes
    if attributes.n_electrons is None:
        attributes = replace(attributes, n_electrons=predicted.attributes.n_electrons)
    if reference.magnetization_axis is not None:
        # The magnetization of spinors is free: the number of electrons alone says which are filled.
        number = attributes.n_electrons
        return None if number is None or abs(number - round(number)) > WHOLE else (round(number),)
    filled = attributes.filled_bands
    if filled is None or reference.n_spin == 2:
        return filled
    return (2 * filled[0],) if reference.has_spin_orbit else filled[:1]


def moment_errors(predicted: Hamiltonian, reference: Hamiltonian, overlap_threshold: float = 0.0) -> dict:
    """Deviations of Mulliken's moments of the atoms, predicted against those of the reference.

    Parameters
    ----------
    predicted : Hamiltonian
        With collinear spin; its bands are filled on the mesh of the reference.
    reference : Hamiltonian
        Records its moments and its mesh.
    overlap_threshold : float
        See `eigenvalues`; the moments of the reference are computed again with it, unless it is 0. Those of spinors
        always are: what is recorded was without spin-orbit coupling.

    Returns
    -------
    dict
        ``moment_mae_muB`` and ``moment_largest_error_muB``, Bohr magnetons, and ``magnetic_moments_muB``, predicted.
        Empty without moments.
    """
    known = reference.attributes.magnetic_moments
    if known is None:
        return {}
    mesh = default_mesh(reference)
    if overlap_threshold or reference.has_spin_orbit:
        known = _moments(reference, mesh, overlap_threshold)
    moments = _moments(predicted, mesh, overlap_threshold)
    deviations = np.abs(moments - known)
    return {
        'moment_mae_muB': float(deviations.mean()),
        'moment_largest_error_muB': float(deviations.max()),
        'magnetic_moments_muB': moments.tolist(),
    }


def _moments(hamiltonian: Hamiltonian, mesh: tuple[int, int, int], overlap_threshold: float) -> np.ndarray:
    solution = solve_mesh(hamiltonian, mesh, overlap_threshold=overlap_threshold)
    return magnetic_moments(hamiltonian, solution.density_matrix)


def evaluate_one(
    predictor: Predictor,
    path: str | Path,
    bands: bool = True,
    overlap_threshold: float = 0.0,
    spin_orbit: bool = False,
    siblings: Mapping[str, Pseudopotential] | None = None,
    magnetization_axis: Sequence[float] | None = None,
) -> dict:
    """Errors of the prediction for one reference file, with its own H0 and overlap; parameters as of `evaluate`."""
    reference = read_reference(path, 'nothing to compare with', spin_orbit=spin_orbit)
    if reference.n_spin == 2 and not predictor.model.config.magnetic:
        raise ValueError(f'{path}: has collinear spin (n_spin = 2), and the model was trained without; leave it out')
    predicted = predictor.predict_from(reference)
    if spin_orbit:
        if not reference.has_spin_orbit:
            predictor.add_spin_orbit(reference, siblings)
        predicted.matrices[SPIN_ORBIT] = reference.spin_orbit
        if reference.n_spin == 2:
            axis = reference.magnetization_axis if magnetization_axis is None else magnetization_axis
            for one in (reference, predicted):
                set_magnetization_axis(one, axis)
    result = {'path': str(path), 'formula': reference.atoms.get_chemical_formula(), 'n_atoms': len(reference.atoms)}
    error = predicted.hamiltonian - reference.hamiltonian
    result |= element_errors(error, reference)
    error += fitted_shift(error, reference.overlap) * reference.overlap
    result['atom_rms'] = (1e3 * atom_rms(error, reference, predictor.model.pair_cutoff)).tolist()
    if predicted.attributes.uncertainty is not None:
        result['atom_uncertainty'] = predicted.attributes.uncertainty
    if bands:
        result |= band_errors(predicted, reference, overlap_threshold=overlap_threshold)
        if reference.n_spin == 2:
            result |= moment_errors(predicted, reference, overlap_threshold)
    return result | response_errors(predictor, predicted, reference)


def response_errors(predictor: Predictor, predicted: Hamiltonian, reference: Hamiltonian) -> dict:
    """Deviations of a prediction's long range from what the labels of its reference say of the response to a field.

    Returns
    -------
    dict
        ``dielectric_mae`` and ``born_mae_e``, means over the elements of the tensors, and the model's
        ``dielectric_tensor`` and ``born_charges_e``; of charges without response only ``born_mae_e``, from the screened
        charges of the labels. Empty where there are no labels to compare with.
    """
    model, labels = predictor.model, reference.labels
    result = {}
    if model.config.has_response and labels.keys() & {'dielectric_tensor', 'born_charges'}:
        tensor, charges = predictor.field_response(reference)
        result |= {'dielectric_tensor': tensor.tolist(), 'born_charges_e': charges.tolist()}
        if 'dielectric_tensor' in labels:
            result['dielectric_mae'] = float(np.abs(tensor - labels['dielectric_tensor']).mean())
        if 'born_charges' in labels:
            result['born_mae_e'] = float(np.abs(charges - labels['born_charges']).mean())
    elif model.config.has_long_range and labels.keys() >= {'dielectric_tensor', 'born_charges'}:
        charges = np.asarray(predicted.attributes.long_range_charges)
        screened = screened_charges(*(torch.as_tensor(labels[name]) for name in ('dielectric_tensor', 'born_charges')))
        result['born_mae_e'] = float(np.abs(charges - screened.numpy()).mean())
    return result


def evaluate(
    predictor: Predictor | str | Path,
    paths: Sequence[str | Path],
    bands: bool = True,
    overlap_threshold: float = 0.0,
    spin_orbit: bool = False,
    siblings: Mapping[str, Pseudopotential] | None = None,
    magnetization_axis: Sequence[float] | None = None,
) -> dict:
    """Errors of a model on reference files.

    Parameters
    ----------
    predictor : Predictor or path
        A loaded model, or its folder.
    paths : sequence of paths
        Hamiltonian files with H, H0 and S.
    bands : bool
        Whether to compare bands too.
    overlap_threshold : float
        For the bands of the predictions, see `eigenvalues`.
    spin_orbit : bool
        Whether to compare bands of spinors, with the spin-orbit part that both have in common: that of the reference,
        or of the model's pseudopotentials.
    siblings : mapping of str to Pseudopotential, optional
        Fully relativistic versions of the model's pseudopotentials, as far as these are scalar-relativistic.
    magnetization_axis : (3,) array, optional
        With spin-orbit coupling, where spin up of magnetic structures points, Cartesian, without unit; default: as the
        file, or z.

    Returns
    -------
    dict
        Means over the structures under the keys of :func:`element_errors`, :func:`band_errors` and, over those with
        labels, :func:`response_errors`; ``n_structures``, and the same for each structure in ``structures``.

    Raises
    ------
    ValueError
        If there is no file, or one that does not fit the model, or an axis is given without spin-orbit coupling.
    """
    if magnetization_axis is not None and not spin_orbit:
        raise ValueError('only spin-orbit coupling ties the magnetization to an axis: add it, or leave the axis out')
    if not paths:
        raise ValueError('no Hamiltonian files to evaluate the model on')
    if not isinstance(predictor, Predictor):
        predictor = load_model(predictor)
    structures = [
        evaluate_one(predictor, path, bands, overlap_threshold, spin_orbit, siblings, magnetization_axis)
        for path in paths
    ]
    known = list(dict.fromkeys(key for one in structures for key in one))
    keys = [key for key in known if key.endswith('_meV')]
    keys += [key for key in MEANS if key in known]
    result = {key: float(np.mean([one[key] for one in structures if key in one])) for key in keys}
    result['mae_by_distance'] = _mean_by_distance(structures)
    for key in ('mae_by_species', 'mae_by_shells'):
        result[key] = _mean_by_name([one[key] for one in structures])
    result['n_structures'] = len(structures)
    result['structures'] = structures
    return result


def _mean_by_name(parts: Sequence[dict]) -> dict:
    """Means over all elements of the entries with the same name."""
    result = {}
    for name in sorted(set().union(*parts)):
        entries = [part[name] for part in parts if name in part]
        numbers = [entry['n_elements'] for entry in entries]
        mean = float(np.average([entry['mae_meV'] for entry in entries], weights=numbers))
        result[name] = {'mae_meV': mean, 'n_elements': int(sum(numbers))}
    return result


def _mean_by_distance(structures: Sequence[dict]) -> list[dict]:
    merged: dict[float, dict] = {}
    for one in structures:
        for entry in one['mae_by_distance']:
            total = merged.setdefault(entry['from_angstrom'], {**entry, 'mae_meV': 0.0, 'n_elements': 0})
            total['to_angstrom'] = max(total['to_angstrom'], entry['to_angstrom'])
            total['mae_meV'] += entry['mae_meV'] * entry['n_elements']
            total['n_elements'] += entry['n_elements']
    for total in merged.values():
        total['mae_meV'] /= total['n_elements']
    return [merged[key] for key in sorted(merged)]
