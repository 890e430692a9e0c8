"""A real training that wall-time interrupts."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.workflows.train.base import TrainBaseWorkChain


@pytest.mark.slow
def test_resume(hamlr_code, make_hamiltonian_node):
    """The second job goes on where the wall-time of the first ended, until the work chain may not start another."""
    nodes = [make_hamiltonian_node(seed=seed) for seed in range(2)]
    dataset = DatasetData.from_nodes({'train': nodes[:1], 'validation': nodes[1:]}).store()
    builder = TrainBaseWorkChain.get_builder_from_protocol(
        hamlr_code,
        dataset,
        protocol='fast',
        overrides={
            'max_iterations': 2,
            'train': {'parameters': {'training': {'max_epochs': 1000000, 'device': 'cpu', 'threads': 1}}},
        },
        options={'max_wallclock_seconds': 12},
    )
    _, node = run_get_node(builder)
    assert node.exit_status == TrainBaseWorkChain.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED.status
    first, second = sorted(node.called, key=lambda job: job.pk)
    for job in (first, second):
        assert job.exit_status == 400, job.exit_message
    assert second.inputs.parent_folder.uuid == first.outputs.remote_folder.uuid
    epochs = [job.outputs.learning_curve.get_array('epoch') for job in (first, second)]
    assert epochs[1][-1] > epochs[0][-1]
    # The curve is one, without a gap or a repetition.
    assert (np.diff(epochs[1]) > 0).all()
    assert set(epochs[0]) <= set(epochs[1])
    assert not orm.QueryBuilder().append(orm.Log, filters={'levelname': 'CRITICAL'}).count()
