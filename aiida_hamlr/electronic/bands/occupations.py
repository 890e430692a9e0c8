"""Filling the bands: Fermi level, occupations and band gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

#: Default width of the Fermi-Dirac function of a metal, eV.
SMEARING = 0.1

#: Widths above the Fermi level up to which states are counted as possibly occupied (expit(-40) ~ 4e-18).
_WIDTHS = 40.0


@dataclass(frozen=True)
class Filling:
    """How the electrons fill the bands.

    Parameters
    ----------
    fermi_level : float
        eV; the middle of the gap if there is one on the mesh. If the magnetization is fixed and there is no gap over
        both spins, the mean of their two levels.
    occupations : array, shape of the eigenvalues
        Electrons in every state: 0 to 2, with spin or of spinors 0 to 1.
    n_occupied : tuple of int, or None
        Filled bands of every spin; None for a metal.
    spin_fermi_levels : (float, float), or None
        eV; those of spin up and spin down if the magnetization is fixed.
    """

    fermi_level: float
    occupations: np.ndarray
    n_occupied: tuple[int, ...] | None
    spin_fermi_levels: tuple[float, float] | None = None


def fill_bands(
    eigenvalues: np.ndarray,
    weights: np.ndarray,
    n_electrons: float,
    smearing: float = SMEARING,
    magnetization: float | None = None,
    electrons_per_band: int | None = None,
) -> Filling:
    """Occupy the lowest states.

    If the number of filled bands is the same at every k, the system is an insulator with whole occupations and the
    Fermi level in mid-gap; otherwise a metal with Fermi-Dirac occupations of width ``smearing``. The two spins have one
    Fermi level, unless the magnetization is fixed.

    Parameters
    ----------
    eigenvalues : (nk, nb) or (2, nk, nb) array
        eV, ascending.
    weights : (nk,) array
        Weights of the k-points, sum 1.
    n_electrons : float
        Electrons per cell.
    smearing : float
        eV.
    magnetization : float, optional
        Electrons of spin up less those of spin down, Bohr magnetons per cell; each spin is filled on its own then.
    electrons_per_band : int, optional
        1 for bands of spinors; default: 2, with a leading spin axis 1.

    Raises
    ------
    ValueError
        If there are fewer states than electrons, or the smearing is not positive.
    """
    energies = np.asarray(eigenvalues, dtype=float)
    weights = np.asarray(weights, dtype=float)
    if magnetization is not None and energies.ndim == 3:
        return _fill_spins(energies, weights, n_electrons, smearing, magnetization)
    spins = energies[None] if energies.ndim == 2 else energies
    per_state = electrons_per_band or 2 // len(spins)
    return _fill(spins, weights, n_electrons, smearing, float(per_state), energies.shape)


def _fill_spins(spins, weights, n_electrons, smearing, magnetization) -> Filling:
    """Fill each spin with its own electrons."""
    numbers = 0.5 * (n_electrons + magnetization), 0.5 * (n_electrons - magnetization)
    parts = [_fill(spin[None], weights, n, smearing, 1.0, spin.shape) for spin, n in zip(spins, numbers, strict=True)]
    levels = tuple(part.fermi_level for part in parts)
    n_occupied = None if any(part.n_occupied is None for part in parts) else sum((p.n_occupied for p in parts), ())
    gap = band_gap(spins, n_electrons, n_occupied) if n_occupied else None
    level = 0.5 * (gap.vbm + gap.cbm) if gap is not None and gap.gap > 0 else 0.5 * sum(levels)
    return Filling(level, np.stack([part.occupations for part in parts]), n_occupied, levels)


def _fill(spins, weights, n_electrons, smearing, per_state, shape) -> Filling:
    """Fill all states (n_spin, nk, nb) together, each with up to ``per_state`` electrons; occupations in ``shape``."""
    capacity = per_state * spins.shape[0] * spins.shape[2]
    if not 0 <= n_electrons <= capacity:
        raise ValueError(f'{n_electrons:g} electrons do not fit into bands that hold {capacity:g}')
    if smearing <= 0:
        raise ValueError(f'smearing {smearing} eV: a positive width is needed')
    flat = spins.ravel()
    order = np.argsort(flat, kind='stable')
    state_weights = np.broadcast_to(per_state * weights[None, :, None], spins.shape).ravel()[order]
    filled = np.concatenate([[0.0], np.cumsum(state_weights)])
    n_filled = int(np.argmin(np.abs(filled - n_electrons)))
    if abs(filled[n_filled] - n_electrons) < 1e-6:
        below = flat[order[n_filled - 1]] if n_filled else flat[order[0]]
        above = flat[order[n_filled]] if n_filled < len(flat) else below
        level = 0.5 * (below + above)
        occupied = np.zeros(len(flat), dtype=bool)
        occupied[order[:n_filled]] = True
        occupied = occupied.reshape(spins.shape)
        counts = occupied.sum(axis=2)
        if (counts == counts[:, :1]).all() and (above > below or n_filled in (0, len(flat))):
            n_occupied = tuple(int(n) for n in counts[:, 0])
            return Filling(float(level), (per_state * occupied).reshape(shape), n_occupied)

    def excess(level):
        return per_state * np.sum(weights[None, :, None] * expit((level - spins) / smearing)) - n_electrons

    margin = _WIDTHS * smearing
    level = brentq(excess, flat.min() - margin, flat.max() + margin, xtol=1e-14, rtol=1e-15)
    return Filling(float(level), (per_state * expit((level - spins) / smearing)).reshape(shape), None)


def fermi_level(eigenvalues: np.ndarray, weights: np.ndarray, n_electrons: float, smearing: float = SMEARING) -> float:
    """Fermi level in eV: mid-gap for an insulator, else that of Fermi-Dirac smearing; see `fill_bands`."""
    return fill_bands(eigenvalues, weights, n_electrons, smearing).fermi_level


@dataclass(frozen=True)
class BandGap:
    """Band edges on the given k-points, eV.

    Parameters
    ----------
    gap : float
        Between the highest occupied and the lowest empty state; 0 if they overlap.
    direct_gap : float
        Smallest vertical gap.
    vbm, cbm : float
        Highest occupied and lowest empty level.
    vbm_index, cbm_index, direct_index : int
        The k-points at which they are found.
    vbm_band, cbm_band : int
        Their bands, counted from 0 within a spin.
    vbm_spin, cbm_spin : int
        Their spins: 0, or 1 for spin down.
    """

    gap: float
    direct_gap: float
    vbm: float
    cbm: float
    vbm_index: int
    cbm_index: int
    direct_index: int
    vbm_band: int
    cbm_band: int
    vbm_spin: int = 0
    cbm_spin: int = 0

    @property
    def is_direct(self) -> bool:
        """Whether both edges lie at the same k (or at points of equal energy)."""
        return self.direct_gap - self.gap < 1e-6


def band_gap(
    eigenvalues: np.ndarray,
    n_electrons: float,
    n_occupied=None,
    magnetization: float | None = None,
    electrons_per_band: int = 2,
) -> BandGap | None:
    """Band edges, or None if the electrons cannot fill whole bands or no empty band is there.

    Parameters
    ----------
    eigenvalues : (nk, nb) or (2, nk, nb) array
        eV, ascending.
    n_electrons : float
        Electrons per cell.
    n_occupied : tuple of int, optional
        Filled bands per spin; default: half of the electrons in each.
    magnetization : float, optional
        The fixed one, Bohr magnetons per cell, that sets the default of ``n_occupied``.
    electrons_per_band : int
        1 for bands of spinors; without effect with a leading spin axis.
    """
    energies = np.asarray(eigenvalues, dtype=float)
    spins = energies[None] if energies.ndim == 2 else energies
    if n_occupied is None:
        excess = 0.0 if magnetization is None or len(spins) == 1 else magnetization
        numbers = [0.5 * (n_electrons + excess), 0.5 * (n_electrons - excess)][: len(spins)]
        if len(spins) == 1 and electrons_per_band == 1:
            numbers = [n_electrons]
        if any(abs(number - round(number)) > 1e-6 for number in numbers):
            return None
        n_occupied = tuple(round(number) for number in numbers)
    if max(n_occupied) < 1 or max(n_occupied) >= spins.shape[2]:
        return None
    tops, bottoms = _tops_and_bottoms(spins, n_occupied)
    valence, conduction = tops.max(axis=0), bottoms.min(axis=0)
    i, j, direct = int(valence.argmax()), int(conduction.argmin()), int((conduction - valence).argmin())
    above, below = int(bottoms[:, j].argmin()), int(tops[:, i].argmax())
    vbm, cbm = float(valence[i]), float(conduction[j])
    return BandGap(
        gap=max(0.0, cbm - vbm),
        direct_gap=max(0.0, float(conduction[direct] - valence[direct])),
        vbm=vbm,
        cbm=cbm,
        vbm_index=i,
        cbm_index=j,
        direct_index=direct,
        vbm_band=n_occupied[below] - 1,
        cbm_band=n_occupied[above],
        vbm_spin=below,
        cbm_spin=above,
    )


def filled_bands(eigenvalues: np.ndarray, filling: Filling) -> tuple[int | None, ...]:
    """Number of bands that each collinear spin fills; None where a band crosses the Fermi level.

    Of a half-metal one spin fills whole bands, although the electrons of both together do not.

    Parameters
    ----------
    eigenvalues : (2, nk, nb) array
        eV, ascending; those that were filled.
    filling : Filling
        How they were filled.
    """
    if filling.n_occupied is not None:
        return filling.n_occupied
    levels = filling.spin_fermi_levels or (filling.fermi_level,) * len(eigenvalues)
    counts = [(spin <= level).sum(axis=1) for spin, level in zip(eigenvalues, levels, strict=True)]
    return tuple(int(each[0]) if (each == each[0]).all() else None for each in counts)


def spin_gaps(eigenvalues: np.ndarray, filled: tuple[int | None, ...]) -> tuple[float | None, ...]:
    """Gap of each spin on its own, eV: 0 where a band crosses the Fermi level, None without filled or empty bands.

    Parameters
    ----------
    eigenvalues : (2, nk, nb) array
        eV, ascending.
    filled : tuple of int or None
        Filled bands of each spin, see `filled_bands`.
    """
    gaps = []
    for spin, n in zip(eigenvalues, filled, strict=True):
        if n is None:
            gaps.append(0.0)
        elif 0 < n < spin.shape[1]:
            gaps.append(max(0.0, float(spin[:, n].min() - spin[:, n - 1].max())))
        else:
            gaps.append(None)
    return tuple(gaps)


def frontier_levels(eigenvalues: np.ndarray, n_occupied: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Highest occupied and lowest empty level at every k-point, of both spins together.

    Parameters
    ----------
    eigenvalues : (nk, nb) or (2, nk, nb) array
        eV, ascending.
    n_occupied : tuple of int
        Filled bands of every spin, fewer than nb.

    Returns
    -------
    valence, conduction : (nk,) arrays
        eV.
    """
    spins = eigenvalues[None] if eigenvalues.ndim == 2 else eigenvalues
    tops, bottoms = _tops_and_bottoms(spins, n_occupied)
    return tops.max(axis=0), bottoms.min(axis=0)


def _tops_and_bottoms(spins: np.ndarray, n_occupied: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(n_spin, nk) highest occupied and lowest empty levels; a spin without electrons has no valence band."""
    pairs = list(zip(spins, n_occupied, strict=True))
    tops = [spin[:, n - 1] if n else np.full(len(spin), -np.inf) for spin, n in pairs]
    return np.array(tops), np.array([spin[:, n] for spin, n in pairs])
