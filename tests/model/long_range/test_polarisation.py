"""Polarisable atoms: dielectric constants, screening, exact limits, gradients.

The figures for zincblende with a lattice constant of 5.6 Å were computed independently, by dense linear algebra.
"""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.model.long_range.ewald import DirectSum, dipole_matrix
from aiida_hamlr.model.long_range.particle_mesh import ParticleMesh
from aiida_hamlr.model.long_range.polarisation import conjugate_gradients, solve_dipoles

A = 5.6
CHARGE, POLARISABILITY = 1.787, 13.01


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def direct(atoms, width=1.5, positions=None):
    return DirectSum(tensor(atoms.cell[:]), tensor(atoms.positions if positions is None else positions), width)


def ionic(atoms, charge=CHARGE):
    return tensor(np.where(atoms.symbols == 'Al', charge, -charge))


def uniform(atoms, polarisability=POLARISABILITY):
    return tensor(np.full(len(atoms), polarisability))


@pytest.fixture
def case():
    """Eight polarisable ions, all different, in a skew cell."""
    rng = np.random.default_rng(5)
    cell = np.diag([6.0, 7.0, 8.0]) + rng.normal(0, 0.4, (3, 3))
    atoms = Atoms('Al4As4', cell=cell, scaled_positions=rng.random((8, 3)), pbc=True)
    charges = rng.normal(size=8)
    return atoms, tensor(charges - charges.mean()), tensor(rng.uniform(0.5, 15.0, 8)), tensor(rng.normal(size=(8, 3)))


def dielectric_constant(width, polarisability):
    atoms = bulk('AlAs', 'zincblende', a=A)
    dipoles, _ = solve_dipoles(
        direct(atoms, width), tensor([0, 0]), uniform(atoms, polarisability), external_field=tensor([0, 0, 1])
    )
    return 1 + 4 * np.pi * COULOMB * float(dipoles[:, 2].sum()) / atoms.get_volume()


@pytest.mark.parametrize(('width', 'expected'), [(1.5, 7.56), (2.0, 8.46)])
def test_dielectric_constant_of_zincblende(width, expected):
    assert dielectric_constant(width, 13.1) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(('width', 'expected', 'tolerance'), [(1.0, 5.3, 0.05), (1.5, 53, 0.5)])
def test_largest_dielectric_constant_of_a_width(width, expected, tolerance):
    assert dielectric_constant(width, 1e7) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(('direction', 'expected'), [(2, 0.2488), (0, 1.8659)])
def test_dipole_of_longitudinal_and_transverse_waves(direction, expected):
    """Z*/eps and Z*: a transverse wave makes no field."""
    cell = A * np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]])
    scaled = [[0, 0, 0], [0.25, 0.25, 0.25], [0, 0.5, 0.5], [0.25, 0.75, 0.75]]
    atoms = Atoms('AlAsAlAs', cell=cell, positions=A * np.array(scaled), pbc=True).repeat((1, 1, 24))
    metal, charges = atoms.symbols == 'Al', ionic(atoms).numpy()
    wave = np.cos(2 * np.pi * atoms.positions[:, 2] / atoms.cell[2, 2])
    moments = []
    for step in (1e-3, -1e-3):
        displacement = step * wave * metal
        positions = atoms.positions.copy()
        positions[:, direction] += displacement
        dipoles, _ = solve_dipoles(direct(atoms, positions=positions), ionic(atoms), uniform(atoms))
        moments.append((wave * (dipoles[:, direction].numpy() + charges * displacement)).sum())
    found = (moments[0] - moments[1]) / 2e-3 / (wave[metal] ** 2).sum()
    assert found == pytest.approx(expected, abs=1e-4)


def slab(layers, vacuum):
    """Non-polar (110) surfaces; the vacuum counts from the last layer to the next first."""
    distance = A / 8**0.5
    cell = np.diag([A, A / 2**0.5, (layers - 1) * distance + vacuum])
    atoms = Atoms(cell=cell, pbc=True)
    for n in range(layers):
        shift = np.array([A / 2, A / 8**0.5, 0]) * (n % 2) + [0, 0, n * distance]
        atoms += Atoms('AlAs', positions=np.array([[0, 0, 0], [A / 4, A / 8**0.5, 0]]) + shift)
    return atoms


