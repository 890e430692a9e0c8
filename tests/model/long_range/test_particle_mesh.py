"""The particle mesh against direct sums, torch-pme and lattice sums known in closed form."""

import numpy as np
import pytest
import torch
import torchpme
import vesin
from ase import Atoms
from ase.build import bulk
from scipy.special import erfc

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model.long_range.ewald import DirectSum, half_space_vectors
from aiida_hamlr.model.long_range.particle_mesh import (
    ParticleMesh,
    _odd_fast_length,
    coulomb_operator,
    count_half_space_vectors,
    mesh_error,
    mesh_spacing,
)


def tensors(atoms):
    return torch.tensor(atoms.cell[:]), torch.tensor(atoms.positions)


def rms(values):
    return float(values.square().mean().sqrt())


@pytest.fixture
def crystal():
    """64 rattled atoms in a skew cell, charges of 1 e (root mean square) and dipoles without correlation."""
    rng = np.random.default_rng(0)
    atoms = bulk('AlAs', 'zincblende', a=5.6, cubic=True).repeat(2)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + [[0, 0.3, 0.1], [0, 0, -0.3], [0, 0, 0]]), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    charges = rng.normal(size=64)
    charges -= charges.mean()
    return atoms, torch.tensor(charges / charges.std()), torch.tensor(rng.normal(size=(64, 3)))


@pytest.mark.parametrize('width', [1.0, 1.5, 2.0])
@pytest.mark.parametrize('accuracy', [1e-3, 1e-5, 1e-7])
def test_agrees_with_direct_sums_to_the_accuracy(crystal, width, accuracy):
    atoms, charges, dipoles = crystal
    expected = DirectSum(*tensors(atoms), width)(charges, dipoles)
    found = ParticleMesh(*tensors(atoms), width, accuracy)(charges)
    mixed = ParticleMesh(*tensors(atoms), width, accuracy)(charges, dipoles)
    potential = DirectSum(*tensors(atoms), width)(charges)[0]
    assert rms(found[0] - potential) < accuracy
    assert rms(mixed[0] - expected[0]) < 2 * accuracy
    assert rms(mixed[1] - expected[1]) < 4 * accuracy / width


def test_the_estimate_is_close_to_the_error(crystal):
    """So that the mesh is not needlessly fine."""
    atoms, charges, _ = crystal
    mesh = ParticleMesh(*tensors(atoms), 1.5, 1e-6)
    spacing = max(float(a) / n for a, n in zip(tensors(atoms)[0].norm(dim=1), mesh.shape, strict=True))
    error = rms(mesh(charges)[0] - DirectSum(*tensors(atoms), 1.5)(charges)[0])
    assert error < mesh_error(spacing, 1.5, 64 / atoms.get_volume()) < 10 * error


def test_spacing_inverts_the_error_and_resolves_the_kernel():
    assert mesh_error(mesh_spacing(1e-6, 1.5, 0.05), 1.5, 0.05) == pytest.approx(1e-6)
    assert mesh_spacing(10.0, 1.5, 0.05) == 0.75


@pytest.mark.parametrize(
    ('structure', 'expected'), [('rocksalt', 1.747565), ('cesiumchloride', 1.762675), ('zincblende', 1.638055)]
)
def test_madelung_constants(structure, expected):
    """The smooth potential of the mesh, plus the rest in real space, less the Gaussian's own."""
    atoms, width = bulk('NaCl', structure, a=5.0), 0.7
    charges = torch.tensor([1.0, -1.0]).double()
    i, j, d = vesin.NeighborList(cutoff=9 * width, full_list=True).compute(
        points=atoms.positions, box=atoms.cell[:], periodic=True, quantities='ijd'
    )
    rest = np.zeros(2)
    np.add.at(rest, i, COULOMB * charges.numpy()[j] * erfc(d / (np.sqrt(2) * width)) / d)
    smooth = ParticleMesh(*tensors(atoms), width, 1e-7)(charges)[0].numpy()
    potential = smooth + rest - COULOMB * np.sqrt(2 / np.pi) / width * charges.numpy()
    assert -potential[0] * atoms.get_distance(0, 1, mic=True) / COULOMB == pytest.approx(expected, abs=1e-6)


def test_agrees_with_torchpme(crystal):
    """Its Ewald calculator without neighbours gives half the smooth potential, less half the Gaussian's own."""
    atoms, charges, _ = crystal
    width = 1.5
    calculator = torchpme.EwaldCalculator(torchpme.CoulombPotential(smearing=width), lr_wavelength=0.5).double()
    none = torch.zeros(0, 2, dtype=torch.long)
    found = calculator(charges[:, None], *tensors(atoms), none, torch.zeros(0).double())[:, 0]
    expected = COULOMB * (2 * found + np.sqrt(2 / np.pi) / width * charges)
    assert rms(ParticleMesh(*tensors(atoms), width, 1e-7)(charges)[0] - expected) < 1e-7


def test_dipoles_have_a_symmetric_matrix_without_negative_eigenvalues(crystal):
    """Whatever the spacing: what conjugate gradients need."""
    atoms = crystal[0][:10]
    mesh = ParticleMesh(*tensors(atoms), 1.5, 1e-2)
    unit = torch.eye(30).double().reshape(30, 10, 3)
    matrix = torch.stack([-mesh(None, dipoles)[1].reshape(-1) for dipoles in unit])
    assert float((matrix - matrix.T).abs().max()) < 1e-12
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-12


def test_gradients_with_respect_to_charges_and_positions(crystal):
    atoms, charges, dipoles = crystal
    cell, positions = tensors(atoms)

    def total(positions, charges):
        potential, field = ParticleMesh(cell, positions, 1.5, 1e-4)(charges, dipoles)
        return charges @ potential + (dipoles * field).sum()

    arguments = [positions.requires_grad_(), charges.requires_grad_()]
    gradients = torch.autograd.grad(total(*arguments), arguments)
    generator = torch.Generator().manual_seed(0)
    for n, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=generator).double()
        values = []
        for step in (1e-4, -1e-4):
            moved = [x.detach() for x in arguments]
            moved[n] = moved[n] + step * direction
            values.append(float(total(*moved)))
        assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-6)


def test_large_cells_get_a_mesh_unless_it_is_switched_off():
    small = bulk('AlAs', 'zincblende', a=5.6, cubic=True)
    large = small.repeat(4)
    assert isinstance(coulomb_operator(*tensors(small), 1.5, 1e-5), DirectSum)
    assert isinstance(coulomb_operator(*tensors(large), 1.5, 1e-5), ParticleMesh)
    assert isinstance(coulomb_operator(*tensors(large), 1.5, None), DirectSum)


def test_count_of_k_vectors():
    cell = torch.tensor(bulk('AlAs', 'zincblende', a=5.6, cubic=True).repeat(2).cell[:])
    assert count_half_space_vectors(cell, 1.5) == pytest.approx(len(half_space_vectors(cell, 1.5)), rel=0.02)


def test_lengths_are_odd_and_have_small_factors():
    assert [_odd_fast_length(n) for n in (1, 8, 16, 27, 50)] == [5, 9, 21, 27, 55]


def test_an_impossible_accuracy_is_refused():
    atoms = Atoms('H', cell=[5, 5, 5], pbc=True)
    with pytest.raises(ValueError, match='accuracy of a particle mesh is -1'):
        ParticleMesh(*tensors(atoms), 1.5, -1)
