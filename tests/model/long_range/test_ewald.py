"""The long-range channel against derivatives, torch-pme and lattice sums known in closed form."""

import numpy as np
import pytest
import torch
import torchpme
import vesin
from ase import Atoms
from ase.build import bulk, make_supercell
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model import keys
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.irreps.normalisation import switch
from aiida_hamlr.model.long_range.ewald import (
    coulomb_matrices,
    coulomb_sum,
    half_space_vectors,
    long_range_entries,
)
from aiida_hamlr.model.training.examples import add_long_range

SHELLS = {'Al': [0, 1], 'As': [0, 1, 2]}


def tensors(atoms):
    return torch.tensor(atoms.cell[:]), torch.tensor(atoms.positions)


def smooth_potential(atoms, charges, width):
    potential, _ = coulomb_sum(*tensors(atoms), torch.tensor(charges), width)
    return potential.numpy()


def point_charge_potential(atoms, charges, width):
    """Smooth potential plus the short-range rest, minus the Gaussian's own: that of point charges, V."""
    i, j, d = vesin.NeighborList(cutoff=9 * width, full_list=True).compute(
        points=atoms.positions, box=atoms.cell[:], periodic=True, quantities='ijd'
    )
    rest = np.zeros(len(atoms))
    np.add.at(rest, i, COULOMB * charges[j] * erfc(d / (np.sqrt(2) * width)) / d)
    return smooth_potential(atoms, charges, width) + rest - COULOMB * np.sqrt(2 / np.pi) / width * charges


@pytest.fixture
def ions():
    """Eight ions of random charges, neutral in sum, in a skew cell."""
    rng = np.random.default_rng(0)
    cell = np.diag([6.0, 7.0, 8.0]) + rng.normal(0, 0.4, (3, 3))
    atoms = Atoms('Al4As4', cell=cell, scaled_positions=rng.random((8, 3)), pbc=True)
    charges = rng.normal(size=8)
    return atoms, charges - charges.mean()


@pytest.mark.parametrize(
    ('crystal', 'expected'), [('rocksalt', 1.747565), ('cesiumchloride', 1.762675), ('zincblende', 1.638055)]
)
def test_madelung_constants(crystal, expected):
    atoms = bulk('NaCl', crystal, a=5.0)
    charges = np.array([1.0, -1.0])
    distance = atoms.get_distance(0, 1, mic=True)
    potential = point_charge_potential(atoms, charges, 0.7)
    assert -potential[0] * distance / COULOMB == pytest.approx(expected, abs=1e-6)
    assert potential[1] == pytest.approx(-potential[0])


def test_agrees_with_torchpme(ions):
    atoms, charges = ions
    width = 0.8
    i, j, d = vesin.NeighborList(cutoff=8.0, full_list=True).compute(
        points=atoms.positions, box=atoms.cell[:], periodic=True, quantities='ijd'
    )
    calculator = torchpme.EwaldCalculator(
        torchpme.CoulombPotential(smearing=width), lr_wavelength=0.4, full_neighbor_list=True
    ).double()
    cell, positions = tensors(atoms)
    indices = torch.tensor(np.stack([i, j], axis=1).astype(np.int64))
    expected = calculator(torch.tensor(charges)[:, None], cell, positions, indices, torch.tensor(d))
    # torch-pme counts every pair half.
    expected = 2 * COULOMB * expected[:, 0].numpy()
    assert np.abs(point_charge_potential(atoms, charges, width) - expected).max() < 1e-6


def test_every_k_has_its_opposite_and_zero_is_left_out(ions):
    half = half_space_vectors(tensors(ions[0])[0], 1.5).numpy()
    everything = np.concatenate([half, -half])
    assert len(np.unique(np.round(everything, 9), axis=0)) == len(everything)
    assert np.linalg.norm(half, axis=1).min() > 0.1