def slab_fields(layers, vacuum):
    """Fields in the slab and in the vacuum per displacement of its cations along the normal, V/Å^2."""
    atoms, potentials, step = slab(layers, vacuum), [], 1e-2
    top = atoms.positions[:, 2].max()
    # Two atoms without charge and polarisability feel the field in the vacuum.
    atoms += Atoms('X2', positions=[[0, 0, top + 0.45 * vacuum], [0, 0, top + 0.55 * vacuum]])
    metal, probe = atoms.symbols == 'Al', atoms.symbols == 'X'
    charges, polarisabilities = ionic(atoms) * tensor(~probe), uniform(atoms) * tensor(~probe)
    for sign in (1, -1):
        positions = atoms.positions.copy()
        positions[metal, 2] += sign * step
        operator = direct(atoms, positions=positions)
        dipoles, _ = solve_dipoles(operator, charges, polarisabilities)
        potentials.append(operator(charges, dipoles)[0].numpy())
    change = (potentials[0] - potentials[1]) / (2 * step)
    inside = metal & (np.abs(atoms.positions[:, 2] / top - 0.5) < 0.26)
    return tuple(-np.polyfit(atoms.positions[chosen, 2], change[chosen], 1)[0] for chosen in (inside, probe))


def test_field_in_a_slab():
    field, _ = slab_fields(32, 100.0)
    assert field == pytest.approx(-0.941, abs=5e-4)


@pytest.mark.parametrize('vacuum', [10.0, 30.0])
def test_fields_at_a_surface_give_the_charge_of_the_crystal(vacuum):
    """E_vac - eps E_in = 4 pi e2 Z* / volume, with eps and Z* of the crystal, whatever the vacuum."""
    eps, volume = dielectric_constant(1.5, POLARISABILITY), A**3 / 4
    inside, outside = slab_fields(16, vacuum)
    charge = (outside - eps * inside) * volume / (4 * np.pi * COULOMB)
    assert charge == pytest.approx(1.8659, rel=0.01)


@pytest.mark.parametrize('repeat', [1, 2, 4])
def test_number_of_products_hardly_grows_with_the_cell(repeat):
    atoms = bulk('AlAs', 'zincblende', a=A, cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=0)
    operator = direct(atoms) if repeat < 4 else ParticleMesh(tensor(atoms.cell[:]), tensor(atoms.positions), 1.5, 1e-4)
    _, n_products = solve_dipoles(operator, ionic(atoms), uniform(atoms), tolerance=1e-6)
    assert 5 <= n_products <= 19


def test_dipoles_solve_their_equation(case):
    atoms, charges, polarisabilities, permanent = case
    operator = direct(atoms)
    dipoles, _ = solve_dipoles(operator, charges, polarisabilities, permanent)
    _, field = operator(charges, dipoles)
    assert torch.allclose(dipoles, permanent + (polarisabilities / COULOMB)[:, None] * field, atol=1e-8)


def test_matrix_of_dipoles_is_the_second_derivative_and_has_no_negative_eigenvalue(case):
    atoms, _, _, permanent = case
    cell, positions = tensor(atoms.cell[:]), tensor(atoms.positions)
    matrix = dipole_matrix(cell, positions, 1.5)
    _, field = DirectSum(cell, positions, 1.5)(None, permanent)
    assert torch.allclose(-torch.einsum('ijab,jb->ia', matrix, permanent), field, atol=1e-10)
    flat = matrix.permute(0, 2, 1, 3).reshape(24, 24)
    assert torch.allclose(flat, flat.T) and float(torch.linalg.eigvalsh(flat).min()) > -1e-9
    # A dipole is two charges close to each other.
    step, sources = 1e-4, torch.zeros(10).double()
    sources[8:] = tensor([1.0, -1.0]) / (2 * step)
    axis = tensor([0.0, 0.0, step])
    both = torch.cat([positions, (positions[3] + axis)[None], (positions[3] - axis)[None]])
    _, expected = DirectSum(cell, both, 1.5)(sources)
    assert torch.allclose(-matrix[:, 3, :, 2], expected[:8], atol=1e-6)


def test_energy_of_the_solution_is_least(case):
    """The fields are minus the derivatives of the energy, whose minimum over the dipoles is the solution."""
    atoms, charges, polarisabilities, _ = case
    operator = direct(atoms)
    dipoles, _ = solve_dipoles(operator, charges, polarisabilities)
    dipoles = dipoles.clone().requires_grad_()
    potential, field = operator(charges, dipoles)
    energy = 0.5 * (charges @ potential - (dipoles * field).sum())
    energy = energy + 0.5 * COULOMB * (dipoles.square().sum(1) / polarisabilities).sum()
    (gradient,) = torch.autograd.grad(energy, dipoles)
    assert float(gradient.abs().max()) < 1e-7


