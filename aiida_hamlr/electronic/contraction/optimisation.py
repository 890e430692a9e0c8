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
from scipy.linalg import eigh
from scipy.optimize import minimize

from aiida_hamlr.electronic.contraction.crystals import simple_crystals
from aiida_hamlr.electronic.contraction.settled import Settled
from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.neutral_atom import neutral_atom_potential
from aiida_hamlr.electronic.integrals.orbital_cutoff import suggested_cutoff
from aiida_hamlr.electronic.matrices.attributes import count_occupied
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.electronic.orbitals.generation import default_cutoff_radius, generate_basis
from aiida_hamlr.electronic.pseudo.atom import PseudoAtom, SoftConfinement
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.electronic.species import SPECIES_LABELS, species_labels
from aiida_hamlr.electronic.units import RYDBERG
from aiida_hamlr.errors import NumericalError

logger = logging.getLogger(__name__)

#: Primitives of every angular momentum.
N_PRIMITIVES = 8

#: Weight of the conduction bands, and how many count.
CONDUCTION_WEIGHT = 0.5
N_CONDUCTION = 4

#: Fractional k-points at which bands are compared.
KPOINTS = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.5, 0.0, 0.0],
        [0.5, 0.5, 0.0],
        [0.5, 0.5, 0.5],
        [0.25, 0.0, 0.0],
        [0.25, 0.25, 0.0],
        [0.25, 0.5, 0.75],
        [0.375, 0.375, 0.75],
        [0.1, 0.2, 0.35],
    ]
)

#: States beside those compared that the search for plane-wave eigenvalues follows, and its residual, Ry: the energies
#: are then exact to a few micro-electronvolts.
EXTRA_STATES = 4
RESIDUAL = 3e-5

#: Combinations of primitives whose overlap eigenvalue is below it, relative to the largest, are left out as dependent.
DEPENDENCE = 1e-8

#: The same of what is not periodic along all axes; coordinates along the others do not count.
SLAB_KPOINTS = np.array([[0.25, 0.25, 0.25], [0.1, 0.4, 0.3]])

#: How much a slab counts beside a bulk crystal: more helps surfaces a little further, at the cost of the bulk's
#: conduction bands (GaN, dzp: 47 and 62 meV with a weight of 0 and 1).
SLAB_WEIGHT = 0.3


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


