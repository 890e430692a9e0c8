"""Exchange-correlation potentials against published formulas and as derivatives of the energy."""

import numpy as np
import pytest

from aiida_hamlr.electronic.pseudo.xc import spin_xc_potential_grid, xc_potential_grid, xc_potential_radial

CELL = np.array([[6.0, 0.0, 0.0], [1.0, 7.0, 0.0], [0.5, -0.7, 6.5]])
SHAPE = (24, 27, 24)


def perdew_zunger(density):
    """Slater exchange and Perdew-Zunger correlation (Phys. Rev. B 23, 5048), Ry."""
    rs = (3 / (4 * np.pi * density)) ** (1 / 3)
    exchange = -((9 * np.pi / 4) ** (1 / 3)) / (np.pi * rs)
    logarithm = np.log(rs)
    dense = 0.0311 * logarithm + (-0.048 - 0.0311 / 3) + 2 / 3 * 0.002 * rs * logarithm + (2 * -0.0116 - 0.002) / 3 * rs
    root = np.sqrt(rs)
    denominator = 1 + 1.0529 * root + 0.3334 * rs
    dilute = -0.1423 / denominator**2 * (1 + 7 / 6 * 1.0529 * root + 4 / 3 * 0.3334 * rs)
    return 2 * (exchange + np.where(rs < 1, dense, dilute))


def smooth_density():
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in SHAPE), indexing='ij'))
    waves = np.cos(2 * np.pi * (fractions[0] + 0.1)) + np.sin(2 * np.pi * (fractions[1] - fractions[2]))
    return 0.05 * np.exp(0.8 * waves + 0.3 * np.cos(4 * np.pi * fractions[2]))


def gradient_of(density):
    """By the chain rule along the lattice vectors, with full complex transforms."""
    frequencies = [np.fft.fftfreq(n, 1 / n) * (np.abs(np.fft.fftfreq(n)) < 0.5) for n in density.shape]
    spectrum = np.fft.fftn(density)
    along = [
        np.fft.ifftn(2j * np.pi * frequencies[i].reshape([-1 if i == j else 1 for j in range(3)]) * spectrum).real
        for i in range(3)
    ]
    return np.einsum('ai,ixyz->axyz', np.linalg.inv(CELL), along)


def gga_energy(names, density):
    """Exchange-correlation energy, Ry."""
    from pyscf.dft import libxc

    slope = np.sqrt((gradient_of(density) ** 2).sum(axis=0)).ravel()
    variables = np.stack([density.ravel(), slope, 0 * slope, 0 * slope])
    per_electron = libxc.eval_xc1(names, variables, deriv=1)[0]
    return 2 * (per_electron * density.ravel()).sum() * np.linalg.det(CELL) / density.size


def spin_energy(names, densities):
    """Exchange-correlation energy of spin up and down, Ry."""
    from pyscf.dft import libxc

    variables = [[density.ravel(), *gradient_of(density).reshape(3, -1)] for density in densities]
    if 'gga' not in names:
        variables = [[values[0]] for values in variables]
    per_electron = libxc.eval_xc1(names, np.array(variables), spin=1, deriv=1)[0]
    return 2 * (per_electron * sum(densities).ravel()).sum() * np.linalg.det(CELL) / densities[0].size


def spin_densities():
    """Polarised by up to 80 %, up here and down there."""
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in SHAPE), indexing='ij'))
    polarisation = 0.8 * np.cos(2 * np.pi * (fractions[0] + fractions[2]))
    density = smooth_density()
    return 0.5 * density * np.stack([1 + polarisation, 1 - polarisation])


def test_perdew_zunger_on_grid_and_mesh():
    density = np.geomspace(1e-9, 30, 64)
    expected = perdew_zunger(density)
    np.testing.assert_allclose(xc_potential_grid('lda_pz', density.reshape(4, 4, 4), CELL).ravel(), expected, rtol=1e-6)
    radial = xc_potential_radial('lda_pz', np.linspace(0, 1, 64), density / 3, 2 * density / 3)
    np.testing.assert_allclose(radial, expected, rtol=1e-6)


@pytest.mark.parametrize(('rs', 'energy'), [(2.0, -0.0448), (5.0, -0.0282)])
def test_perdew_wang(rs, energy):
    """Correlation energies per electron of Perdew and Wang (Phys. Rev. B 45, 13244), Hartree."""
    from pyscf.dft import libxc

    def energy_density(n):
        return libxc.eval_xc1('lda_c_pw', np.array([n]))[0, 0] * n

    density, step = 3 / (4 * np.pi * rs**3), 1e-3
    assert energy_density(density) / density == pytest.approx(energy, abs=1e-4)
    slope = (energy_density(density * (1 + step)) - energy_density(density * (1 - step))) / (2 * step * density)
    exchange = -2 * (9 * np.pi / 4) ** (1 / 3) / (np.pi * rs)
    potential = xc_potential_grid('lda_pw', np.full((2, 2, 2), density), CELL)
    assert potential[0, 0, 0] == pytest.approx(exchange + 2 * slope, rel=1e-5)


