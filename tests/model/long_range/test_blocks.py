"""Blocks of the long-range Hamiltonian against plain loops, derivatives of the energy, and a uniform field."""

import numpy as np
import pytest
import torch
from ase import Atoms

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.long_range import blocks
from aiida_hamlr.model.long_range.blocks import Action, StructureIntegrals, component_blocks, long_range_entries
from aiida_hamlr.model.long_range.ewald import DirectSum
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.references import Reference

SHELLS = {'Al': [0, 1], 'As': [0, 1, 2]}

#: Å; no block of the bases here is as long.
FAR = 50.0


class Case:
    """A structure with its integrals; loops go over blocks (i, j, R) and their elements."""

    def __init__(self, atoms, basis):
        self.atoms, self.tables = atoms, TwoCentreTables(basis)
        self.pattern = overlap_pattern(atoms, basis)
        self.overlap, self.kinetic = self.tables.overlap_and_kinetic(atoms, self.pattern)
        self.dipole = self.tables.dipole(atoms, self.pattern)
        self.vectors = self.pattern.vectors(atoms.cell[:], atoms.positions)

    def entries(self, potential, force=None, cutoff=FAR):
        action = Action(torch.tensor(potential), None if force is None else torch.tensor(force))
        tables = None if force is None else self.tables
        return long_range_entries(action, StructureIntegrals(self.atoms, self.pattern, self.overlap, tables), cutoff)

    def blocks(self):
        for p, (i, j) in enumerate(self.pattern.atom_pairs[:, 3:]):
            overlap = self.pattern.block(self.overlap, p)
            at_first = [self.pattern.block(component, p) for component in self.dipole]
            at_second = [d - r * overlap for d, r in zip(at_first, self.vectors[p], strict=True)]
            yield p, i, j, overlap, np.array(at_first), np.array(at_second)


@pytest.fixture
def make_case(make_basis):
    def make(atoms, shells=None):
        return Case(atoms, make_basis(shells or SHELLS))

    return make


@pytest.fixture
def skew():
    """Five atoms in a skew cell."""
    rng = np.random.default_rng(0)
    cell = np.diag([5.0, 6.0, 5.5]) + rng.normal(0, 0.4, (3, 3))
    return Atoms('Al2As3', cell=cell, scaled_positions=rng.random((5, 3)), pbc=True)


def falling(length, cutoff):
    """One up to half an Å before the cutoff, then down to zero with two continuous derivatives."""
    x = (length - cutoff) / 0.5 + 1.0
    if x <= 0.0:
        return 1.0
    return 0.0 if x >= 1.0 else 1.0 - 10 * x**3 + 15 * x**4 - 6 * x**5


@pytest.mark.parametrize('order', [0, 1])
def test_blocks_are_those_of_the_formula(make_case, skew, order):
    """Element by element, with blocks that fall off in the shell before the cutoff."""
    case, rng, cutoff = make_case(skew), np.random.default_rng(1), 4.3
    potential, force = rng.normal(size=5), rng.normal(size=(5, 3)) if order else None
    lengths = np.linalg.norm(case.vectors, axis=1)
    assert ((lengths > cutoff - 0.45) & (lengths < cutoff - 0.1)).sum() > 4 and (lengths > cutoff).sum() > 4
    expected = np.empty(case.pattern.n_entries)
    for p, i, j, overlap, at_first, at_second in case.blocks():
        block = -0.5 * (potential[i] + potential[j]) * overlap
        for axis in range(3 if order else 0):
            block = block + 0.5 * force[i, axis] * at_first[axis] + 0.5 * force[j, axis] * at_second[axis]
        case.pattern.block(expected, p)[:] = falling(lengths[p], cutoff) * block
    found = case.entries(potential, force, cutoff)
    assert np.abs(expected).max() > 0.1
    assert case.pattern.asymmetry(found) == 0.0
    assert np.abs(found - case.pattern.symmetrize(expected)).max() < 1e-12


