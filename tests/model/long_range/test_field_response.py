"""Dielectric tensors and Born charges of polarisable charges: finite differences, known figures, gradients."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from aiida_hamlr.electronic.units import COULOMB
from aiida_hamlr.model.long_range.ewald import DirectSum
from aiida_hamlr.model.long_range.field_response import field_response, screened_charges
from aiida_hamlr.model.long_range.polarisation import solve_dipoles

WIDTH, TIGHT = 1.5, 1e-13


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def response(atoms, charges, polarisabilities, permanent=None, width=WIDTH):
    arguments = (tensor(atoms.cell[:]), tensor(atoms.positions), width, charges, polarisabilities, permanent)
    return field_response(*arguments, tolerance=TIGHT)


def zincblende(polarisability, charge=1.787):
    atoms = bulk('AlAs', 'zincblende', a=5.6)
    return atoms, tensor([charge, -charge]), tensor([polarisability] * 2)


@pytest.fixture
def case():
    """Six polarisable ions with permanent dipoles, all different, in a skew cell."""
    rng = np.random.default_rng(7)
    cell = np.diag([5.0, 6.0, 7.0]) + rng.normal(0, 0.4, (3, 3))
    atoms = Atoms('Al3As3', cell=cell, scaled_positions=rng.random((6, 3)), pbc=True)
    charges = rng.normal(size=6)
    return atoms, tensor(charges - charges.mean()), tensor(rng.uniform(0.5, 15.0, 6)), tensor(rng.normal(size=(6, 3)))


def dipole(atoms, positions, charges, polarisabilities, permanent=None, field=None):
    """Of the cell, of charges in it as they stand."""
    operator = DirectSum(tensor(atoms.cell[:]), tensor(positions), WIDTH)
    dipoles, _ = solve_dipoles(operator, charges, polarisabilities, permanent, field, tolerance=TIGHT)
    return charges.numpy() @ positions + dipoles.sum(0).numpy()


def test_dielectric_tensor_is_the_change_with_a_finite_field(case):
    atoms, *sources = case
    found = response(*case)[0].numpy()
    for axis in range(3):
        field = 0.1 * np.eye(3)[axis]
        up, down = (dipole(atoms, atoms.positions, *sources, tensor(sign * field)) for sign in (1, -1))
        susceptibility = 4 * np.pi * COULOMB / atoms.get_volume() * (up - down) / 0.2
        assert found[axis] == pytest.approx(np.eye(3)[axis] + susceptibility, abs=1e-6)
    assert np.allclose(found, found.T, atol=1e-9)
    assert np.linalg.eigvalsh(found).min() > 1


def test_born_charges_are_the_change_with_the_position_of_an_atom(case):
    atoms, *sources = case
    found, step = response(*case)[1].numpy(), 1e-4
    for atom in range(len(atoms)):
        for axis in range(3):
            moved = []
            for sign in (1, -1):
                positions = atoms.positions.copy()
                positions[atom, axis] += sign * step
                moved.append(dipole(atoms, positions, *sources))
            assert found[atom, :, axis] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-6)


def test_acoustic_sum_rule(case):
    assert response(*case)[1].sum(0).abs().max() < 1e-9


@pytest.mark.parametrize(('width', 'expected'), [(1.5, 7.56), (2.0, 8.46)])
def test_dielectric_constant_of_zincblende(width, expected):
    found, _ = response(*zincblende(13.1), width=width)
    assert np.allclose(found, expected * np.eye(3), atol=0.005)


def test_born_charge_of_zincblende():
    """That of transverse waves, which make no field either: of 12 and 24 cells 1.8622 and 1.8659, and so on as k^2."""
    _, found = response(*zincblende(13.01))
    expected = (4 * 1.865928 - 1.862157) / 3
    assert np.allclose(found[0], expected * np.eye(3), atol=1e-5)
    assert np.allclose(found[1], -expected * np.eye(3), atol=1e-5)


def test_without_polarisability_charges_are_those_of_the_ions(case):
    atoms, charges, polarisabilities, permanent = case
    found, born = response(atoms, charges, torch.zeros_like(polarisabilities), permanent)
    assert torch.equal(found, torch.eye(3).double())
    assert torch.equal(born, charges[:, None, None] * torch.eye(3).double())


def test_supercell(case):
    atoms, *sources = case
    expected, born = response(*case)
    charges, polarisabilities, permanent = (torch.cat([source, source]) for source in sources)
    found, twice = response(atoms.repeat((1, 2, 1)), charges, polarisabilities, permanent)
    assert torch.allclose(found, expected, atol=1e-9)
    assert torch.allclose(twice, torch.cat([born, born]), atol=1e-9)


def test_rotation(case):
    atoms, charges, polarisabilities, permanent = case
    expected, born = response(*case)
    turn = Rotation.random(random_state=3).as_matrix()
    turned = Atoms(atoms.symbols, positions=atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=True)
    turn = tensor(turn)
    found, turned_born = response(turned, charges, polarisabilities, permanent @ turn.T)
    assert torch.allclose(found, turn @ expected @ turn.T, atol=1e-9)
    assert torch.allclose(turned_born, turn @ born @ turn.T, atol=1e-9)


def test_gradients(case):
    """Of a function of all elements, against finite differences."""
    atoms, *sources = case
    rng = np.random.default_rng(1)
    weights = tensor(rng.normal(size=(3, 3))), tensor(rng.normal(size=(len(atoms), 3, 3)))

    def value(*values):
        return sum((one * weight).sum() for one, weight in zip(response(atoms, *values), weights, strict=True))

    variables = [source.clone().requires_grad_() for source in sources]
    value(*variables).backward()
    for number, (source, variable) in enumerate(zip(sources, variables, strict=True)):
        direction, step = tensor(rng.normal(size=source.shape)), 1e-4
        ends = []
        for sign in (1, -1):
            moved = list(sources)
            moved[number] = source + sign * step * direction
            with torch.no_grad():
                ends.append(float(value(*moved)))
        slope = float((variable.grad * direction).sum())
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_screened_charges_are_born_charges_over_the_dielectric_tensor():
    """Z*/eps in a cubic crystal, and a third of the trace of the inverse tensor times Z* in any other."""
    born = torch.tensor([2.7, -2.7]).double()[:, None, None] * torch.eye(3)
    cubic = screened_charges(9.0 * torch.eye(3).double(), born)
    assert cubic.tolist() == pytest.approx([0.3, -0.3])
    rng = np.random.default_rng(0)
    dielectric, born = 6.0 * np.eye(3) + rng.normal(0, 0.5, (3, 3)), rng.normal(size=(2, 3, 3))
    expected = [np.trace(np.linalg.inv(dielectric) @ one) / 3 for one in born]
    assert screened_charges(torch.tensor(dielectric), torch.tensor(born)).tolist() == pytest.approx(expected)
