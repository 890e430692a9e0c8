"""Symmetries of H - H0 as a whole, for random crystals, elements and shells: exact for any weights."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.bands.kspace import bloch_matrices
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.model.inference import Predictor

#: eV.
TOLERANCE = 1e-6


class Case:
    """A random crystal with random shells, and a random model of messages, attention, charges, dipoles, and fields."""

    def __init__(self, seed, make_basis, make_model, make_h0):
        self.make_h0 = make_h0
        rng = np.random.default_rng(seed)
        elements = rng.choice(['H', 'C', 'Al', 'Ga', 'As', 'Zr'], size=rng.integers(1, 4), replace=False)
        self.shells = {str(e): rng.integers(0, 4, size=rng.integers(1, 4)).tolist() for e in elements}
        # Every number of elements and shells up to f in some case, whatever is drawn.
        self.shells[str(elements[0])][0] = 3 - seed % 4
        symbols = [*elements, *rng.choice(elements, size=5 - len(elements))]
        cell = np.diag(rng.uniform(4.5, 5.5, size=3)) + rng.normal(scale=0.4, size=(3, 3))
        while True:
            self.atoms = Atoms(symbols, cell=cell, scaled_positions=rng.random((5, 3)), pbc=True)
            distances = make_supercell(self.atoms, np.diag([2, 2, 2])).get_all_distances(mic=True)
            if distances[distances > 0].min() > 1.2:
                break
        self.basis = make_basis(self.shells, radius=4.5)
        self.tables = TwoCentreTables(self.basis)
        cutoffs = {'pair_cutoff': 4.3, 'message_cutoff': 4.0, 'attention_cutoff': 2.5}
        self.model = make_model(self.shells, variant='lr+ea', field_features=True, **cutoffs)
        self.predictor = Predictor(self.model, {}, self.basis, {})
        self.pattern = overlap_pattern(self.atoms, self.basis)
        self.matrix = self.predict(self.atoms, self.pattern)

    def predict(self, atoms, pattern):
        """H - H0 in flat storage, eV."""
        return self.predictor.correction(self.make_h0(atoms, self.tables, pattern))[0]


@pytest.fixture(scope='module', params=range(4))
def case(request, make_basis, make_model, make_h0):
    return Case(request.param, make_basis, make_model, make_h0)


@pytest.mark.parametrize('improper', [False, True], ids=['rotation', 'rotoinversion'])
def test_turns_with_the_crystal(case, orbital_rotation, improper):
    operation = Rotation.random(random_state=5).as_matrix() * (-1 if improper else 1)
    moved = case.atoms.copy()
    moved.set_cell(case.atoms.cell[:] @ operation.T)
    moved.positions = case.atoms.positions @ operation.T
    found = case.predict(moved, case.pattern)
    rotations = {element: orbital_rotation(momenta, operation) for element, momenta in case.shells.items()}
    of_atom = [rotations[symbol] for symbol in case.atoms.symbols]
    assert np.abs(case.matrix).max() > 0.1
    for pair in range(len(case.pattern)):
        left, right = of_atom[case.pattern.first[pair]], of_atom[case.pattern.second[pair]]
        expected = left @ case.pattern.block(case.matrix, pair) @ right.T
        assert np.abs(case.pattern.block(found, pair) - expected).max() < TOLERANCE


def test_independent_of_order_and_origin(case):
    order = np.random.default_rng(6).permutation(len(case.atoms))
    moved = case.atoms[order]
    moved.positions += [0.7, -3.1, 1.9]
    pairs = case.pattern.atom_pairs.copy()
    pairs[:, 3:] = np.argsort(order)[pairs[:, 3:]]
    shuffled = np.random.default_rng(7).permutation(len(pairs))
    pattern = BlockPattern(pairs[shuffled], case.basis.n_orbitals(moved.get_chemical_symbols()))
    found = case.predict(moved, pattern)
    for new, old in enumerate(shuffled):
        assert np.abs(pattern.block(found, new) - case.pattern.block(case.matrix, old)).max() < TOLERANCE


def test_supercell_is_the_unfolded_crystal(case):
    """Every block of 2 x 2 x 2 cells is that of the one cell between the same atoms."""
    supercell = make_supercell(case.atoms, np.diag([2, 2, 2]), order='cell-major')
    large = overlap_pattern(supercell, case.basis)
    found = case.predict(supercell, large)
    n_atoms = len(case.atoms)
    places = np.round(case.pattern.vectors(case.atoms.cell[:], case.atoms.positions), 6).tolist()
    ends = zip(case.pattern.first.tolist(), case.pattern.second.tolist(), places, strict=True)
    known = {(i, j, *place): pair for pair, (i, j, place) in enumerate(ends)}
    vectors = np.round(large.vectors(supercell.cell[:], supercell.positions), 6).tolist()
    assert len(large) == 8 * len(case.pattern)
    for pair, vector in enumerate(vectors):
        one = known[(int(large.first[pair]) % n_atoms, int(large.second[pair]) % n_atoms, *vector)]
        difference = large.block(found, pair) - case.pattern.block(case.matrix, one)
        assert np.abs(difference).max() < TOLERANCE


def test_time_reversal(case):
    """Without spin and field H(-k) is the complex conjugate of H(k), and both are hermitian."""
    kpoints = np.random.default_rng(8).random((3, 3))
    matrices = bloch_matrices(case.pattern, case.matrix, np.concatenate([kpoints, -kpoints]))
    assert np.abs(matrices.imag).max() > 1e-3
    assert np.abs(matrices - matrices.conj().transpose(0, 2, 1)).max() < 1e-12
    assert np.abs(matrices[3:] - matrices[:3].conj()).max() < 1e-12


def test_continuous_where_a_pair_crosses_the_cutoff(case):
    """An atom moves by 2e-5 Å: a pair leaves, whose block is zero from there on, and nothing jumps."""
    lengths = np.linalg.norm(case.pattern.vectors(case.atoms.cell[:], case.atoms.positions), axis=1)
    different = case.pattern.first != case.pattern.second
    pair = int(np.argmin(np.where(different, np.abs(lengths - case.model.pair_cutoff), np.inf)))
    direction = case.pattern.vectors(case.atoms.cell[:], case.atoms.positions)[pair] / lengths[pair]
    found = []
    for offset in (-1e-5, 1e-5):
        moved = case.atoms.copy()
        moved.positions[case.pattern.second[pair]] += direction * (case.model.pair_cutoff + offset - lengths[pair])
        found.append(case.predict(moved, case.pattern))
    assert np.abs(case.pattern.block(found[0], pair)).max() < 1e-9
    assert np.abs(case.pattern.block(found[1], pair)).max() == 0.0
    assert np.abs(found[1] - found[0]).max() < 1e-2
