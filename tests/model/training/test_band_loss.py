"""The part of the loss at k points against the eigenvalues of the electronic code and finite differences."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.model import keys
from aiida_hamlr.model.config import LossConfig
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.references import Reference

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}
KPOINTS = np.array([[0.0, 0.0, 0.0], [0.17, -0.31, 0.44]])


@pytest.fixture
def make_case(tmp_path, make_reference, make_model):
    """A reference with its example; all of its blocks are within the pair cutoff."""

    def make(atoms, **settings):
        path = tmp_path / 'one.h5'
        make_reference(atoms).write(path)
        reference = Reference.read(path)
        model = make_model(SHELLS, pair_cutoff=20.0)
        loss = LossConfig(**{'band_weight': 1.0, 'bands_below': 2, 'bands_above': 3, **settings})
        return reference, make_example(model, reference, TwoCentreTables(reference.basis), loss)

    return make


def levels(reference, delta):
    matrices = {'hamiltonian': reference.h0 + delta, 'overlap': reference.overlap}
    return eigenvalues(Hamiltonian(reference.atoms, reference.basis, reference.pattern, matrices), KPOINTS)


def perturbation(reference, size, seed=0):
    """A random matrix with the symmetry of H."""
    return reference.pattern.symmetrize(size * np.random.default_rng(seed).normal(size=len(reference.delta)))


def test_components_of_one_orientation_give_the_whole_matrix(make_case, rattled):
    reference, example = make_case(rattled(0))
    for seed in range(2):
        chosen = torch.as_tensor(example.draw(np.random.default_rng(seed)))
        graph = example.graph.with_pairs(chosen)
        flat = example.bands[0].flat(graph[keys.ONSITE_TARGET], graph[keys.PAIR_TARGET], chosen)
        assert np.abs(flat.numpy() - reference.delta).max() < 1e-12


def test_bands_are_those_of_the_electronic_code(make_case, rattled):
    reference, example = make_case(rattled(0))
    predicted = reference.delta + perturbation(reference, 0.01)
    found = example.bands[0].errors(torch.as_tensor(predicted), torch.tensor(0.2, dtype=torch.float64), KPOINTS)
    difference = levels(reference, predicted) + 0.2 - levels(reference, reference.delta)
    # Four occupied bands: two below the gap and three above.
    assert float(found.bands) == pytest.approx(1e3 * np.abs(difference[:, 2:7]).mean(), rel=1e-9)
    assert 1e3 * np.sqrt((difference**2).mean()) <= float(found.orthonormal)


def test_orthonormal_error_of_a_constant_is_the_constant(make_case, rattled):
    reference, example = make_case(rattled(0))
    shifted = torch.as_tensor(reference.delta - 0.3 * reference.overlap)
    found = example.bands[0].errors(shifted, torch.tensor(0.0), KPOINTS)
    assert float(found.orthonormal) == pytest.approx(300.0, rel=1e-9)
    assert float(found.bands) == pytest.approx(300.0, rel=1e-9)
    found = example.bands[0].errors(shifted, torch.tensor(0.3, dtype=torch.float64), KPOINTS)
    assert float(found.orthonormal) < 1e-9 and float(found.bands) < 1e-9


def test_gradient_at_degenerate_levels_is_that_of_finite_differences(make_case):
    """At the centre of the zone the p-like levels of the ideal crystal are threefold degenerate, predicted or not.

    The window holds all levels: where it cuts a multiplet, no derivative exists.
    """
    reference, example = make_case(bulk('AlAs', 'zincblende', a=5.6), bands_below=4, bands_above=7)
    start = torch.as_tensor(reference.delta + 0.2 * reference.h0)
    multiplet = np.diff(levels(reference, start.numpy())[0])
    assert (np.abs(multiplet) < 1e-8).sum() >= 6
    direction = torch.as_tensor(perturbation(reference, 0.1))

    def error(step):
        found = example.bands[0].errors(start + step * direction, torch.tensor(0.0), KPOINTS[:1])
        return found.bands + found.orthonormal

    step = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(error(step), step)
    width = 1e-5
    expected = (error(width) - error(-width)) / (2 * width)
    assert float(slope) == pytest.approx(float(expected), rel=1e-6) and abs(slope) > 1.0


def test_large_structures_have_no_part(make_case, rattled):
    _, example = make_case(rattled(0), band_max_orbitals=10)
    assert example.bands == ()


def test_an_unknown_gap_is_refused(tmp_path, make_reference, make_model, rattled):
    make_reference(rattled(0), n_electrons=7.0).write(tmp_path / 'odd.h5')
    reference = Reference.read(tmp_path / 'odd.h5')
    with pytest.raises(ValueError, match=r'odd\.h5: has 7\.0 electrons; .* even number'):
        make_example(make_model(SHELLS), reference, TwoCentreTables(reference.basis), LossConfig(band_weight=1.0))


def test_an_overlap_that_is_none_is_a_numerical_failure(make_case, rattled):
    reference, example = make_case(rattled(0))
    example.bands[0].overlap = -example.bands[0].overlap
    with pytest.raises(NumericalError, match='overlap is not positive definite at k'):
        example.bands[0].errors(torch.as_tensor(reference.delta), torch.tensor(0.0), KPOINTS)