def test_matrices_give_the_same_as_structure_factors(ions):
    atoms, charges = ions
    potential, field = coulomb_sum(*tensors(atoms), torch.tensor(charges), 1.5)
    matrix, vectors = coulomb_matrices(*tensors(atoms), 1.5)
    assert torch.allclose(matrix @ torch.tensor(charges), potential, atol=1e-11)
    assert torch.allclose(torch.einsum('ija,j->ia', vectors, torch.tensor(charges)), field, atol=1e-11)
    assert torch.allclose(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-9


def test_field_is_minus_the_gradient(ions):
    """Of the potential of the other charges at the atom; its own has no gradient."""
    atoms, charges = ions
    _, field = coulomb_sum(*tensors(atoms), torch.tensor(charges), 1.5)
    cell, positions = tensors(atoms)
    for axis in range(3):
        values = []
        for step in (1e-4, -1e-4):
            probe = positions.clone()
            probe[2, axis] += step
            both = torch.cat([positions, probe[2:3]])
            values.append(float(coulomb_sum(cell, both, torch.tensor([*charges, 0.0]), 1.5)[0][-1]))
        assert -(values[0] - values[1]) / 2e-4 == pytest.approx(float(field[2, axis]), abs=1e-6)


def test_invariances(ions):
    atoms, charges = ions
    expected = smooth_potential(atoms, charges, 1.5)
    moved = atoms.copy()
    moved.positions += [0.3, -2.0, 5.0]
    assert np.allclose(smooth_potential(moved, charges, 1.5), expected, atol=1e-10)
    rotation = Rotation.random(random_state=0).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell[:] @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    assert np.allclose(smooth_potential(turned, charges, 1.5), expected, atol=1e-10)
    order = np.random.default_rng(0).permutation(len(atoms))
    assert np.allclose(smooth_potential(atoms[order], charges[order], 1.5), expected[order], atol=1e-10)
    supercell = make_supercell(atoms, np.diag([2, 1, 1]))
    repeated = smooth_potential(supercell, np.tile(charges, 2), 1.5)
    assert np.allclose(repeated, np.tile(expected, 2), atol=1e-9)


def test_hamiltonian_is_the_derivative_of_the_energy(make_basis, rattled):
    """E = 1/2 sum Q K Q with Mulliken charges Q_i = Z_i - sum_mu (P S)_mumu, differentiated with respect to P(R)."""
    atoms = rattled(0)
    basis = make_basis(SHELLS)
    pattern = overlap_pattern(atoms, basis)
    overlap, _ = TwoCentreTables(basis).overlap_and_kinetic(atoms, pattern)
    matrix = coulomb_matrices(*tensors(atoms), 1.5)[0].numpy()
    rng = np.random.default_rng(0)
    density = pattern.symmetrize(0.1 * rng.normal(size=pattern.n_entries))
    cores = np.array([3.0, 5.0])
    first = np.repeat(pattern.first, pattern.chunk_shapes.prod(axis=1))

    def charges(p):
        return cores - np.bincount(first, weights=p * overlap, minlength=2)

    def energy(p):
        return 0.5 * charges(p) @ matrix @ charges(p)

    hamiltonian = long_range_entries(pattern, overlap, matrix @ charges(density))
    assert pattern.asymmetry(hamiltonian) < 1e-9
    for entry in rng.choice(np.flatnonzero(np.abs(overlap) > 0.01), 12, replace=False):
        change = np.zeros_like(density)
        change[entry] += 0.5e-5
        change[pattern.transpose_indices[entry]] += 0.5e-5
        derivative = (energy(density + change) - energy(density - change)) / 2e-5
        assert hamiltonian[entry] == pytest.approx(derivative, abs=1e-7)


def test_sign_electrons_are_drawn_to_positive_charges(make_basis):
    """The level of an electron is lower on the atom at the higher potential, and order 1 continues the trend."""
    atoms = Atoms('AlAs', positions=[[0, 0, 0], [0, 0, 4.0]], cell=[9, 9, 12], pbc=True)
    basis = make_basis({'Al': [0, 1], 'As': [0, 1]})
    pattern = overlap_pattern(atoms, basis)
    tables = TwoCentreTables(basis)
    overlap, _ = tables.overlap_and_kinetic(atoms, pattern)
    potential, field = (x.numpy() for x in coulomb_sum(*tensors(atoms), torch.tensor([1.0, -1.0]).double(), 1.0))
    assert potential[0] > 0 > potential[1]
    assert field[0, 2] > 0 and field[1, 2] > 0
    levels = long_range_entries(
        pattern,
        overlap,
        potential,
        field,
        np.ones(2),
        tables.dipole(atoms, pattern),
        pattern.vectors(atoms.cell[:], atoms.positions),
    )
    aluminium, arsenic = (pattern.block(levels, int(pair)) for pair in pattern.onsite)
    assert aluminium[0, 0] == pytest.approx(-potential[0])
    assert aluminium[0, 0] < 0 < arsenic[0, 0]
    # An electron of charge -1 in the field E has the energy + E.r: s and p_z of one atom mix with a positive sign.
    dipole = pattern.block(tables.dipole(atoms, pattern)[2], int(pattern.onsite[0]))[0, 3]
    assert dipole > 0
    assert aluminium[0, 3] == pytest.approx(field[0, 2] * dipole)


def test_dipole_terms_keep_the_matrix_symmetric_and_follow_a_uniform_potential_slope(make_basis, ions):
    """If all atoms feel one field, order 1 makes H the matrix of the linear potential up to a constant per atom."""
    atoms, _ = ions
    basis = make_basis(SHELLS)
    pattern = overlap_pattern(atoms, basis)
    tables = TwoCentreTables(basis)
    overlap, _ = tables.overlap_and_kinetic(atoms, pattern)
    dipole = tables.dipole(atoms, pattern)
    vectors = pattern.vectors(atoms.cell[:], atoms.positions)
    rng = np.random.default_rng(1)
    entries = long_range_entries(
        pattern, overlap, rng.normal(size=8), rng.normal(size=(8, 3)), rng.normal(size=8), dipole, vectors
    )
    assert pattern.asymmetry(entries) < 1e-6
    field = np.array([0.1, -0.2, 0.3])
    entries = long_range_entries(
        pattern, overlap, -atoms.positions @ field, np.tile(field, (8, 1)), np.ones(8), dipole, vectors
    )
    home = np.repeat((pattern.images == 0).all(axis=1), pattern.chunk_shapes.prod(axis=1))
    first = np.repeat(pattern.first, pattern.chunk_shapes.prod(axis=1))
    exact = np.einsum('a,am->m', field, dipole) + (atoms.positions @ field)[first] * overlap
    assert np.abs(entries - exact)[home].max() < 1e-6


@pytest.fixture(params=[0, 1])
def charged_model(request, make_model):
    return make_model(SHELLS, variant='lr', multipole_order=request.param)


def test_components_agree_with_the_flat_storage(charged_model, make_basis, rattled):
    atoms, basis = rattled(2), make_basis(SHELLS)
    pattern = overlap_pattern(atoms, basis)
    tables = TwoCentreTables(basis)
    overlap, _ = tables.overlap_and_kinetic(atoms, pattern)
    graph, selection = charged_model.builder.build(atoms, pattern)
    charged_model.normalise_pairs(graph)
    frames = BlockFrames.of(charged_model.slots, atoms, pattern, selection)
    graph[keys.PAIR_OVERLAP] = torch.tensor(frames.pair_components(overlap)[0])
    graph[keys.ONSITE_OVERLAP] = torch.tensor(frames.onsite_components(overlap)[0])
    add_long_range(charged_model, graph, atoms, frames, tables)
    with torch.no_grad():
        short, output = charged_model.short_range(graph)
        whole = charged_model(graph)
        sources = charged_model.sources(output, graph)
        potential, field = coulomb_sum(*tensors(atoms), sources.charge, charged_model.long_range.width)
    found = frames.assemble((whole.onsite - short.onsite).numpy(), (whole.pairs - short.pairs).numpy())
    assert float(sources.charge.sum()) == pytest.approx(0.0, abs=1e-12)
    arguments = [overlap, potential.numpy()]
    if charged_model.config.long_range.multipole_order:
        arguments += [field.numpy(), sources.factor.numpy(), tables.dipole(atoms, pattern), frames.vectors]
    expected = long_range_entries(pattern, *arguments)
    lengths = np.linalg.norm(frames.vectors, axis=1)
    expected = expected * np.repeat(switch(lengths, charged_model.pair_cutoff), pattern.chunk_shapes.prod(axis=1))
    assert np.abs(expected).max() > 0.01
    assert np.abs(found - expected).max() < 1e-6
