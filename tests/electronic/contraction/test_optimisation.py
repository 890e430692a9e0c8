"""Contracted orbitals: variational, better than the plain ones, with a correct gradient, deterministic."""

import numpy as np
import pytest
from ase.build import bulk

from aiida_hamlr.electronic.contraction import optimisation as contraction
from aiida_hamlr.electronic.contraction.optimisation import _initial, _primitives, _ReferenceBands, contract_bases
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.atom import SoftConfinement
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential


@pytest.fixture(scope='module')
def silicon():
    return {'Si': make_pseudopotential('Si')}


@pytest.fixture(scope='module')
def few_kpoints():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contraction, 'KPOINTS', contraction.KPOINTS[[0, 1, 8]])
        yield


@pytest.fixture(scope='module')
def reference(silicon, few_kpoints):
    plain = generate_basis(silicon['Si'], 'dzp')
    primitives = Basis({'Si': _primitives(silicon['Si'], plain, plain.cutoff_radius, SoftConfinement())})
    return _ReferenceBands(bulk('Si', a=5.4), primitives, silicon, 12.0, 26), _initial({'Si': plain})


def test_every_band_of_the_truncated_orbitals_lies_above_the_plane_wave_one(reference):
    bands, start = reference
    rng = np.random.default_rng(0)
    for scale in (0.0, 0.3):
        coefficients = {key: c + scale * rng.normal(size=c.shape) for key, c in start.items()}
        assert bands.deviations(coefficients).min() > -1e-9


def test_gradient_agrees_with_finite_differences(reference):
    bands, start = reference
    rng = np.random.default_rng(1)
    point = {key: c + 0.1 * rng.normal(size=c.shape) for key, c in start.items()}
    direction = {key: rng.normal(size=c.shape) for key, c in point.items()}
    _, gradient = bands.loss(point)
    step = 1e-5
    plus, minus = (bands.loss({k: c + s * direction[k] for k, c in point.items()})[0] for s in (step, -step))
    expected = sum(np.sum(gradient[k] * direction[k]) for k in point)
    assert (plus - minus) / (2 * step) == pytest.approx(expected, rel=1e-6)


def test_loss_does_not_depend_on_how_the_contracted_space_is_spanned(reference):
    bands, start = reference
    rng = np.random.default_rng(2)
    mixed = {key: c @ (np.eye(c.shape[1]) + 0.3 * rng.normal(size=(c.shape[1],) * 2)) for key, c in start.items()}
    assert bands.loss(mixed)[0] == pytest.approx(bands.loss(start)[0], rel=1e-9)


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
