"""Contracted orbitals: better than the plain ones, of the bands that they were contracted on, deterministic."""

import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.contraction import reference_bands
from aiida_hamlr.electronic.contraction.optimisation import contract_bases
from aiida_hamlr.electronic.contraction.reference_bands import ReferenceBands
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential


@pytest.fixture(scope='module')
def silicon():
    return {'Si': make_pseudopotential('Si')}


@pytest.fixture(scope='module')
def few_kpoints():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[[0, 1, 8]])
        yield


@pytest.fixture(scope='module')
def contracted(silicon, few_kpoints):
    return contract_bases(silicon, 'dzp', structures=[bulk('Si', a=5.4)], ecutwfc=12.0, max_iterations=60)


def test_contraction_lowers_the_band_errors_and_keeps_the_shells(silicon, contracted):
    plain = generate_basis(silicon['Si'], 'dzp')
    species = contracted['Si']
    assert species.angular_momenta == plain.angular_momenta
    assert species.metadata['recipe'] == 'contracted'
    for bands, factor in (('occupied', 0.5), ('conduction', 0.7)):
        before, after = (species.metadata[f'band_error_{bands}{recipe}_meV'] for recipe in ('_plain', ''))
        assert 0 < after < factor * before


def test_contracted_orbitals_are_orthonormal_and_end_at_the_cutoff(contracted):
    species = contracted['Si']
    r = species.step * np.arange(len(species.shells[0].radial))
    for l in set(species.angular_momenta):
        table = np.array([shell.radial for shell in species.shells if shell.angular_momentum == l])
        assert np.allclose((table * r**2 * species.step) @ table.T, np.eye(len(table)), atol=1e-6)
        assert np.abs(table[:, -1]).max() < 1e-8


def test_contraction_is_deterministic(silicon, contracted, few_kpoints):
    again = contract_bases(silicon, 'dzp', structures=[bulk('Si', a=5.4)], ecutwfc=12.0, max_iterations=60)
    assert again.content_hash == contracted.content_hash


def test_element_that_no_crystal_holds_is_named(silicon):
    pseudos = {**silicon, 'Al': make_pseudopotential('Al')}
    with pytest.raises(ValueError, match='no crystal holds Al'):
        contract_bases(pseudos, structures=[bulk('Si', a=5.4)])
    with pytest.raises(ValueError, match='no pseudopotential for As'):
        contract_bases(pseudos, structures=[bulk('AlAs', 'zincblende', a=5.6)])


def test_orbitals_contracted_with_spin_orbit_coupling_have_the_better_spinor_bands(few_kpoints):
    """Lead, whose 6p1/2 and 6p3/2 differ: loss and 6p bands of both bases as spinors, against plane waves."""
    lead, crystal = {'Pb': debian_pseudo('pb_s.UPF')}, bulk('Pb', a=4.95)
    losses, errors = [], []
    for spin_orbit in (False, True):
        basis = contract_bases(lead, 'dzp', None, [crystal], 14.0, max_iterations=60, spin_orbit=spin_orbit)
        species = basis['Pb']
        assert species.metadata.get('spin_orbit', False) == spin_orbit
        spinors = ReferenceBands(crystal, basis, lead, 14.0, species.n_orbitals, spin_orbit=True)
        one = {('Pb', l): np.eye(species.angular_momenta.count(l)) for l in set(species.angular_momenta)}
        losses.append(spinors.loss(one)[0])
        errors.append(spinors.deviations(one)[:, 12:16].mean())
    assert 0 < losses[1] < losses[0] and 0 < errors[1] < 0.9 * errors[0]


def test_spin_orbit_coupling_needs_fully_relativistic_pseudopotentials(silicon):
    with pytest.raises(ValueError, match='no pseudopotential of Si is fully relativistic'):
        contract_bases(silicon, structures=[bulk('Si', a=5.4)], spin_orbit=True)
