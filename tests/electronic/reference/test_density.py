"""The potential made from a density: against that of pp.x, and for neutral atoms against their superposition."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import DEBIAN_PSEUDOS, run_pw

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.grid import local_matrix
from aiida_hamlr.electronic.integrals.neutral_atom import gauge_shift, neutral_atom_potential
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.io.qe import read_charge_density, read_potential


@pytest.mark.qe
@pytest.mark.parametrize('name', ['alas_run', 'si_run', 'rattled_alas_run'])
def test_potential_is_that_of_pp(request, upf_pseudos, plain_basis, name):
    """On the grid and in the orbital basis to 0.01 meV."""
    finished = request.getfixturevalue(name)
    run = finished.read()
    expected = read_potential(finished.potential, run.atoms)
    density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
    found = potential_from_density(run.atoms, density, upf_pseudos, run.ecutrho)
    assert np.abs(found - expected).max() < 1e-5
    basis = plain_basis(sorted(set(run.atoms.get_chemical_symbols())))
    pattern = overlap_pattern(run.atoms, basis)
    difference = local_matrix(run.atoms, basis, pattern, found - expected)
    assert np.abs(difference).max() < 1e-5


@pytest.mark.qe
@pytest.mark.parametrize('functional', ['SLA  PZ   NOGX NOGC', 'SLA  PW   PBX  PBC'])
def test_potential_is_that_of_pp_with_core_correction(tmp_path, functional):
    """Magnesium in LDA, and as if its pseudopotential were made for PBE."""
    text = (DEBIAN_PSEUDOS / 'Mg.pz-n-vbc.UPF').read_text()
    assert 'SLA  PZ   NOGX NOGC' in text
    pseudos = {'Mg': Pseudopotential.from_text(text.replace('SLA  PZ   NOGX NOGC', functional), 'Mg.UPF')}
    assert pseudos['Mg'].core_density is not None
    atoms = bulk('Mg', 'fcc', a=4.5)
    finished = run_pw(tmp_path, atoms, pseudos, 20, (2, 2, 2), 6, "occupations='smearing' degauss=0.02")
    run = finished.read()
    density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
    found = potential_from_density(run.atoms, density, pseudos, run.ecutrho)
    assert run.functional == pseudos['Mg'].functional
    assert np.abs(found - read_potential(finished.potential, run.atoms)).max() < 1e-5


def with_core(pseudo: Pseudopotential, functional: str) -> Pseudopotential:
    return dataclasses.replace(pseudo, functional=functional, core_density=0.3 * np.exp(-2.0 * pseudo.r**2))


@pytest.mark.parametrize('functional', ['lda_pz', 'pbe'])
def test_neutral_atoms_with_core_correction(upf_pseudos, superposition, functional):
    """Their density gives the potential of H0 in the other gauge."""
    pseudos = {element: with_core(upf_pseudos[element], functional) for element in ('Al', 'As')}
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    grid = fft_grid(atoms.cell[:], 60.0)
    found = potential_from_density(atoms, superposition(atoms, pseudos, grid, 60.0), pseudos, 60.0)
    expected = neutral_atom_potential(atoms, pseudos, grid, 60.0) - gauge_shift(atoms, pseudos)
    assert np.abs(found - expected).max() < 1e-6


def test_density_of_another_number_of_electrons_is_refused(upf_pseudos, superposition):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    density = superposition(atoms, upf_pseudos, (12, 12, 12), 20.0)
    with pytest.raises(ValueError, match=r'holds 8\.8000 electrons, the pseudopotentials leave 8'):
        potential_from_density(atoms, 1.1 * density, upf_pseudos, 20.0)
