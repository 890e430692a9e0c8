"""Tests of the prediction job."""

import numpy as np
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from aiida_fixtures import find_problem as problem
from ase.build import bulk

OPTIONS = {'resources': {'num_machines': 1}, 'max_wallclock_seconds': 300, 'withmpi': False}


def test_predict(prepare, make_inputs, structure, file_regression):
    """All structures in one file, with their labels, to the last digit; the model is copied from its node."""
    import ase.io

    structures = {'b': structure, 'a': structure.clone().store()}
    parameters = orm.Dict({'outputs': ['hamiltonian'], 'kpoints': [2, 2, 2]})
    calc_info, folder = prepare(
        'hamlr.predict', {**make_inputs('hamlr.predict'), 'structures': structures, 'parameters': parameters}
    )
    with folder.open('predict.yaml') as stream:
        file_regression.check(stream.read(), extension='.yaml')
    atoms = ase.io.read(folder.get_abs_path('structures.extxyz'), index=0)
    assert (atoms.positions == structure.get_ase().positions).all()
    assert calc_info.local_copy_list[0][2] == 'model'
    assert 'structures.extxyz' in calc_info.provenance_exclude_list


def test_predict_refused(make_inputs, structure):
    """What the model cannot predict, and unclear inputs, are refused."""
    valid = make_inputs('hamlr.predict')
    silicon = orm.StructureData(ase=bulk('Si'))
    message = problem('hamlr.predict', {**valid, 'structures': {'bulk': structure, 'si': silicon}})
    assert 'si contains Si, which are not in the training data; the model knows Al, As' in message
    trajectory = orm.TrajectoryData(structurelist=[structure])
    assert 'either' in problem('hamlr.predict', {**valid, 'trajectory': trajectory})
    assert 'either' in problem('hamlr.predict', {**valid, 'structures': {}})
    assert "'output'" in problem('hamlr.predict', {**valid, 'parameters': orm.Dict({'output': 'x'})})


def test_moments_of_kinds(prepare, make_inputs, structure):
    """They stand with the atoms; kinds that are no species of the model are of its elements."""
    import ase.io

    magnetic = orm.StructureData(cell=structure.cell)
    for index, site in enumerate(structure.sites):
        magnetic.append_atom(position=site.position, symbols=site.kind_name, name=f'{site.kind_name}{index}')
    first, second = (site.kind_name for site in magnetic.sites[:2])
    inputs = {**make_inputs('hamlr.predict'), 'structures': {'a': magnetic}}
    parameters = orm.Dict({'outputs': ['hamiltonian'], 'magnetic_moments': {first: 2.5, second[:2]: -1.0}})
    _, folder = prepare('hamlr.predict', {**inputs, 'parameters': parameters})
    atoms = ase.io.read(folder.get_abs_path('structures.extxyz'))
    assert atoms.get_initial_magnetic_moments()[:2].tolist() == [2.5, -1.0]
    assert 'species_labels' not in atoms.arrays
    with folder.open('predict.yaml') as stream:
        assert 'magnetic_moments' not in stream.read()


def test_fully_relativistic_pseudopotentials(prepare, make_inputs, structure, al_as_pseudos):
    """They are copied into the job and named in its configuration; without `spin_orbit` they are refused."""
    import yaml

    inputs = {**make_inputs('hamlr.predict'), 'structures': {'a': structure}, 'spin_orbit_pseudos': al_as_pseudos}
    calc_info, folder = prepare('hamlr.predict', {**inputs, 'parameters': orm.Dict({'spin_orbit': True})})
    with folder.open('predict.yaml') as stream:
        config = yaml.safe_load(stream)
    assert config['spin_orbit'] and config['spin_orbit_pseudos'] == {
        'Al': 'spin_orbit/Al.upf',
        'As': 'spin_orbit/As.upf',
    }
    node = al_as_pseudos['As']
    assert (node.uuid, node.filename, 'spin_orbit/As.upf') in calc_info.local_copy_list
    assert 'without `spin_orbit: true`' in problem('hamlr.predict', inputs)
    other = {'Ga': al_as_pseudos['As']}
    assert 'Ga' in problem(
        'hamlr.predict', {**inputs, 'spin_orbit_pseudos': other, 'parameters': orm.Dict({'spin_orbit': True})}
    )


def test_spinors_of_a_scalar_model(silicon, hamlr_code):
    """A real job: the fully relativistic version reaches the executable, and the stored bands are those of spinors."""
    model, pseudo = silicon
    parameters = {'outputs': ['bands'], 'kpoints': [2, 2, 2], 'spacing': 0.5, 'spin_orbit': True}
    results, node = run_get_node(
        CalculationFactory('hamlr.predict'),
        code=hamlr_code,
        model=model,
        structures={'bulk': orm.StructureData(ase=bulk('Si', 'diamond', a=5.43))},
        spin_orbit_pseudos={'Si': pseudo},
        parameters=orm.Dict(parameters),
        metadata={'options': OPTIONS},
    )
    assert node.is_finished_ok, node.exit_message
    energies, occupations = results['bands']['bulk'].get_bands(also_occupations=True)
    assert energies.shape == occupations.shape and energies.shape[-1] % 2 == 0
    # Inversion makes Kramers pairs everywhere; the coupling splits the threefold levels at Gamma.
    np.testing.assert_allclose(energies[:, ::2], energies[:, 1::2], atol=1e-9)
    assert occupations.max() <= 1.0 and np.ptp(energies[0, 2:8]) > 0.005
    assert np.ptp(energies[0, 4:8]) < 1e-9 or np.ptp(energies[0, 2:6]) < 1e-9