@pytest.mark.parametrize('order', [0, 1])
def test_hamiltonian_is_the_derivative_of_the_energy(make_case, rattled, order):
    """E = 1/2 sum Q V - 1/2 sum p.E of Mulliken's charges and dipoles, differentiated with respect to P(R).

    Q_i = Z_i - sum_mu (P S)_mumu, and p_i = -sum_mu (P <r - tau_i>)_mumu, both of the orbitals mu of atom i.
    """
    case, rng = make_case(rattled(0)), np.random.default_rng(0)
    pattern = case.pattern
    density = pattern.symmetrize(0.1 * rng.normal(size=pattern.n_entries))
    first = np.repeat(pattern.first, pattern.chunk_shapes.prod(axis=1))
    operator = DirectSum(torch.tensor(case.atoms.cell[:]), torch.tensor(case.atoms.positions), 1.5)

    def moments(p):
        charges = np.array([3.0, 5.0]) - np.bincount(first, weights=p * case.overlap, minlength=2)
        dipoles = [-np.bincount(first, weights=p * component, minlength=2) for component in case.dipole]
        return torch.tensor(charges), torch.tensor(np.stack(dipoles, axis=1)) if order else None

    def energy(p):
        charges, dipoles = moments(p)
        potential, field = operator(charges, dipoles)
        return float(0.5 * charges @ potential - (0.5 * (dipoles * field).sum() if order else 0.0))

    potential, field = (x.numpy() for x in operator(*moments(density)))
    hamiltonian = case.entries(potential, field if order else None)
    for entry in rng.choice(np.flatnonzero(np.abs(case.overlap) > 0.01), 12, replace=False):
        change = np.zeros_like(density)
        change[entry] += 0.5e-4
        change[pattern.transpose_indices[entry]] += 0.5e-4
        derivative = (energy(density + change) - energy(density - change)) / 2e-4
        assert hamiltonian[entry] == pytest.approx(derivative, abs=1e-6)


def test_sign_electrons_are_drawn_to_positive_charges(make_case):
    """The level of an electron is lower on the atom at the higher potential, and order 1 continues the trend."""
    atoms = Atoms('AlAs', positions=[[0, 0, 0], [0, 0, 4.0]], cell=[9, 9, 12], pbc=True)
    case = make_case(atoms, {'Al': [0, 1], 'As': [0, 1]})
    operator = DirectSum(torch.tensor(atoms.cell[:]), torch.tensor(atoms.positions), 1.0)
    potential, field = (x.numpy() for x in operator(torch.tensor([1.0, -1.0]).double()))
    assert potential[0] > 0 > potential[1]
    assert field[0, 2] > 0 and field[1, 2] > 0
    levels = case.entries(potential, field)
    aluminium, arsenic = (case.pattern.block(levels, int(pair)) for pair in case.pattern.onsite)
    assert aluminium[0, 0] == pytest.approx(-potential[0])
    assert aluminium[0, 0] < 0 < arsenic[0, 0]
    # An electron of charge -1 in the field E has the energy + E.r: s and p_z of one atom mix with a positive sign.
    dipole = case.pattern.block(case.dipole[2], int(case.pattern.onsite[0]))[0, 3]
    assert dipole > 0
    assert aluminium[0, 3] == pytest.approx(field[0, 2] * dipole)


def test_a_uniform_field_gives_the_matrix_of_a_linear_potential(make_case, skew):
    """If all atoms feel one field, order 1 makes H the matrix of E.r."""
    case, field = make_case(skew), np.array([0.1, -0.2, 0.3])
    entries = case.entries(-skew.positions @ field, np.tile(field, (5, 1)))
    home = np.repeat((case.pattern.images == 0).all(axis=1), case.pattern.chunk_shapes.prod(axis=1))
    first = np.repeat(case.pattern.first, case.pattern.chunk_shapes.prod(axis=1))
    exact = np.einsum('a,am->m', field, case.dipole) + (skew.positions @ field)[first] * case.overlap
    assert np.abs(entries - exact)[home].max() < 1e-6


