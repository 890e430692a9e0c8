"""Tests of the parser of predictions."""

import json
from dataclasses import replace

import numpy as np
import pytest
from aiida import orm
from aiida.orm.nodes.data.array.bands import find_bandgap
from aiida.plugins import CalculationFactory
from ase import Atoms

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import set_species_labels
from aiida_hamlr.parsers.base import HamlrParser

STATUS = {'hamlr.status': '0'}
CODES = CalculationFactory('hamlr.predict').exit_codes


def _write_prediction(folder, hamiltonian):
    hamiltonian.attributes = replace(hamiltonian.attributes, origin='predicted')
    hamiltonian.write(folder / 'hamiltonian.h5')
    kpoints = np.array([[0.0, 0, 0], [0.25, 0, 0], [0.5, 0, 0]])
    Bands(kpoints, np.arange(12.0).reshape(1, 3, 4), ('GAMMA', '', 'X')).write(folder / 'bands.h5')


def test_predict(parse, make_hamiltonian, zincblende, structure, tmp_path):
    """Each structure has its Hamiltonian and bands; one that failed does not fail the job."""
    _write_prediction(tmp_path / 'predictions' / 'good', make_hamiltonian(zincblende()))
    summary = {'failed': [{'name': 'bad', 'reason': 'atoms too close'}]}
    results, node = parse(
        'hamlr.predict',
        {**STATUS, 'summary.json': json.dumps(summary)},
        inputs={'structures': {'good': structure, 'bad': structure.clone().store()}},
    )
    assert node.is_finished_ok, node.exit_message
    assert set(results['hamiltonians']) == {'good'}
    bands = results['bands']['good']
    np.testing.assert_array_equal(bands.get_bands(), np.arange(12.0).reshape(3, 4))
    assert bands.labels == [(0, 'GAMMA'), (2, 'X')]
    assert results['output_parameters'].get_dict()['failed'][0]['name'] == 'bad'


def test_predict_nothing(parse, structure):
    """A job without any prediction failed."""
    _, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}'}, inputs={'structures': {'a': structure}})
    assert node.exit_status == CODES.ERROR_ALL_STRUCTURES_FAILED.status


def test_predict_trajectory(parse, make_hamiltonian, zincblende, structure, tmp_path):
    """The frames of a trajectory are labelled by their index."""
    trajectory = orm.TrajectoryData(structurelist=[structure, structure]).store()
    for index in range(2):
        _write_prediction(tmp_path / 'predictions' / f'step_{index}', make_hamiltonian(zincblende()))
    results, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}'}, inputs={'trajectory': trajectory})
    assert node.is_finished_ok
    assert set(results['bands']) == {'step_0', 'step_1'}


TABLE = 'label,status,n_atoms,gap_eV,reason,inputs_sha256\na,done,2,1.25,,0f\nb,failed,,,atoms too close,\nc,done,2,1.'


def test_predict_numbers(parse, structure):
    """Each structure that was done has a node of its numbers; a line that was cut off is none."""
    inputs = {'structures': {label: structure.clone().store() for label in 'abc'}}
    results, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}', 'results.csv': TABLE}, inputs=inputs)
    assert node.is_finished_ok, node.exit_message
    assert {label: each.get_dict() for label, each in results['results'].items()} == {
        'a': {'n_atoms': 2, 'gap_eV': 1.25}
    }


def test_predict_interrupted(parse, structure):
    """What was done when the scheduler ended the job is kept; the job has failed all the same."""
    status = CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME.status
    results, node = parse(
        'hamlr.predict', {'results.csv': TABLE}, inputs={'structures': {'a': structure}}, exit_status=status
    )
    assert node.exit_status == status
    assert results['results']['a']['gap_eV'] == 1.25


def test_predict_damaged_table(parse, structure):
    """A table that cannot be read is named."""
    _, node = parse(
        'hamlr.predict',
        {**STATUS, 'summary.json': '{}', 'results.csv': 'gap\n1\n'},
        inputs={'structures': {'a': structure}},
    )
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_READ.status
    assert 'results.csv' in node.exit_message


