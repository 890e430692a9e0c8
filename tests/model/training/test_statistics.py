"""Statistics of training data: counts and means that are known otherwise."""

import numpy as np
import pytest

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model.reference_matrices import fitted_shift
from aiida_hamlr.model.training.statistics import data_statistics, statistics_in_words


def test_counts_and_sizes(training_files):
    found = data_statistics(training_files)
    assert found['n_structures'] == 6 and found['n_atoms'] == [2, 2]
    assert found['species'] == {'Al': 6, 'As': 6} and found['formulas'] == {'AlAs': 6}
    means = []
    for path in training_files:
        read = Hamiltonian.read(path)
        delta = read.hamiltonian - read.h0
        means.append(1e3 * np.abs(delta + fitted_shift(delta, read.overlap) * read.overlap).mean())
    assert found['delta_meV']['mae_meV'] == pytest.approx(np.mean(means))
    shortest = min(Hamiltonian.read(path, ()).atoms.get_distance(0, 1, mic=True) for path in training_files)
    assert found['distances']['shortest']['Al-As'] == pytest.approx(shortest)
    lines = statistics_in_words(found)
    assert lines[0] == '6 structures of 2 atoms: 6 Al, 6 As atoms'
    assert any(line.startswith('mean |H - H0|') for line in lines)


def test_nothing_to_describe():
    with pytest.raises(ValueError, match='no Hamiltonian files'):
        data_statistics([])
