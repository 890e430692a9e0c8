"""Contracted orbitals: the combinations of primitives whose bands lie closest to those of plane waves.

Primitives are the lowest softly confined solutions of the pseudo-atom. For a few small crystals in the potential of
superposed neutral atoms, which needs no self-consistency, the contraction coefficients minimise

    L = mean_k [ mean_occ (e_NAO - e_PW) + w mean_cond (e_NAO - e_PW) ],

in which by the variational theorem no term is negative, with L-BFGS and the Hellmann-Feynman gradient
``de_n = c_n^+ (dH - e_n dS) c_n``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from scipy.optimize import minimize

from aiida_hamlr.electronic.contraction.crystals import simple_crystals
from aiida_hamlr.electronic.contraction.reference_bands import ReferenceBands, kpoints_of
from aiida_hamlr.electronic.contraction.settled import Settled
from aiida_hamlr.electronic.integrals.orbital_cutoff import suggested_cutoff
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.electronic.orbitals.generation import default_cutoff_radius, generate_basis
from aiida_hamlr.electronic.orbitals.total_momenta import (
    check_fully_relativistic,
    difference_of_j,
    orthonormalised,
)
from aiida_hamlr.electronic.pseudo.atom import STEP, PseudoAtom, SoftConfinement
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import SPECIES_LABELS, species_labels
from aiida_hamlr.electronic.units import RYDBERG
from aiida_hamlr.errors import NumericalError

logger = logging.getLogger(__name__)

#: Primitives of every angular momentum; for spin-orbit coupling one more if the two j differ.
N_PRIMITIVES = 8

#: Level of that one, eV, so that it counts as the highest of its angular momentum.
HIGHEST_LEVEL = 1e3


@dataclass(frozen=True)
class BandError:
    """Mean distance of the bands from those of plane waves over all k-points and, with their weights, crystals, eV."""

    occupied: float
    conduction: float

    def in_words(self, suffix: str = '') -> dict[str, float | None]:
        """By the names of summaries and metadata, meV; None without conduction bands."""
        return {
            f'band_error_{name}{suffix}_meV': round(1e3 * value, 3) if np.isfinite(value) else None
            for name, value in (('occupied', self.occupied), ('conduction', self.conduction))
        }


def contract_bases(
    pseudos: Mapping[str, Pseudopotential],
    size: str | Mapping[str, str] = 'dzp',
    cutoff_radius: Mapping[str, float] | None = None,
    structures: Sequence[Atoms] | None = None,
    ecutwfc: float | None = None,
    confinement: SoftConfinement | None = None,
    max_iterations: int = 300,
    spin_orbit: bool = False,
    report: Callable[[str], None] = logger.info,
) -> Basis:
    """Optimise the bases of several species together on small crystals; no DFT run, deterministic.

    Parameters
    ----------
    pseudos : mapping of str to Pseudopotential
        By species label.
    size : str or mapping of str to str
        As for `generate_basis`, which also says how many shells of every angular momentum there are.
    cutoff_radius : mapping of str to float, optional
        bohr; species that are left out have their default.
    structures : list of ase.Atoms, optional
        The crystals or slabs (``pbc`` says which), cells of a few atoms; default: `simple_crystals` of the species.
    ecutwfc : float, optional
        Plane-wave cutoff, Ry; default: the largest `suggested_cutoff`.
    confinement : SoftConfinement, optional
        Potential that ends the primitive orbitals.
    max_iterations : int
        Largest number of steps of the optimisation.
    spin_orbit : bool
        Whether the bands are those of spinors, with the spin-orbit part of the pseudopotentials. Shells whose two j
        differ get one more function, as for `generate_basis`; the orbitals remain the same for both spins.
    report : callable, optional
        Gets a line on how far it is.

    Returns
    -------
    Basis
        The metadata hold the crystals and the mean band errors of the plain and the contracted basis on them, as
        ``band_error_occupied_meV``, ``band_error_occupied_plain_meV`` and both for the conduction bands.

    Raises
    ------
    ValueError
        If a crystal holds a species without pseudopotential, a species occurs in no crystal, or spin-orbit coupling is
        wanted and no pseudopotential is fully relativistic.
    NumericalError
        If the optimisation breaks down.
    """
    labels = sorted(pseudos)
    crystals = list(structures) if structures else simple_crystals(labels)
    present = {label for atoms in crystals for label in species_labels(atoms)}
    if present - set(labels):
        raise ValueError(f'no pseudopotential for {", ".join(sorted(present - set(labels)))} of the crystals')
    if set(labels) - present:
        raise ValueError(f'no crystal holds {", ".join(sorted(set(labels) - present))}; give one to contract its basis')
    if spin_orbit:
        check_fully_relativistic(pseudos)
    confinement = confinement or SoftConfinement()
    radii = {
        e: (cutoff_radius or {}).get(e, default_cutoff_radius(pseudo.element)) for e, pseudo in sorted(pseudos.items())
    }
    sizes = dict.fromkeys(labels, size) if isinstance(size, str) else size
    plain = {e: generate_basis(pseudos[e], sizes[e], radii[e], confinement, spin_orbit) for e in labels}
    primitives = Basis({e: _primitives(pseudos[e], plain[e], confinement, spin_orbit) for e in labels})
    ecutwfc = ecutwfc or max(suggested_cutoff(pseudo) for pseudo in pseudos.values())
    references = []
    names = [atoms.get_chemical_formula('metal') + ' slab' * (not atoms.pbc.all()) for atoms in crystals]
    for name, atoms in zip(names, crystals, strict=True):
        report(f'{name}: bands at {len(kpoints_of(atoms))} k-points, cutoff {ecutwfc:g} Ry')
        n_orbitals = int(Basis(plain).n_orbitals(species_labels(atoms)).sum())
        references.append(ReferenceBands(atoms, primitives, pseudos, ecutwfc, n_orbitals, spin_orbit))
    start = _initial(plain, primitives)
    before = _band_error(references, start)
    coefficients, iterations = _optimise(references, start, max_iterations)
    after = _band_error(references, coefficients)
    report(
        f'contracted {", ".join(labels)} in {iterations} steps; mean error of the bands, plain -> contracted: '
        f'occupied {1e3 * before.occupied:.1f} -> {1e3 * after.occupied:.1f} meV, '
        f'conduction {1e3 * before.conduction:.1f} -> {1e3 * after.conduction:.1f} meV'
    )
    record = _record(crystals, names, ecutwfc, before, after)
    return Basis(
        {
            species: _contracted(
                plain[species],
                primitives[species],
                pseudos[species],
                {l: c for (label, l), c in coefficients.items() if label == species},
                record,
            )
            for species in labels
        }
    )


def _record(crystals: Sequence[Atoms], names: list[str], ecutwfc: float, before: BandError, after: BandError) -> dict:
    """What the metadata say of the optimisation."""
    return {
        'recipe': 'contracted',
        'n_primitives': N_PRIMITIVES,
        'crystals': names,
        'structures': [
            {
                'symbols': str(atoms.symbols),
                **({SPECIES_LABELS: species_labels(atoms)} if SPECIES_LABELS in atoms.arrays else {}),
                'cell': atoms.cell.tolist(),
                'positions': atoms.positions.tolist(),
                'pbc': atoms.pbc.tolist(),
            }
            for atoms in crystals
        ],
        'ecutwfc_Ry': ecutwfc,
        **before.in_words('_plain'),
        **after.in_words(),
    }


def _primitives(pseudo, plain: SpeciesBasis, confinement: SoftConfinement, spin_orbit: bool) -> SpeciesBasis:
    """The lowest solutions of every angular momentum that the plain basis has, and what its two j differ by."""
    atom, radius = PseudoAtom(pseudo), plain.cutoff_radius
    shells = []
    for l in sorted(set(plain.angular_momenta)):
        _, radial = atom.solve(l, radius, N_PRIMITIVES, confinement)
        shells += [Shell(l, radius, row, f'{n + 1}') for n, row in enumerate(radial)]
        difference = difference_of_j(pseudo, l, radius, confinement) if spin_orbit else None
        if difference is not None:
            shells.append(Shell(l, radius, orthonormalised(difference, radial), 'j'))
    return SpeciesBasis(plain.element, plain.step, tuple(shells))


def _initial(plain: Mapping[str, SpeciesBasis], primitives: Mapping[str, SpeciesBasis]) -> dict:
    """Coefficients of the plain basis: its overlaps with the primitives, which are orthonormal and span it."""
    start = {}
    for element, basis in plain.items():
        for l in sorted(set(basis.angular_momenta)):
            own, table = _table(basis, l), _table(primitives[element], l)
            start[element, l] = table * (STEP * np.arange(table.shape[1])) ** 2 @ own.T * STEP
    return start


def _table(basis: SpeciesBasis, l: int) -> np.ndarray:
    """(n, nr) radial functions of one angular momentum."""
    return np.array([shell.radial for shell in basis.shells if shell.angular_momentum == l])


def _optimise(references: list[ReferenceBands], start: dict, max_iterations: int) -> tuple[dict, int]:
    keys = sorted(start)
    sizes = np.cumsum([0] + [start[key].size for key in keys])

    def unpack(x):
        return {key: x[sizes[i] : sizes[i + 1]].reshape(start[key].shape) for i, key in enumerate(keys)}

    def function(x):
        coefficients = unpack(x)
        results = [reference.loss(coefficients) for reference in references]
        gradient = [sum(w * g[key] for w, (_, g) in zip(weights, results, strict=True)).ravel() for key in keys]
        return sum(w * loss for w, (loss, _) in zip(weights, results, strict=True)), np.concatenate(gradient)

    weights = np.array([reference.weight for reference in references])
    weights /= weights.sum()
    x = np.concatenate([start[key].ravel() for key in keys])
    settled = Settled()
    options = {'maxiter': max_iterations, 'ftol': 1e-9}
    result = minimize(function, x, jac=True, method='L-BFGS-B', callback=settled, options=options)
    if not np.isfinite(result.fun):
        raise NumericalError(f'the contraction broke down: {result.message}')
    # Only the space that the columns span matters.
    return {key: np.linalg.qr(c)[0] for key, c in unpack(result.x).items()}, int(result.nit)


def _band_error(references: list[ReferenceBands], coefficients: dict) -> BandError:
    deviations = [reference.deviations(coefficients) for reference in references]
    pairs = list(zip(references, deviations, strict=True))
    occupied = np.average([d[:, : r.n_occupied].mean() for r, d in pairs], weights=[r.weight for r in references])
    with_conduction = [(r.weight, d[:, r.n_occupied :].mean()) for r, d in pairs if r.n_conduction]
    conduction = np.nan
    if with_conduction:
        weights, means = zip(*with_conduction, strict=True)
        conduction = np.average(means, weights=weights)
    return BandError(float(occupied) * RYDBERG, float(conduction) * RYDBERG)


def _contracted(
    plain: SpeciesBasis, primitives: SpeciesBasis, pseudo, coefficients: dict, record: dict
) -> SpeciesBasis:
    """The contracted shells; those of one angular momentum diagonalise the confined atom, as the plain ones do."""
    shells = []
    for l in sorted(set(plain.angular_momenta)):
        named = [shell for shell in plain.shells if shell.angular_momentum == l]
        table, C = _table(primitives, l), coefficients[l]
        levels, _ = PseudoAtom(pseudo).solve(l, plain.cutoff_radius, N_PRIMITIVES, SoftConfinement())
        levels = np.append(levels, np.full(len(table) - N_PRIMITIVES, HIGHEST_LEVEL))
        _, order = np.linalg.eigh(C.T @ (levels[:, None] * C))
        for shell, radial in zip(named, (C @ order).T @ table, strict=True):
            radial = radial * np.sign(radial[np.abs(radial).argmax()])
            shells.append(replace(shell, radial=radial))
    return SpeciesBasis(plain.element, plain.step, tuple(shells), {**plain.metadata, **record})
