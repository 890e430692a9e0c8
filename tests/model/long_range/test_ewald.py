"""Sums over waves against plain loops, torch-pme and lattice sums known in closed form."""

import numpy as np
import pytest
import torch
import torchpme
import vesin
from ase import Atoms
from ase.build import bulk, make_supercell
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model.long_range.ewald import (
    DirectSum,
    coulomb_matrices,
    half_space_vectors,
)


def tensors(atoms):
    return torch.tensor(atoms.cell[:]), torch.tensor(atoms.positions)


def smooth_potential(atoms, charges, width):
    potential, _ = DirectSum(*tensors(atoms), width)(torch.tensor(charges))
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


@pytest.mark.parametrize('width', [1.0, 1.6])
def test_potentials_and_fields_are_the_sums_of_their_definition(ions, width):
    """Charges and dipoles, in plain loops over k and atoms."""
    atoms, charges = ions
    dipoles = np.random.default_rng(2).normal(size=(8, 3))
    reciprocal = 2 * np.pi * np.linalg.inv(atoms.cell[:]).T
    potential, field = np.zeros(8), np.zeros((8, 3))
    for integers in np.ndindex(25, 25, 25):
        k = (np.array(integers) - 12) @ reciprocal
        if not k.any():
            continue
        kernel = 4 * np.pi * COULOMB / atoms.get_volume() * np.exp(-0.5 * width**2 * (k @ k)) / (k @ k)
        source = ((charges - 1j * dipoles @ k) * np.exp(-1j * atoms.positions @ k)).sum()
        waves = kernel * source * np.exp(1j * atoms.positions @ k)
        potential += waves.real
        field -= (1j * waves[:, None] * k).real
    found = DirectSum(*tensors(atoms), width)(torch.tensor(charges), torch.tensor(dipoles))
    assert np.abs(potential).max() > 1.0 and np.abs(field).max() > 1.0
    assert np.abs(found[0].numpy() - potential).max() < 1e-9
    assert np.abs(found[1].numpy() - field).max() < 1e-9


def test_matrices_give_the_same_as_structure_factors(ions):
    atoms, charges = ions
    potential, field = DirectSum(*tensors(atoms), 1.5)(torch.tensor(charges))
    matrix, vectors = coulomb_matrices(*tensors(atoms), 1.5)
    assert torch.allclose(matrix @ torch.tensor(charges), potential, atol=1e-11)
    assert torch.allclose(torch.einsum('ija,j->ia', vectors, torch.tensor(charges)), field, atol=1e-11)
    assert torch.allclose(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-9


def test_field_is_minus_the_gradient(ions):
    """Of the potential of the other charges at the atom; its own has no gradient."""
    atoms, charges = ions
    _, field = DirectSum(*tensors(atoms), 1.5)(torch.tensor(charges))
    cell, positions = tensors(atoms)
    for axis in range(3):
        values = []
        for step in (1e-4, -1e-4):
            probe = positions.clone()
            probe[2, axis] += step
            both = torch.cat([positions, probe[2:3]])
            values.append(float(DirectSum(cell, both, 1.5)(torch.tensor([*charges, 0.0]))[0][-1]))
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