class _ReferenceBands:
    """Hamiltonian and overlap of the primitives of one crystal, and its plane-wave eigenvalues, at all k-points."""

    def __init__(
        self,
        atoms: Atoms,
        primitives: Basis,
        pseudos: Mapping[str, Pseudopotential],
        ecutwfc: float,
        n_orbitals: int,
    ):
        ecutrho = 4 * ecutwfc
        potential = neutral_atom_potential(atoms, pseudos, fft_grid(atoms.cell[:], ecutrho), ecutrho)
        plane_waves = PlaneWaveHamiltonian(atoms, potential, pseudos, ecutwfc)
        labels = species_labels(atoms)
        n_electrons = sum(pseudos[label].z_valence for label in labels)
        #: A half-filled band of an odd number of electrons counts as occupied.
        self.n_occupied = max(1, count_occupied(n_electrons))
        #: A small basis may have fewer functions than there are bands to compare.
        self.n_conduction = max(0, min(N_CONDUCTION, n_orbitals - self.n_occupied))
        self.n_occupied = min(self.n_occupied, n_orbitals)
        #: (element, l, first row, number of primitives) of every atom's angular momenta
        self.layout: list[tuple[str, int, int, int]] = []
        row = 0
        for label in labels:
            momenta = primitives[label].angular_momenta
            for l in sorted(set(momenta)):
                self.layout.append((label, l, row, momenta.count(l)))
                row += momenta.count(l) * (2 * l + 1)
        self.n_primitives = row
        #: in the mean over crystals
        self.weight = 1.0 if atoms.pbc.all() else SLAB_WEIGHT
        n_bands = self.n_occupied + self.n_conduction
        self.matrices = []
        for kpoint in kpoints_of(atoms):
            orbitals = plane_waves.orbitals(primitives, kpoint)
            projected = orbitals.conj().T @ (plane_waves.operator(kpoint) @ orbitals)
            projected, overlap = 0.5 * (projected + projected.conj().T), orbitals.conj().T @ orbitals
            start = orbitals @ _lowest_states(projected, overlap, n_bands + EXTRA_STATES)
            exact = plane_waves.eigenvalues(kpoint, n_bands, start, RESIDUAL) / RYDBERG
            self.matrices.append((projected, overlap, exact))

    @property
    def weights(self) -> np.ndarray:
        """(n_bands,) weight of every band in the loss of one k-point."""
        return np.concatenate(
            [
                np.full(self.n_occupied, 1 / self.n_occupied),
                np.full(self.n_conduction, CONDUCTION_WEIGHT / max(1, self.n_conduction)),
            ]
        )

    def contraction(self, coefficients) -> np.ndarray:
        """(n_primitives, n_contracted) matrix of the coefficients ``{(element, l): (n, zetas)}``."""
        used = [(entry, coefficients[entry[:2]]) for entry in self.layout if entry[:2] in coefficients]
        columns = sum(c.shape[1] * (2 * entry[1] + 1) for entry, c in used)
        result = np.zeros((self.n_primitives, columns))
        column = 0
        for (_, l, row, _), c in used:
            block = np.kron(c, np.eye(2 * l + 1))
            result[row : row + block.shape[0], column : column + block.shape[1]] = block
            column += block.shape[1]
        return result

    def pull_back(self, gradient: np.ndarray, coefficients) -> dict:
        """Derivative with respect to the coefficients from that with respect to the contraction matrix."""
        result = {key: np.zeros_like(c) for key, c in coefficients.items()}
        column = 0
        for element, l, row, n in self.layout:
            if (element, l) not in coefficients:
                continue
            zetas, m = coefficients[element, l].shape[1], 2 * l + 1
            block = gradient[row : row + n * m, column : column + zetas * m].reshape(n, m, zetas, m)
            result[element, l] += np.einsum('nmzm->nz', block)
            column += zetas * m
        return result

    def deviations(self, coefficients) -> np.ndarray:
        """(nk, n_bands) ``e_NAO - e_PW``, Ry."""
        X = self.contraction(coefficients)
        result = []
        for H, S, exact in self.matrices:
            energies = eigh(X.T @ H @ X, X.T @ S @ X, eigvals_only=True, subset_by_index=[0, len(exact) - 1])
            result.append(energies - exact)
        return np.array(result)

    def loss(self, coefficients) -> tuple[float, dict]:
        """Loss of this crystal, Ry, and its gradient."""
        X = self.contraction(coefficients)
        weights = self.weights
        total, gradient = 0.0, np.zeros_like(X)
        for H, S, exact in self.matrices:
            HX, SX = H @ X, S @ X
            energies, states = eigh(X.T @ HX, X.T @ SX, subset_by_index=[0, len(weights) - 1])
            total += weights @ (energies - exact)
            gradient += 2 * ((HX @ (states * weights) - SX @ (states * (weights * energies))) @ states.conj().T).real
        nk = len(self.matrices)
        return total / nk, self.pull_back(gradient / nk, coefficients)


def kpoints_of(atoms: Atoms) -> np.ndarray:
    """(nk, 3) fractional k-points at which the bands of a crystal, slab, chain or molecule are compared."""
    return KPOINTS if atoms.pbc.all() else np.unique(SLAB_KPOINTS * atoms.pbc, axis=0)


def _lowest_states(hamiltonian: np.ndarray, overlap: np.ndarray, n: int) -> np.ndarray:
    """(n_functions, n) orthonormal lowest states; nearly dependent functions are put together first."""
    norms, vectors = np.linalg.eigh(overlap)
    kept = norms > DEPENDENCE * norms[-1]
    vectors = vectors[:, kept] / np.sqrt(norms[kept])
    _, states = np.linalg.eigh(vectors.conj().T @ hamiltonian @ vectors)
    return vectors @ states[:, :n]


