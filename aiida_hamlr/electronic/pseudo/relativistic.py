"""Fully relativistic pseudopotentials: their scalar-relativistic and their spin-orbit part.

The nonlocal part is ``sum_lj sum_pq |beta_p> D_pq P_lj <beta_q|`` over projectors of equal l and j, with the projector
onto the spin-angle functions of j = l +- 1/2

    P_lj = w 1 + s L . sigma / (2 l + 1),   w = (2 j + 1) / (2 (2 l + 1)),   s = +-1 (0 for l = 0)

(Kleinman, Phys. Rev. B 21, 2630 (1980); Hemstreet, Fong and Nelson, Phys. Rev. B 47, 4238 (1993)). The first term makes
an ordinary scalar-relativistic pseudopotential, with all projectors of both j and ``w D``; the second is the spin-orbit
part. Nothing is averaged: both together are the potential of the file.

Quantum ESPRESSO does something else with such a file if ``lspinorb`` is not set: it averages projectors and D of
neighbouring j (``average_pp``), which gives another Hamiltonian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aiida_hamlr.electronic.pseudo.upf_content import PseudoWavefunction, UpfContent


@dataclass(frozen=True)
class TotalMomenta:
    """l and j of the projectors and of the wave functions of a file, in the order of the file.

    Parameters
    ----------
    projectors, wavefunctions : tuple of (int, float)
    """

    projectors: tuple[tuple[int, float], ...]
    wavefunctions: tuple[tuple[int, float], ...]


def separate_spin_orbit(content: UpfContent, momenta: TotalMomenta, name: str) -> UpfContent:
    """Separate the numbers of a fully relativistic file into the scalar-relativistic and the spin-orbit part.

    Parameters
    ----------
    content : UpfContent
        As they stand in the file.
    momenta : TotalMomenta
        Of its projectors and wave functions.
    name : str
        What errors call the file.

    Returns
    -------
    UpfContent
        All projectors, each with its j; ``dij`` of the scalar part, ``spin_orbit_dij`` of the spin-orbit part; the two
        wave functions of a shell merged into one, with the sum of their occupations.

    Raises
    ------
    ValueError
        If l and j do not fit each other or the projectors, or D couples projectors of different j.
    """
    if len(momenta.projectors) != len(content.projectors) or len(momenta.wavefunctions) != len(content.wavefunctions):
        raise ValueError(f'{name}: j is not given for every projector and wave function')
    functions = [*content.projectors, *content.wavefunctions]
    for function, (l, j) in zip(functions, [*momenta.projectors, *momenta.wavefunctions], strict=True):
        if l != function.angular_momentum:
            raise ValueError(f'{name}: l = {function.angular_momentum} in one section and {l} in that of j; damaged')
        if abs(abs(j - l) - 0.5) > 1e-6 or j < 0:
            raise ValueError(f'{name}: j = {j:g} is not possible for l = {l}')
    l, j = np.array(momenta.projectors, dtype=float).reshape(-1, 2).T
    if np.any(content.dij[(l[:, None] != l) | (np.abs(j[:, None] - j) > 1e-6)]):
        raise ValueError(f'{name}: PP_DIJ couples projectors of different j')
    sign = np.where(l == 0, 0.0, np.where(j > l, 1.0, -1.0))
    projectors = zip(content.projectors, j, strict=True)
    return replace(
        content,
        projectors=tuple(
            replace(projector, total_angular_momentum=float(momentum)) for projector, momentum in projectors
        ),
        dij=content.dij * _weight(l, j)[:, None],
        spin_orbit_dij=content.dij * (sign / (2 * l + 1))[:, None],
        wavefunctions=_merge(content.wavefunctions, [j for _, j in momenta.wavefunctions]),
    )


def _weight(l, j):
    """Fraction of the states of a shell l that have this j."""
    return (2 * j + 1) / (2 * (2 * l + 1))


def _merge(waves: Sequence[PseudoWavefunction], momenta: Sequence[float]) -> tuple[PseudoWavefunction, ...]:
    """One wave function of each shell, the mean over the states of both j."""
    shells: dict[tuple[str, int], list[tuple[PseudoWavefunction, float]]] = {}
    for wave, j in zip(waves, momenta, strict=True):
        shells.setdefault((wave.label.strip().upper(), wave.angular_momentum), []).append((wave, j))
    merged = []
    for (_, l), members in shells.items():
        weights = np.array([_weight(l, j) for _, j in members])
        weights /= weights.sum()
        first, energies = members[0][0], [wave.energy for wave, _ in members]
        merged.append(
            replace(
                first,
                occupation=sum(wave.occupation for wave, _ in members),
                values=sum(weight * wave.values for weight, (wave, _) in zip(weights, members, strict=True)),
                energy=None if None in energies else float(weights @ energies),
            )
        )
    return tuple(merged)
