"""The pseudo-atom against analytic potentials, finite differences and published levels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal
from scipy.special import erf

from aiida_hamlr.electronic.pseudo.atom import PseudoAtom, SoftConfinement, solve_self_consistently
from aiida_hamlr.electronic.pseudo.pseudopotential import Projector, Pseudopotential
from aiida_hamlr.electronic.pseudo.upf_content import PseudoWavefunction, UpfContent
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf
from aiida_hamlr.electronic.pseudo.xc import xc_potential_radial
from aiida_hamlr.electronic.units import RYDBERG

ESPRESSO = Path('/usr/share/espresso/pseudo')
needs_espresso = pytest.mark.skipif(not ESPRESSO.is_dir(), reason='no pseudopotentials of Quantum ESPRESSO')

Z, WIDTH = 4.0, 0.7


@pytest.fixture(scope='module')
def pseudo():
    """A Gaussian ion with Gaussian electrons and a p projector."""
    r = 0.01 * np.arange(1501)
    safe = np.maximum(r, 1e-30)
    v_local = np.where(r > 0, -2 * Z * erf(r / (np.sqrt(2) * WIDTH)) / safe, -2 * Z * np.sqrt(2 / np.pi) / WIDTH)
    gauss = np.exp(-(r**2) / 2)
    content = UpfContent(
        element='Si',
        z_valence=Z,
        functional='lda_pz',
        r=r,
        rab=np.full(len(r), 0.01),
        v_local=v_local,
        # Half the electrons: the atom scales the density to a neutral one.
        rho_atom=0.5 * Z * 4 * np.pi * r**2 * gauss / (2 * np.pi) ** 1.5,
        core_density=0.1 * gauss,
        projectors=(Projector(1, r * r * gauss, 1001),),
        dij=np.array([[1.5]]),
        wavefunctions=(
            PseudoWavefunction('3s', 0, 2.0, 0 * r),
            PseudoWavefunction('3p', 1, 2.0, 0 * r),
        ),
    )
    return Pseudopotential.from_text(format_upf(content, '', 'test'))


def test_screened_potential_is_the_analytic_one(pseudo):
    r = 0.01 * np.arange(1801)
    gauss = np.exp(-(r**2) / 2)
    safe = np.maximum(r, 1e-30)
    coulomb = 2 * Z * (erf(safe / np.sqrt(2)) - erf(safe / (np.sqrt(2) * WIDTH))) / safe
    density, core = Z * gauss / (2 * np.pi) ** 1.5, 0.1 * gauss
    atom = PseudoAtom(pseudo)
    np.testing.assert_allclose(atom.density(r), density, atol=1e-8)
    expected = coulomb + xc_potential_radial('lda_pz', r, density, np.where(r <= 15, core, 0))
    np.testing.assert_allclose(atom.screened_potential(r)[1:], expected[1:], atol=1e-6)


@pytest.mark.parametrize('l', [0, 2, 3])
def test_levels_agree_with_finite_differences(pseudo, l):
    radius, step = 9.0, 0.005
    confinement = SoftConfinement()
    atom = PseudoAtom(pseudo)
    r = np.arange(0, radius + step / 2, step)
    potential = atom.screened_potential(r) + confinement.potential(r, radius)
    inner = slice(1, -1)
    diagonal = 2 / step**2 + (potential + l * (l + 1) / np.maximum(r, step) ** 2)[inner]
    expected = eigh_tridiagonal(
        diagonal, np.full(len(diagonal) - 1, -1 / step**2), eigvals_only=True, select='i', select_range=(0, 2)
    )
    energies, _ = atom.solve(l, radius, 3, confinement)
    np.testing.assert_allclose(energies, expected * RYDBERG, atol=3e-3)


def test_solution_with_projector_satisfies_the_radial_equation(pseudo):
    atom = PseudoAtom(pseudo)
    r = 0.01 * np.arange(901)
    energies, radial = atom.solve(1, 9.0, 2, SoftConfinement())
    projector = atom.pseudo.projectors[0].values[: len(r)]
    potential = atom.screened_potential(r)
    for energy, u in zip(energies / RYDBERG, radial * r, strict=True):
        second = np.zeros(len(r))
        second[2:-2] = (-u[4:] + 16 * u[3:-1] - 30 * u[2:-2] + 16 * u[1:-3] - u[:-4]) / (12 * 0.01**2)
        amplitude = (projector * u).sum() * 0.01
        inside = slice(50, 500)
        centrifugal = 2 * u[inside] / r[inside] ** 2
        nonlocal_term = 1.5 * amplitude * projector[inside]
        left = -second[inside] + centrifugal + potential[inside] * u[inside] + nonlocal_term
        np.testing.assert_allclose(left, energy * u[inside], atol=2e-4)


def test_orbitals_are_orthonormal_and_end_smoothly(pseudo):
    r = 0.01 * np.arange(801)
    _, radial = PseudoAtom(pseudo).solve(0, 8.0, 4, SoftConfinement())
    np.testing.assert_allclose(np.einsum('ir,jr,r->ij', radial, radial, r**2) * 0.01, np.eye(4), atol=1e-7)
    assert np.abs(radial[:, -1]).max() < 1e-12
    assert np.abs(radial[0, -10:]).max() < 1e-4
    largest = np.abs(radial).argmax(axis=1)
    assert (radial[range(4), largest] > 0).all()


def test_confinement_raises_levels_and_less_in_larger_spheres(pseudo):
    atom = PseudoAtom(pseudo)
    free = atom.solve(0)[0][0]
    confined = [atom.solve(0, radius, 1, SoftConfinement())[0][0] for radius in (9.0, 7.0, 5.0)]
    assert free < confined[0] < confined[1] < confined[2]


def test_confining_potential_by_hand():
    potential = SoftConfinement(40.0, 0.6).potential(np.array([0.0, 4.8, 6.0, 7.5, 8.0]), 8.0)
    expected = [0, 0, 40 * np.exp(-3.2 / 1.2) / 2, 40 * np.exp(-3.2 / 2.7) / 0.5, 0]
    np.testing.assert_allclose(potential, expected, rtol=1e-12)


@needs_espresso
def test_levels_of_a_file_that_prints_them():
    # PP_INFO of C.UPF: 2s -13.6446577, 2p -5.4206290 eV, by the program that made it.
    atom = PseudoAtom(Pseudopotential.read(ESPRESSO / 'C.UPF'))
    assert atom.solve(0)[0][0] == pytest.approx(-13.6447, abs=2e-3)
    assert atom.solve(1)[0][0] == pytest.approx(-5.4206, abs=2e-3)


@needs_espresso
@pytest.mark.parametrize('name', ['Al.pz-vbc.UPF', 'As.pz-bhs.UPF', 'Si.pz-vbc.UPF', 'Si.pbe-rrkj.UPF'])
def test_orbitals_agree_with_those_of_the_file(name):
    pseudo = Pseudopotential.read(ESPRESSO / name)
    atom = PseudoAtom(pseudo)
    mesh = 0.01 * np.arange(2001)
    for orbital in pseudo.wavefunctions:
        _, radial = atom.solve(orbital.angular_momentum)
        ours = np.interp(pseudo.r, mesh, radial[0] * mesh, right=0.0)
        norm = np.sqrt((orbital.values**2 * pseudo.rab).sum() * (ours**2 * pseudo.rab).sum())
        assert abs((orbital.values * ours * pseudo.rab).sum()) / norm > 0.9999


def test_self_consistent_atom_reproduces_its_own_density(pseudo):
    solution = solve_self_consistently(replace(pseudo, core_density=None))
    assert (solution.rho_atom.sum() * 0.01) == pytest.approx(Z, abs=1e-6)
    atom = PseudoAtom(solution)
    density = 0.0
    for orbital in solution.wavefunctions:
        energies, radial = atom.solve(orbital.angular_momentum, 15.0)
        assert energies[0] == pytest.approx(orbital.energy, abs=1e-6)
        density = density + orbital.occupation * (radial[0] * solution.r) ** 2
    np.testing.assert_allclose(density, solution.rho_atom, atol=1e-7)


@pytest.mark.parametrize(('radius', 'n'), [(-1.0, 1), (8.001, 1), (0.5, 1), (8.0, 0), (8.0, 500)])
def test_impossible_requests_are_refused(pseudo, radius, n):
    with pytest.raises(ValueError, match='bohr|solutions'):
        PseudoAtom(pseudo).solve(0, radius, n)
