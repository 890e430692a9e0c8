"""Which structures to compute next: those of which a model is most uncertain, and which are unlike each other."""

from __future__ import annotations

import numpy as np


def select_uncertain(uncertainties: np.ndarray, fingerprints: np.ndarray, number: int) -> list[int]:
    """Indices of candidates that are uncertain and diverse, in the order in which they were chosen.

    The first is the most uncertain one. Each further one has the largest product of its uncertainty and its distance
    to the nearest of those chosen before: farthest-point sampling, weighted. Equal candidates are chosen once.

    Parameters
    ----------
    uncertainties : (n,) array
        Expected errors, in any unit; not negative.
    fingerprints : (n, d) array
        Whose Euclidean distances say how unlike two candidates are; see `fingerprints`.
    number : int
        Of candidates to choose; fewer are chosen if there are fewer that differ.

    Raises
    ------
    ValueError
        If an uncertainty is negative or no number.
    """
    uncertainties = np.asarray(uncertainties, dtype=float)
    if np.isnan(uncertainties).any() or (uncertainties < 0).any():
        raise ValueError('uncertainties: must be numbers and not negative')
    # An infinite one, of a species without data, is ahead of all others but must not hide the distances.
    finite = np.where(np.isinf(uncertainties), 0.0, uncertainties)
    weights = np.where(np.isinf(uncertainties), 1e3 * max(1.0, finite.max(initial=0.0)), finite)
    chosen: list[int] = []
    distances = np.full(len(weights), np.inf)
    while len(chosen) < min(number, len(weights)):
        gains = weights if not chosen else weights * distances
        best = int(np.argmax(np.where(distances > 0.0, gains, -1.0)))
        if distances[best] == 0.0:
            break
        chosen.append(best)
        new = np.linalg.norm(fingerprints - fingerprints[best], axis=1)
        distances = np.minimum(distances, np.where(new <= 1e-9, 0.0, new))
    return chosen
