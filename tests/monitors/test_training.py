"""The monitor of trainings: what it ends, and what it lets go on."""

import numpy as np
import pytest
from aiida import orm
from aiida.plugins import BaseFactory

from aiida_hamlr.monitors.training import DIVERGED, FLAT, find_end, monitor_training, read_running_metrics


def metrics(errors, every=10):
    """Columns of a learning curve that is validated from time to time."""
    column = np.full(every * len(errors), np.nan)
    column[every - 1 :: every] = errors
    return {'epoch': np.arange(1.0, len(column) + 1), 'validation_mae_meV': column}


@pytest.mark.parametrize(
    ('errors', 'word'),
    [
        ([], None),
        ([9.0, 5.0, 4.0], None),
        ([5.0, 60.0, 70.0, 80.0], DIVERGED),
        # It came back, or may do so.
        ([5.0, 60.0, 70.0, 8.0], None),
        ([5.0, 60.0, 70.0], None),
        # The best was at epoch 20; epoch 60 brought less than one percent.
        ([9.0, 5.0, 5.1, 5.0, 5.2, 4.99, 5.0], FLAT),
        ([9.0, 5.0, 5.1, 5.0, 5.2, 4.9, 5.0], None),
    ],
)
def test_end(errors, word):
    found = find_end(metrics(errors), 10.0, 3, 50, 0.01)
    assert found is None if word is None else found.startswith(f'{word}: ')


def test_flat_only_if_it_is_asked_for():
    assert find_end(metrics([5.0] * 100), 10.0, 3, None, 0.01) is None


def test_training_without_validation():
    assert find_end({'epoch': np.arange(3.0)}, 10.0, 3, 1, 0.01) is None


def test_running_job(aiida_profile, localhost, tmp_path):
    """It reads the learning curve as far as it is written; none, and half of one, are none."""
    node = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:hamlr.train')
    with localhost.get_transport() as transport:
        assert read_running_metrics(node, transport) is None
        node.set_remote_workdir(str(tmp_path))
        assert monitor_training(node, transport) is None
        (tmp_path / 'run').mkdir()
        path = tmp_path / 'run/metrics.csv'
        path.write_text('epoch,validation_mae_meV\n')
        assert monitor_training(node, transport) is None
        path.write_text('epoch,validation_mae_meV\n' + ''.join(f'{n},{5.0 if n == 1 else 99}\n' for n in range(1, 9)))
        assert monitor_training(node, transport).startswith(DIVERGED)


def test_entry_point():
    assert BaseFactory('aiida.calculations.monitors', 'hamlr.training') is monitor_training
