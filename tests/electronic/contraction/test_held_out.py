"""Contracted orbitals in the self-consistent potential of a structure that they were not optimised on."""

import numpy as np
import pytest
from ase.build import bulk
from scipy.linalg import eigh

from aiida_hamlr.electronic.contraction import reference_bands
from aiida_hamlr.electronic.contraction.optimisation import contract_bases
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.plane_waves import PlaneWaveHamiltonian
from aiida_hamlr.io.qe import read_charge_density

N_OCCUPIED, N_BANDS = 4, 8


@pytest.mark.qe
def test_bands_of_a_rattled_crystal_gain_from_the_contraction_on_the_ideal_one(
    rattled_alas_run, upf_pseudos, plain_basis, monkeypatch
):
    monkeypatch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[[0, 1, 8]])
    run = rattled_alas_run.read()
    pseudos = {element: upf_pseudos[element] for element in ('Al', 'As')}
    density = read_charge_density(rattled_alas_run.charge_density, run.fft_grid, run.atoms)
    potential = potential_from_density(run.atoms, density, pseudos, run.ecutrho)
    plane_waves = PlaneWaveHamiltonian(run.atoms, potential, pseudos, run.ecutwfc)
    contracted = contract_bases(
        pseudos, 'dzp', structures=[bulk('AlAs', 'zincblende', a=5.66)], ecutwfc=run.ecutwfc, max_iterations=60
    )
    errors = {}
    for name, basis in (('plain', plain_basis(pseudos)), ('contracted', contracted)):
        errors[name] = np.array(
            [
                eigh(*plane_waves.project(basis, kpoint), eigvals_only=True)[:N_BANDS] - expected[:N_BANDS]
                for kpoint, expected in zip(run.kpoints[:3], run.eigenvalues[:3], strict=True)
            ]
        )
        # Variational, but for what the run left of its own convergence.
        assert errors[name].min() > -1e-5
    for bands in (slice(0, N_OCCUPIED), slice(N_OCCUPIED, N_BANDS)):
        assert errors['contracted'][:, bands].mean() < 0.6 * errors['plain'][:, bands].mean()