@pytest.mark.parametrize(
    ('functional', 'names'),
    [('pbe', 'gga_x_pbe,gga_c_pbe'), ('pbesol', 'gga_x_pbe_sol,gga_c_pbe_sol')],
)
def test_potential_is_the_derivative_of_the_energy(functional, names):
    density = smooth_density()
    change = 0.01 * density * np.roll(density, 5, axis=1) / density.max()
    numerical = (gga_energy(names, density + change) - gga_energy(names, density - change)) / 2
    potential = xc_potential_grid(functional, density, CELL)
    analytic = (potential * change).sum() * np.linalg.det(CELL) / density.size
    assert analytic == pytest.approx(numerical, rel=2e-5)


@pytest.mark.parametrize('functional', ['pbe', 'pbesol'])
def test_uniform_density_has_no_gradient_correction(functional):
    density = np.full((4, 4, 4), 0.02)
    np.testing.assert_allclose(
        xc_potential_grid(functional, density, CELL), xc_potential_grid('lda_pw', density, CELL), rtol=1e-12
    )


@pytest.mark.parametrize('functional', ['lda_pw', 'pbe', 'pbesol'])
def test_radial_and_grid_potentials_agree(functional):
    edge, n = 10.0, 60
    axis = (np.arange(n) - n // 2) * edge / n
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)

    def density(x):
        return 0.3 * np.exp(-(x**2) / 2) + 0.02

    mesh = np.linspace(0, 9, 901)
    radial = xc_potential_radial(functional, mesh, density(mesh))
    grid = xc_potential_grid(functional, density(distance), edge * np.eye(3))
    near = distance < 4
    np.testing.assert_allclose(grid[near], np.interp(distance[near], mesh, radial), atol=3e-4)


def test_nothing_where_there_is_no_density():
    density = np.zeros((4, 4, 4))
    density[0, 0, 0] = 5e-11
    for functional in ('lda_pz', 'pbe'):
        assert not xc_potential_grid(functional, density, CELL).any()
        assert not xc_potential_radial(functional, np.linspace(0, 1, 5), np.full(5, 5e-11)).any()


def test_low_density_tail_is_smooth():
    r = np.linspace(0, 20, 2001)
    potential = xc_potential_radial('pbe', r, np.exp(-2 * r) / np.pi)
    assert np.isfinite(potential).all()
    assert np.abs(np.diff(potential)[100:]).max() < 1e-2


@pytest.mark.parametrize('functional', ['lda_pz', 'lda_pw', 'pbe', 'pbesol'])
def test_equal_spins_have_the_unpolarised_potential(functional):
    density = smooth_density()
    expected = xc_potential_grid(functional, density, CELL, 40.0)
    found = spin_xc_potential_grid(functional, 0.5 * np.stack([density, density]), CELL, 40.0)
    np.testing.assert_allclose(found, np.stack([expected, expected]), rtol=1e-9)


@pytest.mark.parametrize(
    ('functional', 'names'),
    [
        ('lda_pz', 'lda_x,lda_c_pz'),
        ('lda_pw', 'lda_x,lda_c_pw'),
        ('pbe', 'gga_x_pbe,gga_c_pbe'),
        ('pbesol', 'gga_x_pbe_sol,gga_c_pbe_sol'),
    ],
)
@pytest.mark.parametrize('spin', [0, 1])
def test_spin_potential_is_the_derivative_of_the_energy(functional, names, spin):
    densities = spin_densities()
    change = np.zeros_like(densities)
    change[spin] = 0.005 * densities[spin] * np.roll(densities[0], 5, axis=1) / densities[0].max()
    numerical = (spin_energy(names, densities + change) - spin_energy(names, densities - change)) / 2
    potential = spin_xc_potential_grid(functional, densities, CELL)
    analytic = (potential * change).sum() * np.linalg.det(CELL) / densities[0].size
    # The energy of Perdew and Zunger has a small step at r_s = 1, which the difference sees.
    assert analytic == pytest.approx(numerical, rel=2e-4 if functional == 'lda_pz' else 2e-5)


@pytest.mark.parametrize('functional', ['lda_pz', 'pbe'])
def test_spins_can_be_swapped(functional):
    densities = spin_densities()
    found = spin_xc_potential_grid(functional, densities[::-1], CELL)
    np.testing.assert_allclose(found[::-1], spin_xc_potential_grid(functional, densities, CELL), atol=1e-12)


@pytest.mark.parametrize('functional', ['lda_pz', 'lda_pw', 'pbe', 'pbesol'])
def test_full_polarisation(functional):
    """One electron in every state: the exchange of spin up is that of twice the density; nothing diverges."""
    density = smooth_density()
    up, down = spin_xc_potential_grid(functional, np.stack([density, np.zeros_like(density)]), CELL)
    assert np.isfinite(down).all()
    exchange = -2 * (6 * density / np.pi) ** (1 / 3)
    if functional.startswith('lda'):
        # Correlation of parallel spins is about half that of both; exchange dominates.
        assert (up < exchange).all()
        np.testing.assert_allclose(up, exchange, rtol=0.15)
    assert (down > up).all()


def test_unknown_functional_is_refused():
    with pytest.raises(ValueError, match="functional 'blyp' is not supported; known are lda_pz"):
        spin_xc_potential_grid('blyp', np.ones((2, 2, 2, 2)), CELL)
    with pytest.raises(ValueError, match="functional 'blyp' is not supported; known are lda_pz"):
        xc_potential_grid('blyp', np.ones((2, 2, 2)), CELL)
