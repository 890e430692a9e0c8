"""Valid inputs of all calculations."""

import pytest
from aiida import orm

from aiida_hamlr.data.dataset import DatasetData

OPTIONS = {'options': {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'max_wallclock_seconds': 1000}}


@pytest.fixture
def dataset(make_hamiltonian_node):
    """Return a dataset of eleven Hamiltonians to train on, and one to validate."""
    nodes = [make_hamiltonian_node(seed=index) for index in range(12)]
    return DatasetData.from_nodes({'train': nodes[:11], 'validation': nodes[11:]}).store()


@pytest.fixture
def make_inputs(request, make_remote):
    """Return a factory of valid inputs of a calculation, by its entry point."""

    def make(name):
        get = request.getfixturevalue
        if name == 'hamlr.potential':
            return {'code': get('pp_code'), 'parent_folder': make_remote(path='/scratch/pw'), 'metadata': OPTIONS}
        if name == 'hamlr.fetch':
            nodes = {'a': get('make_remote_hamiltonian')(40)}
            return {'hamiltonians': nodes, 'metadata': {'computer': get('localhost')}}
        inputs = {'code': get('hamlr_code'), 'metadata': OPTIONS}
        if name == 'hamlr.basis':
            return {**inputs, 'pseudos': get('al_as_pseudos')}
        if name == 'hamlr.reconstruct':
            kpoints = orm.KpointsData()
            kpoints.set_kpoints_mesh([4, 4, 2])
            return {
                **inputs,
                'parent_folder': make_remote(path='/scratch/pw'),
                'potential_folder': make_remote(path='/scratch/pp'),
                'pseudos': get('al_as_pseudos'),
                'basis': get('basis_node'),
                'kpoints': kpoints,
            }
        if name == 'hamlr.train':
            return {**inputs, 'dataset': get('dataset'), 'seed': orm.Int(5)}
        return {**inputs, 'model': get('model_node'), 'structures': {'bulk': get('structure')}}

    return make
