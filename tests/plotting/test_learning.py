"""Figures of errors over numbers of references."""

import numpy as np
import pytest

from aiida_hamlr.plotting.learning import plot_errors


def test_plot_errors(tmp_path):
    """A curve of one run has no band and no legend; of several runs each curve has its band and its name."""
    numbers = [8, 16, 32]
    one = plot_errors(numbers, {'test error': [[1.0, 0.7, 0.5]]}, tmp_path / 'one.svg').read_text()
    assert '<!-- Mean absolute error of H (meV) -->' in one and '<!-- test error -->' not in one
    assert all(f'<!-- {number} -->' in one for number in numbers)
    runs = np.array([[1.0, 0.7, 0.5], [1.2, 0.6, 0.45]])
    both = plot_errors(numbers, {'random': runs, 'active': 0.8 * runs}, tmp_path / 'two.svg', target=0.4).read_text()
    assert all(f'<!-- {name} -->' in both for name in ('random', 'active', 'target'))
    assert both.count('FillBetweenPolyCollection') == 2 + one.count('FillBetweenPolyCollection')
    assert plot_errors([4], {'test error': [[1.0]]}, tmp_path / 'first.png').stat().st_size > 0
    with pytest.raises(ValueError, match='no round is done'):
        plot_errors([], {}, tmp_path / 'none.png')
    assert not (tmp_path / 'none.png').exists()