def _compute(folder, hamiltonian, outputs):
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties

    hamiltonian.attributes.long_range_charges = [0.3, -0.3]
    found = compute_properties(hamiltonian, outputs, PropertyOptions(kpoints=(3, 3, 3), spacing=0.3))
    folder.mkdir(parents=True)
    if found.bands is not None:
        found.bands.write(folder / 'bands.h5')
    found.properties.write(folder / 'properties.h5')
    return found


def test_predict_properties(parse, make_hamiltonian, zincblende, structure, tmp_path):
    """Bands, density of states, projections and arrays are nodes that AiiDA's own tools understand."""
    outputs = ['bands', 'dos', 'projections', 'masses', 'profile', 'layers']
    found = _compute(tmp_path / 'predictions' / 'a', make_hamiltonian(zincblende()), outputs)
    results, node = parse('hamlr.predict', {**STATUS, 'summary.json': '{}'}, inputs={'structures': {'a': structure}})
    assert node.is_finished_ok, node.exit_message
    bands = results['bands']['a']
    insulator, gap = find_bandgap(bands)
    energies = found.bands.eigenvalues[0]
    assert insulator and gap == pytest.approx(energies[:, 4].min() - energies[:, 3].max())
    assert find_bandgap(bands, number_electrons=8)[1] == pytest.approx(gap)
    np.testing.assert_allclose(bands.cell, structure.cell)
    _, occupations = bands.get_bands(also_occupations=True)
    assert set(np.unique(occupations)) == {0.0, 2.0} and (occupations.sum(axis=1) == 8).all()
    # The axis of the plot has the lengths of the path.
    plot = bands._get_bandplot_data(cartesian=True)
    np.testing.assert_allclose(plot['x'], found.bands.distances, atol=1e-6)
    dos = results['output_dos']['a']
    assert dos.get_x()[0::2] == ('dos_energy', 'eV')
    columns = {name: (values, unit) for name, values, unit in dos.get_y()}
    np.testing.assert_array_equal(columns['dos'][0], found.properties.dos)
    assert columns['dos'][1] == 'states/eV'
    projections = results['projections']['a']
    assert len(projections.get_orbitals()) == 8
    total = sum(values for _, values, _ in projections.get_pdos())
    np.testing.assert_allclose(total, found.properties.dos, atol=1e-10)
    pz = projections.get_projections(angular_momentum=1, magnetic_number=0)
    assert len(pz) == 2 and pz[0][1].shape == bands.get_bands().shape
    arrays = results['arrays']['a']
    assert set(arrays.get_arraynames()) >= {'levels', 'potential', 'layer_valence_edges'}
    assert arrays.base.attributes.get('effective_masses')['vbm']['n_degenerate'] == 3


def test_species_of_another_order_are_refused(make_hamiltonian):
    """Two species of one element that are exchanged make another structure; kinds need not be species."""
    atoms = Atoms('As2', positions=[[0, 0, 0], [0, 0, 2.5]], cell=5 * np.eye(3), pbc=True)
    hamiltonian = make_hamiltonian(atoms)
    orbitals = hamiltonian.basis['As']

    def check(labels, kinds):
        found, expected = atoms.copy(), atoms.copy()
        set_species_labels(found, labels)
        set_species_labels(expected, kinds)
        basis = Basis(dict.fromkeys(labels, orbitals))
        node = HamiltonianData.from_hamiltonian(replace(hamiltonian, atoms=found, basis=basis))
        hashes = dict.fromkeys(labels, orbitals.content_hash)
        HamlrParser.check_hamiltonian(node, 'reference', structure_from_atoms(expected), hashes)

    check(['As1', 'As2'], ['As1', 'As2'])
    check(['As', 'As'], ['As1', 'As2'])
    with pytest.raises(ValueError, match=r'another structure .* atom 0 \(counted from 0\) is As1 instead of As2'):
        check(['As1', 'As2'], ['As2', 'As1'])
