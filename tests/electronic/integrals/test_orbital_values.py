"""Values of orbitals: radial function times real harmonic."""

import numpy as np
import pytest

from aiida_hamlr.electronic.arrays import NumpyArrays, TorchArrays
from aiida_hamlr.electronic.integrals.harmonics import real_harmonics
from aiida_hamlr.electronic.integrals.orbital_values import OrbitalEvaluator
from aiida_hamlr.electronic.orbitals.basis import Shell, SpeciesBasis

STEP, RADIUS = 0.02, 5.0


def radial(l, r, exponent):
    """Smooth at the origin and at the cutoff radius."""
    return r**l * np.exp(-exponent * r**2) * np.where(r < RADIUS, 1 - (r / RADIUS) ** 2, 0.0) ** 4


def species(element, exponent):
    r = STEP * np.arange(int(RADIUS / STEP) + 1)
    shells = tuple(Shell(l, RADIUS, radial(l, r, exponent), f'{l}', 0.0) for l in range(4))
    return SpeciesBasis(element, STEP, shells)


@pytest.mark.parametrize('arrays', [NumpyArrays(), TorchArrays('cpu')], ids=['numpy', 'torch'])
def test_values_are_radial_function_times_harmonic(arrays):
    exponents = (0.4, 0.9)
    evaluator = OrbitalEvaluator([species('Al', exponents[0]), species('As', exponents[1])], arrays)
    rng = np.random.default_rng(0)
    displacements = rng.normal(scale=1.5, size=(3, 2, 3, 40))
    displacements[:, 0, 0, 0] = 0.0
    displacements[:, 0, 0, 1] = [4.0, 4.0, 0.0]
    members = np.array([[0, 1, 1], [1, 0, 1]], dtype=np.int32)
    out = arrays.empty(2, 3, evaluator.n_orbitals, 40)
    evaluator(arrays.array(displacements), arrays.array(members), out)
    found = arrays.numpy(out)
    vectors = np.moveaxis(displacements, 0, -1)
    r = np.linalg.norm(vectors, axis=-1)
    chosen = np.array(exponents)[members][..., None]
    for l in range(4):
        expected = radial(l, r, chosen)[..., None] * real_harmonics(l, vectors)
        assert np.abs(np.moveaxis(found[:, :, l**2 : (l + 1) ** 2], 2, -1) - expected).max() < 2e-6
    assert not found[0, 0, :, 1].any()
