"""References, training and prediction on a cluster."""

import pytest
from aiida import orm
from loopback_cluster import wait_until

from aiida_hamlr.workflows.pipeline import PipelineWorkChain


@pytest.mark.qe
def test_pipeline(started_daemon_client, submit_and_await, make_reference_builder, rattled):
    """Two workers take structures to predictions through SLURM and ssh; pw.x runs on two ranks."""
    assert started_daemon_client.get_numprocesses()['numprocesses'] == 2
    builder = make_reference_builder(
        PipelineWorkChain,
        {
            'train': {'a': rattled(1), 'b': rattled(2)},
            'validation': {'a': rattled(3)},
            'predict': {'a': rattled(4)},
        },
        clean_workdir=True,
        train={'train': {'parameters': {'training': {'max_epochs': 3}}}},
        predict={'predict': {'parameters': {'spacing': 0.5}}},
    )
    node = submit_and_await(builder, timeout=1500)
    assert node.is_finished_ok, node.exit_message
    assert 0 < node.outputs.comparison.a.get_dict()['mae_meV'] < 50
    jobs = [called for called in node.called_descendants if isinstance(called, orm.CalcJobNode)]
    assert all(job.computer.transport_type == 'core.ssh_async' for job in jobs)
    assert all(job.computer.scheduler_type == 'core.slurm' and job.get_job_id() for job in jobs)
    references = [job for job in jobs if job.process_type == 'aiida.calculations:quantumespresso.pw']
    assert len(references) == 4
    for job in references:
        output = job.outputs.retrieved.base.repository.get_object_content(job.get_option('output_filename'))
        assert 'running on     2 processors' in output
    # The folders are cleaned after the state is known.
    wait_until(lambda: all(job.outputs.remote_folder.is_cleaned for job in jobs), 'the folders are cleaned')
