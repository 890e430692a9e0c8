"""Files that cannot be learned from are refused; those that can are read unchanged."""

import numpy as np
import pytest

from aiida_hamlr.electronic.magnetism import set_starting_moments
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model.training.references import Reference, block_means

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


def written(hamiltonian, path):
    hamiltonian.write(path)
    return path


def test_hamiltonian_equal_to_h0_is_refused(tmp_path, make_reference, rattled):
    path = written(make_reference(rattled(0), strength=0.0), tmp_path / 'same.h5')
    with pytest.raises(ValueError, match=r'same\.h5: H equals H0'):
        Reference.read(path)


def test_hamiltonian_equal_to_h0_but_for_a_constant_is_refused(tmp_path, make_reference, rattled):
    hamiltonian = make_reference(rattled(0), strength=0.0)
    hamiltonian.matrices['hamiltonian'] = hamiltonian.h0 + 0.5 * hamiltonian.overlap
    with pytest.raises(ValueError, match=r'shifted\.h5: H equals H0 \+0\.5 eV'):
        Reference.read(written(hamiltonian, tmp_path / 'shifted.h5'))


def test_missing_matrices_are_named(tmp_path, make_reference, rattled):
    hamiltonian = make_reference(rattled(0))
    del hamiltonian.matrices['h0']
    with pytest.raises(ValueError, match=r'no_h0\.h5: holds no h0'):
        Reference.read(written(hamiltonian, tmp_path / 'no_h0.h5'))


def test_spins_need_starting_moments(tmp_path, make_magnetic_reference, rattled):
    """Files of earlier versions have none; with them H of both spins is learned, and an order is not its reverse."""
    hamiltonian = make_magnetic_reference(rattled(0), [2.0, 0.0])
    hashes = {Reference.read(written(hamiltonian, tmp_path / 'spin.h5')).content_hash}
    found = Reference.read(tmp_path / 'spin.h5')
    assert found.delta.shape == (2, hamiltonian.pattern.n_entries)
    np.testing.assert_array_equal(found.spins, hamiltonian.hamiltonian - hamiltonian.h0)
    hamiltonian.atoms.set_initial_magnetic_moments([-2.0, 0.0])
    hashes.add(Reference.read(written(hamiltonian, tmp_path / 'spin.h5')).content_hash)
    assert len(hashes) == 2
    set_starting_moments(hamiltonian.atoms, None)
    with pytest.raises(ValueError, match=r'spin\.h5: has collinear spin \(n_spin = 2\), but no starting moments'):
        Reference.read(written(hamiltonian, tmp_path / 'spin.h5'))


def test_the_number_of_spins_is_believed(tmp_path, make_reference, rattled):
    with pytest.raises(ValueError, match=r'one_of_two\.h5: .*n_spin = 2'):
        Reference.read(written(make_reference(rattled(0), n_spin=2), tmp_path / 'one_of_two.h5'))


def test_not_a_number_is_refused(tmp_path, make_reference, rattled):
    hamiltonian = make_reference(rattled(0))
    hamiltonian.matrices['hamiltonian'][3] = np.nan
    with pytest.raises(ValueError, match='not finite'):
        Reference.read(written(hamiltonian, tmp_path / 'nan.h5'))


def test_block_means_are_those_of_the_blocks(reference):
    one = reference(0)
    lengths, means = block_means(one)
    offsite = np.setdiff1d(np.arange(len(one.pattern)), one.pattern.onsite)
    assert means[5] == pytest.approx(np.abs(one.pattern.block(one.delta, int(offsite[5]))).mean())
    assert lengths.min() > 1.0


def test_read_hamiltonian_is_unchanged(training_files):
    one = Reference.read(training_files[0])
    stored = Hamiltonian.read(training_files[0])
    assert np.array_equal(one.delta, stored.hamiltonian - stored.h0)
