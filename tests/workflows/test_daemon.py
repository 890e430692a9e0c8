"""A reference through a real daemon, whose broker needs no service."""

import numpy as np
import pytest
from aiida import orm
from aiida.manage.caching import enable_caching

from aiida_hamlr.workflows.reference import ReferenceWorkChain


@pytest.mark.qe
@pytest.mark.daemon
@pytest.mark.slow
def test_reference(reachable_daemon, submit_and_await, pw_code, pp_code, hamlr_code, structure, pseudo_family):
    """The daemon takes a structure to its Hamiltonian; its occupied bands agree with pw.x within the basis' error."""
    builder = ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure,
        protocol='fast',
        overrides={'scf': {'pseudo_family': pseudo_family}},
        options={'withmpi': False, 'max_wallclock_seconds': 600},
    )
    node = submit_and_await(builder, timeout=400)
    assert node.is_finished_ok, node.exit_message
    parameters = node.outputs.output_parameters.get_dict()
    assert parameters['n_electrons'] == 8
    assert parameters['band_mae_occupied_meV'] < 70
    assert node.outputs.hamiltonian.open().symbols == ['Al', 'As']
    assert node.outputs.basis.elements == ['Al', 'As']
    # What only pw.x and the reconstruction need stays where it is; nothing large is kept twice.
    for job in node.called_descendants:
        if isinstance(job, orm.CalcJobNode):
            assert not any(
                name.endswith(('.h5', '.filplot', '.UPF')) for name in job.base.repository.list_object_names()
            )
    assert [job.process_label for job in node.called] == [
        'BasisCalculation',
        'create_kpoints_from_distance',
        'even_mesh',
        'PwBaseWorkChain',
        'ReconstructCalculation',
    ]
    # The potential that pp.x makes of the same density gives the same.
    builder.potential = {'code': pp_code, 'metadata': {'options': builder.reconstruct.metadata.options}}
    builder.basis = node.outputs.basis
    with enable_caching(identifier='aiida.calculations:quantumespresso.pw'):
        other = submit_and_await(builder, timeout=400)
    assert other.is_finished_ok, other.exit_message
    potential = next(job for job in other.called if job.process_label == 'PotentialCalculation')
    assert 'aiida.filplot' in potential.outputs.remote_folder.listdir()
    assert 'aiida.fileout' not in potential.outputs.remote_folder.listdir()
    first, second = (process.outputs.hamiltonian.open() for process in (node, other))
    assert np.allclose(first.hamiltonian, second.hamiltonian, rtol=0, atol=1e-5)