def test_slices_take_every_block_once_and_give_the_same(make_case, skew, monkeypatch):
    case, rng = make_case(skew), np.random.default_rng(1)
    potential, force = rng.normal(size=5), rng.normal(size=(5, 3))
    whole = case.entries(potential, force, 4.3)
    monkeypatch.setattr(blocks, 'PAIRS_AT_ONCE', 3)
    assert np.abs(case.entries(potential, force, 4.3) - whole).max() < 1e-14
    count = np.zeros(case.pattern.n_entries)
    for chosen, entries, reverse, overlap, dipole in StructureIntegrals(
        skew, case.pattern, case.overlap, case.tables
    ).slices():
        assert len(chosen) <= 3 and overlap.shape == entries.shape == reverse.shape
        assert dipole.shape == (len(chosen), 3, *overlap.shape[1:])
        for places in (entries, reverse):
            count[places] += 1
    onsite = np.zeros(len(case.pattern), dtype=bool)
    onsite[case.pattern.onsite] = True
    assert np.array_equal(count, 1 + np.repeat(onsite, case.pattern.chunk_shapes.prod(axis=1)))


def test_dipole_blocks_of_both_orientations_belong_together(make_case, skew):
    """The tables' own asymmetry is that of their interpolation."""
    case = make_case(skew)
    pattern = case.pattern
    dipole = StructureIntegrals(skew, pattern, case.overlap, case.tables).flat_dipole()
    away = np.repeat(case.vectors, pattern.chunk_shapes.prod(axis=1), axis=0).T * case.overlap
    assert np.abs(dipole - dipole[:, pattern.transpose_indices] - away).max() < 1e-14
    assert np.abs(dipole - case.dipole).max() < 1e-6


@pytest.mark.parametrize('order', [0, 1])
def test_components_are_those_of_the_blocks(tmp_path, make_reference, make_model, skew, order):
    """Components of all pairs that the network predicts, put together, and nothing beyond these."""
    hamiltonian = make_reference(skew, SHELLS)
    hamiltonian.write(tmp_path / 'one.h5')
    reference = Reference.read(tmp_path / 'one.h5')
    model = make_model(SHELLS, variant='lr', multipole_order=order, pair_cutoff=4.3)
    example = make_example(model, reference, tables := TwoCentreTables(reference.basis))
    model.normalise(example.graph)
    rng = np.random.default_rng(2)
    action = Action(torch.tensor(rng.normal(size=5)), torch.tensor(rng.normal(size=(5, 3))) if order else None)
    onsite, pairs = component_blocks(action, example.graph)
    frames = BlockFrames.of(model.slots, skew, reference.pattern, example.selection)
    found = frames.assemble(onsite.numpy(), pairs.numpy())
    integrals = StructureIntegrals(skew, reference.pattern, reference.overlap, tables if order else None)
    expected = long_range_entries(action, integrals, 4.3)
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() < 1e-12


def test_added_to_a_matrix_in_place(make_case, skew):
    case, rng = make_case(skew), np.random.default_rng(5)
    integrals = StructureIntegrals(skew, case.pattern, case.overlap, case.tables)
    action = Action(torch.tensor(rng.normal(size=5)), torch.tensor(rng.normal(size=(5, 3))))
    before = case.pattern.symmetrize(rng.normal(size=case.pattern.n_entries))
    found = before.copy()
    assert long_range_entries(action, integrals, 4.3, onto=found) is found
    assert np.array_equal(found, before + long_range_entries(action, integrals, 4.3))


@pytest.mark.parametrize('order', [0, 1])
def test_both_orientations_of_the_overlap_are_averaged(make_case, skew, order):
    case, rng = make_case(skew), np.random.default_rng(3)
    case.overlap = case.overlap + 1e-3 * rng.normal(size=case.pattern.n_entries)
    potential, force = rng.normal(size=5), rng.normal(size=(5, 3)) if order else None
    found = case.entries(potential, force)
    case.overlap = case.pattern.symmetrize(case.overlap)
    assert case.pattern.asymmetry(found) == 0.0
    assert np.abs(found - case.entries(potential, force)).max() < 1e-14
