"""Bands that orbitals are contracted on, without spin and of spinors: variational, with a correct gradient."""

import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.contraction import reference_bands
from aiida_hamlr.electronic.contraction.optimisation import _initial, _primitives
from aiida_hamlr.electronic.contraction.reference_bands import ReferenceBands
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.atom import SoftConfinement


@pytest.fixture(scope='module', params=['Si', 'Pb'])
def reference(request):
    """Silicon without spin; lead as spinors, with the spin-orbit part of its pseudopotential."""
    element = request.param
    pseudo = debian_pseudo({'Si': 'Si.pz-vbc.UPF', 'Pb': 'pb_s.UPF'}[element])
    spin_orbit = element == 'Pb'
    plain = generate_basis(pseudo, 'dzp', spin_orbit=spin_orbit)
    primitives = Basis({element: _primitives(pseudo, plain, SoftConfinement(), spin_orbit)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[[0, 1, 8]])
        bands = ReferenceBands(bulk(element), primitives, {element: pseudo}, 12.0, plain.n_orbitals, spin_orbit)
    return bands, _initial({element: plain}, primitives)


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
