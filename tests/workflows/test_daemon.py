"""A reference through a real daemon, whose broker needs no service."""

import numpy as np
import pytest
from aiida import orm
from aiida.manage.caching import enable_caching
from aiida.orm.nodes.data.array.bands import find_bandgap

from aiida_hamlr.workflows.reference import ReferenceWorkChain

PROPERTIES = {'outputs': ['bands', 'dos', 'projections', 'charges'], 'spacing': 0.1}


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
        overrides={'scf': {'pseudo_family': pseudo_family}, 'reconstruct': {'properties': PROPERTIES}},
        options={'withmpi': False, 'max_wallclock_seconds': 600},
    )
    node = submit_and_await(builder, timeout=400)
    assert node.is_finished_ok, node.exit_message
    parameters = node.outputs.output_parameters.get_dict()
    assert parameters['n_electrons'] == 8
    assert parameters['band_mae_occupied_meV'] < 70
    assert node.outputs.hamiltonian.open().symbols == ['Al', 'As']
    assert node.outputs.basis.elements == ['Al', 'As']
    # Gamma and X are points of the mesh and of the path.
    insulator, gap = find_bandgap(node.outputs.band_structure, number_electrons=8)
    assert insulator and gap == pytest.approx(parameters['gap_eV'], abs=1e-9)
    assert gap == pytest.approx(node.outputs.hamiltonian.base.attributes.get('gap'), abs=1e-9)
    dos = node.outputs.dos.output_dos
    states = {name: values for name, values, _ in dos.get_y()}['integrated_dos']
    assert states[dos.get_x()[1] < parameters['fermi_energy']][-1] == pytest.approx(8, abs=1e-6)
    # Eigenvalues of pw.x beside the bands of the Hamiltonian.
    assert node.outputs.bands.uuid != node.outputs.band_structure.uuid
    orbitals = node.outputs.projwfc.projections.get_orbitals()
    assert {orbital.get_orbital_dict()['kind_name'] for orbital in orbitals} == {'Al', 'As'}
    assert node.outputs.arrays.get_array('charges').sum() == pytest.approx(0, abs=1e-6)
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
    builder.reconstruct.pop('properties')
    with enable_caching(identifier='aiida.calculations:quantumespresso.pw'):
        other = submit_and_await(builder, timeout=400)
    assert other.is_finished_ok, other.exit_message
    potential = next(job for job in other.called if job.process_label == 'PotentialCalculation')
    assert 'aiida.filplot' in potential.outputs.remote_folder.listdir()
    assert 'aiida.fileout' not in potential.outputs.remote_folder.listdir()
    assert 'band_structure' not in other.outputs
    first, second = (process.outputs.hamiltonian.open() for process in (node, other))
    assert np.allclose(first.hamiltonian, second.hamiltonian, rtol=0, atol=1e-5)
