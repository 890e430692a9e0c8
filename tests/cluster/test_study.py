"""Committees, fine-tuning and active learning through a daemon, on references that work chains made."""

import pytest
from aiida import orm

from aiida_hamlr.workflows.active_learning import ActiveLearningWorkChain


@pytest.mark.qe
def test_study(submit_and_await, make_reference_builder, study_of_three, rattled):
    """Two models, the reference of which they differ most, and both tuned to it: every job through SLURM."""
    builder = make_reference_builder(
        ActiveLearningWorkChain,
        {f's{seed}': rattled(seed) for seed in (4, 5)},
        n_test=0,
        n_per_round=1,
        max_rounds=1,
        fine_tune=True,
        train={'n_models': 2, 'train': {'parameters': {'training': {'max_steps': 2}}}},
        screen={'predict': {'predict': {'parameters': {'kpoints_distance': 0.8}}}},
    )
    builder.dataset, builder.basis = study_of_three.outputs.dataset, study_of_three.outputs.basis
    builder.pop('generate_basis')
    node = submit_and_await(builder, timeout=1500)
    assert node.is_finished_ok, node.exit_message
    records = [node.outputs.rounds[f'round_{number:02d}'].get_dict() for number in range(2)]
    assert [(record['n_train'], record['n_models']) for record in records] == [(2, 2), (3, 2)]
    assert all(0.0 < record['error_meV'] < 50.0 for record in records)
    (selected,) = records[0]['selected']
    added = set(node.outputs.dataset.get_uuids('train')) - set(study_of_three.outputs.dataset.get_uuids('train'))
    (reference,) = (orm.load_node(uuid) for uuid in added)
    run = reference.creator.inputs.parent_folder.creator
    assert run.inputs.structure.base.attributes.all == orm.load_node(selected).base.attributes.all
    jobs = [called for called in node.called_descendants if isinstance(called, orm.CalcJobNode)]
    assert all(job.computer.scheduler_type == 'core.slurm' and job.get_job_id() for job in jobs)
    trainings = [job for job in jobs if job.process_type == 'aiida.calculations:hamlr.train']
    models = {job.outputs.model.uuid: job.inputs.seed.value for job in trainings if 'parent_model' not in job.inputs}
    tuned = [job for job in trainings if 'parent_model' in job.inputs]
    # Each member of the committee comes from that of the same seed.
    assert sorted(models.values()) == [0, 1]
    assert [models[job.inputs.parent_model.uuid] for job in tuned] == [job.inputs.seed.value for job in tuned]
    assert {job.outputs.model.uuid for job in tuned} == {model.uuid for model in node.outputs.models.values()}
    (screening,) = [job for job in jobs if job.process_type == 'aiida.calculations:hamlr.predict']
    assert len(screening.inputs.committee) == 1
