"""Exchange-correlation potentials of LDA and GGA functionals, on radial meshes and on FFT grids.

The functionals are libxc's (through pyscf, imported when first needed since it takes seconds). They are put together as
in Quantum ESPRESSO: the local part wherever the density exceeds 1e-10 bohr^-3; on FFT grids the gradient correction
only where it exceeds 1e-6 bohr^-3 and its squared gradient 1e-10. Elsewhere the potential is zero. With spin, the
gradient correction of exchange is kept, spin by spin, where density and gradient exceed 1e-10; that of correlation
where the total density exceeds 1e-6 bohr^-3, its gradient 1e-10, and neither spin has a negative density.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline

from aiida_hamlr.electronic.lattice import reciprocal

#: libxc's names of the local part of each functional.
LOCAL = {
    'lda_pz': 'lda_x,lda_c_pz',
    'lda_pw': 'lda_x,lda_c_pw',
    'pbe': 'lda_x,lda_c_pw',
    'pbesol': 'lda_x,lda_c_pw',
}

#: Gradient-corrected functionals: libxc's name, and the local functional that is contained in it.
GRADIENT = {
    'pbe': ('gga_x_pbe,gga_c_pbe', 'lda_x,lda_c_pw_mod'),
    'pbesol': ('gga_x_pbe_sol,gga_c_pbe_sol', 'lda_x,lda_c_pw_mod'),
}

LOCAL_THRESHOLD = 1e-10
GRADIENT_THRESHOLD = 1e-6
SQUARED_GRADIENT_THRESHOLD = 1e-10

#: Density (bohr^-3) and gradient of one spin up to which there is no gradient correction of its exchange.
SPIN_THRESHOLD = 1e-10

#: The gradient correction of correlation takes polarisations (up - down) / total up to this one.
LARGEST_POLARISATION = 1.0 - 1e-6


def xc_potential_radial(functional: str, r, density, core=None) -> np.ndarray:
    """Exchange-correlation potential of a spherical density.

    The gradient correction is kept down to a density of 1e-10 bohr^-3 (a step at Quantum ESPRESSO's 1e-6 would put a
    spike into the potential of a free atom).

    Parameters
    ----------
    functional : str
        'lda_pz', 'lda_pw', 'pbe' or 'pbesol'.
    r : (n,) array
        Increasing radii, bohr.
    density : (n,) array
        Valence density, bohr^-3.
    core : (n,) array, optional
        Core density to be added, bohr^-3.

    Returns
    -------
    (n,) array
        Potential, Ry.

    Raises
    ------
    ValueError
        If the functional is not known.
    """
    check_functional(functional)
    total = np.abs(density if core is None else density + core)
    potential = _local(functional, total)
    if functional in GRADIENT:
        slope = CubicSpline(r, total)(r, 1)
        first, second = _gradient_correction(functional, total, slope**2, LOCAL_THRESHOLD, 0.0)
        flux = CubicSpline(r, second * slope)
        # The flux vanishes at the origin, where flux / r is its slope.
        over_r = np.divide(flux(r), r, out=flux(r, 1), where=r > 0)
        potential += np.where(total > LOCAL_THRESHOLD, first - flux(r, 1) - 2.0 * over_r, 0.0)
    return potential


def xc_potential_grid(functional: str, density, cell, ecutrho: float | None = None) -> np.ndarray:
    """Exchange-correlation potential of a periodic density; gradients are taken spectrally.

    Parameters
    ----------
    functional : str
        'lda_pz', 'lda_pw', 'pbe' or 'pbesol'.
    density : (n1, n2, n3) array
        Density on the FFT grid, core density included, bohr^-3.
    cell : (3, 3) array
        Lattice vectors in rows, bohr.
    ecutrho : float, optional
        Cutoff of the wave vectors that gradients and divergences keep, Ry; the default is the whole grid.

    Returns
    -------
    (n1, n2, n3) array
        Potential, Ry.

    Raises
    ------
    ValueError
        If the functional is not known.
    """
    check_functional(functional)
    density = np.asarray(density, dtype=float)
    potential = _local(functional, np.abs(density).ravel()).reshape(density.shape)
    if functional not in GRADIENT:
        return potential
    wave_vectors = _wave_vectors(density.shape, np.asarray(cell, dtype=float))
    inside = 1.0
    if ecutrho is not None:
        inside = sum(g**2 for g in _wave_vectors(density.shape, np.asarray(cell, dtype=float), 1.0)) <= ecutrho
    spectrum = fft.rfftn(density) * inside
    gradient = [fft.irfftn(1j * g * spectrum, density.shape) for g in wave_vectors]
    squared = sum(component**2 for component in gradient)
    first, second = _gradient_correction(
        functional, np.abs(density).ravel(), squared.ravel(), GRADIENT_THRESHOLD, SQUARED_GRADIENT_THRESHOLD
    )
    second = second.reshape(density.shape)
    divergence = sum(1j * g * fft.rfftn(second * c) for g, c in zip(wave_vectors, gradient, strict=True)) * inside
    return potential + first.reshape(density.shape) - fft.irfftn(divergence, density.shape)


def spin_xc_potential_grid(functional: str, densities, cell, ecutrho: float | None = None) -> np.ndarray:
    """Exchange-correlation potentials of the two spins of a periodic density; see `xc_potential_grid`.

    The correlation of Perdew and Zunger is interpolated between no and full polarisation as exchange is (von Barth and
    Hedin, J. Phys. C 5, 1629), in libxc as in Quantum ESPRESSO.

    Parameters
    ----------
    functional : str
        'lda_pz', 'lda_pw', 'pbe' or 'pbesol'.
    densities : (2, n1, n2, n3) array
        Density of spin up and spin down, half of the core density included in each, bohr^-3.
    cell : (3, 3) array
        Lattice vectors in rows, bohr.
    ecutrho : float, optional
        Cutoff of the wave vectors that gradients and divergences keep, Ry; the default is the whole grid.

    Returns
    -------
    (2, n1, n2, n3) array
        Potential of spin up and spin down, Ry. Where a spin has no density at all, its own potential is off by up to
        2e-5 Ry: libxc lifts densities to 1e-15 bohr^-3.

    Raises
    ------
    ValueError
        If the functional is not known.
    """
    check_functional(functional)
    densities = np.asarray(densities, dtype=float)
    shape = densities.shape[1:]
    potential = _local_spin(functional, densities.reshape(2, -1)).reshape(densities.shape)
    if functional not in GRADIENT:
        return potential
    cell = np.asarray(cell, dtype=float)
    wave_vectors = _wave_vectors(shape, cell)
    inside = 1.0 if ecutrho is None else sum(g**2 for g in _wave_vectors(shape, cell, 1.0)) <= ecutrho
    spectra = [fft.rfftn(density) * inside for density in densities]
    gradients = np.array([[fft.irfftn(1j * g * spectrum, shape) for g in wave_vectors] for spectrum in spectra])
    first, fluxes = _spin_gradient_correction(functional, densities.reshape(2, -1), gradients.reshape(2, 3, -1))
    fluxes = fluxes.reshape(gradients.shape)
    for spin, flux in enumerate(fluxes):
        divergence = sum(1j * g * fft.rfftn(c) for g, c in zip(wave_vectors, flux, strict=True)) * inside
        potential[spin] += first[spin].reshape(shape) - fft.irfftn(divergence, shape)
    return potential


def check_functional(functional: str):
    """Raise ``ValueError`` unless the functional is known."""
    if functional not in LOCAL:
        raise ValueError(f'functional {functional!r} is not supported; known are {", ".join(LOCAL)}')


def _local(functional: str, density: np.ndarray) -> np.ndarray:
    """Local potential of a flat array of densities, Ry."""
    dense = density > LOCAL_THRESHOLD
    potential = np.zeros(density.shape)
    # libxc is in Hartree.
    potential[dense] = 2.0 * _evaluate(LOCAL[functional], density[dense])[1]
    return potential


def _local_spin(functional: str, densities: np.ndarray) -> np.ndarray:
    """Local potentials of flat densities (2, n) of both spins, Ry."""
    total = np.abs(densities.sum(axis=0))
    dense = total > LOCAL_THRESHOLD
    polarisation = np.clip((densities[0] - densities[1])[dense] / total[dense], -1.0, 1.0)
    variables = 0.5 * total[dense] * np.stack([1.0 + polarisation, 1.0 - polarisation])
    potentials = np.zeros(densities.shape)
    potentials[:, dense] = 2.0 * _evaluate(LOCAL[functional], variables[:, None], spin=1)[1:3]
    return potentials


def _gradient_correction(functional, density, squared_gradient, threshold, squared_threshold):
    """What a GGA adds to its local part, Ry.

    Returns
    -------
    first, second : (n,) arrays
        The potential is ``first - div(second grad rho)``.
    """
    full, contained = GRADIENT[functional]
    kept = (density > threshold) & (squared_gradient > squared_threshold)
    first, second = np.zeros(density.shape), np.zeros(density.shape)
    rho, slope = density[kept], np.sqrt(squared_gradient[kept])
    variables = np.stack([rho, slope, np.zeros_like(rho), np.zeros_like(rho)])
    _, by_density, by_squared_gradient = _evaluate(full, variables)
    first[kept] = 2.0 * (by_density - _evaluate(contained, rho)[1])
    second[kept] = 4.0 * by_squared_gradient
    return first, second


def _spin_gradient_correction(functional, densities, gradients):
    """What a GGA adds to its local part for densities (2, n) with gradients (2, 3, n), Ry.

    Exchange follows from that of unpolarised densities, ``E_x[up, down] = (E_x[2 up] + E_x[2 down]) / 2`` (Oliver and
    Perdew, Phys. Rev. A 20, 397); correlation depends on the gradient of the total density alone.

    Returns
    -------
    first : (2, n) array
    fluxes : (2, 3, n) array
        The potential of a spin is ``first - div(flux)``.
    """
    (exchange, correlation), (local_exchange, local_correlation) = (code.split(',') for code in GRADIENT[functional])
    first, fluxes = np.zeros(densities.shape), np.zeros(gradients.shape)
    for spin, (density, gradient) in enumerate(zip(densities, gradients, strict=True)):
        slope = np.sqrt((gradient**2).sum(axis=0))
        kept = (density > SPIN_THRESHOLD) & (slope > SPIN_THRESHOLD)
        rho, zeros = 2.0 * density[kept], np.zeros(np.count_nonzero(kept))
        _, by_density, by_squared_gradient = _evaluate(exchange, np.stack([rho, 2.0 * slope[kept], zeros, zeros]))
        first[spin, kept] = 2.0 * (by_density - _evaluate(local_exchange, rho)[1])
        fluxes[spin][:, kept] = 8.0 * by_squared_gradient * gradient[:, kept]
    total, gradient = densities.sum(axis=0), gradients.sum(axis=0)
    slope = np.sqrt((gradient**2).sum(axis=0))
    kept = (total > GRADIENT_THRESHOLD) & (densities >= 0).all(axis=0) & (slope > SPIN_THRESHOLD)
    polarisation = (densities[0] - densities[1])[kept] / total[kept]
    polarisation = np.clip(polarisation, -LARGEST_POLARISATION, LARGEST_POLARISATION)
    rho = 0.5 * total[kept] * np.stack([1.0 + polarisation, 1.0 - polarisation])
    halves, zeros = np.broadcast_to(0.5 * slope[kept], rho.shape), np.zeros(rho.shape)
    derivatives = _evaluate(f',{correlation}', np.stack([rho, halves, zeros, zeros], axis=1), spin=1)
    first[:, kept] += 2.0 * (derivatives[1:3] - _evaluate(f',{local_correlation}', rho[:, None], spin=1)[1:3])
    fluxes[:, :, kept] += 4.0 * derivatives[3] * gradient[:, kept]
    return first, fluxes


def _evaluate(code: str, variables: np.ndarray, spin: int = 0) -> np.ndarray:
    """Libxc's energy per electron and its derivatives, Hartree."""
    from pyscf.dft import libxc

    return libxc.eval_xc1(code, variables, spin=spin, deriv=1)


def _wave_vectors(shape, cell, highest: float = 0.0) -> list[np.ndarray]:
    """Cartesian components of the wave vectors of a real FFT, bohr^-1.

    The highest frequency of an even dimension stands for itself and its negative, so that its derivative vanishes; it
    is multiplied by ``highest``, 0 for derivatives and 1 for lengths.
    """
    frequencies = [np.fft.fftfreq(n, 1.0 / n) for n in shape[:2]] + [np.fft.rfftfreq(shape[2], 1.0 / shape[2])]
    for n, values in zip(shape, frequencies, strict=True):
        values[np.isclose(np.abs(values), n / 2)] *= highest
    vectors = reciprocal(cell)
    grids = np.meshgrid(*frequencies, indexing='ij', sparse=True)
    return [sum(grids[i] * vectors[i, axis] for i in range(3)) for axis in range(3)]