def test_without_polarisability_nothing_responds(case):
    atoms, charges, polarisabilities, _ = case
    operator = direct(atoms)
    dipoles, n_products = solve_dipoles(operator, charges, torch.zeros_like(polarisabilities))
    assert n_products == 0 and not dipoles.any()
    small, _ = solve_dipoles(operator, charges, 1e-6 * polarisabilities)
    _, field = operator(charges)
    assert torch.allclose(small, 1e-6 * (polarisabilities / COULOMB)[:, None] * field, rtol=1e-4, atol=1e-12)


def response(operator_of, positions, charges, polarisabilities, permanent):
    """One number that depends on everything."""
    operator = operator_of(positions)
    dipoles, _ = solve_dipoles(operator, charges, polarisabilities, permanent, tolerance=1e-13)
    potential, field = operator(charges, dipoles)
    weights = torch.linspace(-1, 1, len(charges)).double()
    return (weights * potential).sum() + (weights[:, None] * field).sum() + dipoles.square().sum()


@pytest.mark.parametrize('kind', ['direct', 'mesh'])
def test_gradients_against_finite_differences(case, kind):
    atoms, charges, polarisabilities, permanent = case
    cell = tensor(atoms.cell[:])

    def operator(positions):
        return DirectSum(cell, positions, 1.5) if kind == 'direct' else ParticleMesh(cell, positions, 1.5, 1e-6)

    arguments = [x.clone().requires_grad_() for x in (tensor(atoms.positions), charges, polarisabilities, permanent)]
    gradients = torch.autograd.grad(response(operator, *arguments), arguments)
    generator = torch.Generator().manual_seed(0)
    for n, (argument, gradient) in enumerate(zip(arguments, gradients, strict=True)):
        direction = torch.randn(argument.shape, generator=generator).double()
        values = []
        for step in (1e-4, -1e-4):
            moved = [x.detach() for x in arguments]
            moved[n] = moved[n] + step * direction
            values.append(float(response(operator, *moved)))
        assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-6, abs=1e-6)


def test_gradient_where_the_polarisability_is_zero(case):
    atoms, charges, polarisabilities, _ = case
    polarisabilities = (polarisabilities * (torch.arange(8) % 2)).requires_grad_()
    operator = direct(atoms)
    solve_dipoles(operator, charges, polarisabilities)[0][:, 0].sum().backward()
    other = polarisabilities.detach().clone()
    other[2] = 1e-5
    change = solve_dipoles(operator, charges, other)[0] - solve_dipoles(operator, charges, polarisabilities.detach())[0]
    assert float(polarisabilities.grad[2]) == pytest.approx(float(change[:, 0].sum()) / 1e-5, rel=1e-4)


def test_invariances(case):
    atoms, charges, polarisabilities, permanent = case

    def dipoles_of(atoms, charges, polarisabilities, permanent):
        return solve_dipoles(direct(atoms), charges, polarisabilities, permanent)[0]

    expected = dipoles_of(*case)
    moved = atoms.copy()
    moved.positions += [0.3, -2.0, 5.0]
    assert torch.allclose(dipoles_of(moved, *case[1:]), expected, atol=1e-7)
    rotation = Rotation.random(random_state=0).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell[:] @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    found = dipoles_of(turned, charges, polarisabilities, permanent @ tensor(rotation.T))
    assert torch.allclose(found, expected @ tensor(rotation.T), atol=1e-7)
    order = np.random.default_rng(0).permutation(len(atoms))
    found = dipoles_of(atoms[order], charges[order], polarisabilities[order], permanent[order])
    assert torch.allclose(found, expected[order], atol=1e-7)
    supercell = make_supercell(atoms, np.diag([2, 1, 1]))
    found = dipoles_of(supercell, charges.repeat(2), polarisabilities.repeat(2), permanent.repeat(2, 1))
    assert torch.allclose(found, expected.repeat(2, 1), atol=1e-7)


def test_negative_polarisabilities_are_refused(case):
    atoms, charges, polarisabilities, _ = case
    with pytest.raises(ValueError, match=r'-3 Å\^3; it must not be negative'):
        solve_dipoles(direct(atoms), charges, polarisabilities * 0 - 3.0)


def test_a_matrix_that_is_not_solved_is_an_error():
    right = torch.ones(4, 3).double()
    with pytest.raises(NumericalError, match='did not become self-consistent'):
        conjugate_gradients(lambda x: x * float('nan'), right, torch.zeros(len(right), dtype=torch.long))


def test_structures_of_a_batch_are_solved_independently():
    rng = np.random.default_rng(0)
    scale = tensor(rng.uniform(1, 20, (6, 3)))
    right = tensor(rng.normal(size=(6, 3)))
    right[4:] = 0.0
    found, _ = conjugate_gradients(lambda x: scale * x, right, torch.tensor([0, 0, 0, 1, 2, 2]))
    assert torch.allclose(found, right / scale, atol=1e-7)