def contract_bases(
    pseudos: Mapping[str, Pseudopotential],
    size: str | Mapping[str, str] = 'dzp',
    cutoff_radius: Mapping[str, float] | None = None,
    structures: Sequence[Atoms] | None = None,
    ecutwfc: float | None = None,
    confinement: SoftConfinement | None = None,
    max_iterations: int = 300,
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
        If a crystal holds a species without pseudopotential, or a species occurs in no crystal.
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
    confinement = confinement or SoftConfinement()
    radii = {
        e: (cutoff_radius or {}).get(e, default_cutoff_radius(pseudo.element)) for e, pseudo in sorted(pseudos.items())
    }
    sizes = dict.fromkeys(labels, size) if isinstance(size, str) else size
    plain = {e: generate_basis(pseudos[e], sizes[e], radii[e], confinement) for e in labels}
    primitives = Basis({e: _primitives(pseudos[e], plain[e], radii[e], confinement) for e in labels})
    ecutwfc = ecutwfc or max(suggested_cutoff(pseudo) for pseudo in pseudos.values())
    references = []
    names = [atoms.get_chemical_formula('metal') + ' slab' * (not atoms.pbc.all()) for atoms in crystals]
    for name, atoms in zip(names, crystals, strict=True):
        report(f'{name}: bands at {len(kpoints_of(atoms))} k-points, cutoff {ecutwfc:g} Ry')
        n_orbitals = int(Basis(plain).n_orbitals(species_labels(atoms)).sum())
        references.append(_ReferenceBands(atoms, primitives, pseudos, ecutwfc, n_orbitals))
    start = _initial(plain)
    before = _band_error(references, start)
    coefficients, iterations = _optimise(references, start, max_iterations)
    after = _band_error(references, coefficients)
    report(
        f'contracted {", ".join(labels)} in {iterations} steps; mean error of the bands, plain -> contracted: '
        f'occupied {1e3 * before.occupied:.1f} -> {1e3 * after.occupied:.1f} meV, '
        f'conduction {1e3 * before.conduction:.1f} -> {1e3 * after.conduction:.1f} meV'
    )
    record = {
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


def _primitives(pseudo, plain: SpeciesBasis, radius: float, confinement: SoftConfinement) -> SpeciesBasis:
    """The lowest solutions of every angular momentum that the plain basis has."""
    atom = PseudoAtom(pseudo)
    shells = []
    for l in sorted(set(plain.angular_momenta)):
        _, radial = atom.solve(l, radius, N_PRIMITIVES, confinement)
        shells += [Shell(l, radius, row, f'{n + 1}') for n, row in enumerate(radial)]
    return SpeciesBasis(plain.element, plain.step, tuple(shells))


def _initial(plain: Mapping[str, SpeciesBasis]) -> dict:
    """Coefficients of the plain basis, the lowest primitives themselves."""
    return {
        (element, l): np.eye(N_PRIMITIVES, basis.angular_momenta.count(l))
        for element, basis in plain.items()
        for l in sorted(set(basis.angular_momenta))
    }


def _optimise(references: list[_ReferenceBands], start: dict, max_iterations: int) -> tuple[dict, int]:
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


def _band_error(references: list[_ReferenceBands], coefficients: dict) -> BandError:
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
        table = np.array([shell.radial for shell in primitives.shells if shell.angular_momentum == l])
        C = coefficients[l]
        levels, _ = PseudoAtom(pseudo).solve(l, plain.cutoff_radius, N_PRIMITIVES, SoftConfinement())
        _, order = np.linalg.eigh(C.T @ (levels[:, None] * C))
        for shell, radial in zip(named, (C @ order).T @ table, strict=True):
            radial = radial * np.sign(radial[np.abs(radial).argmax()])
            shells.append(replace(shell, radial=radial))
    return SpeciesBasis(plain.element, plain.step, tuple(shells), {**plain.metadata, **record})
