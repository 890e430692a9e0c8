"""Tests of the prediction work chain without running anything."""

import pytest
from aiida import orm
from aiida.plugins import WorkflowFactory

from aiida_hamlr.calculations.predict import PredictCalculation
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.model.files import read_model, write_model
from aiida_hamlr.workflows.predict.base import PredictBaseWorkChain


@pytest.fixture
def predicting_model(aiida_profile, small_model, tmp_path):
    """Return the node of a model that adds nothing to H0, with pseudopotentials."""
    model, _, basis, _ = read_model(small_model)
    texts = {element: make_pseudopotential(element).text for element in basis}
    state = {name: 0 * value if 'weight' in name else value for name, value in model.state_dict().items()}
    metadata = {'functional': 'lda_pz', 'ecutrho_Ry': 60.0}
    write_model(tmp_path / 'predicting', model, state, basis, texts, metadata)
    return ModelData.from_folder(tmp_path / 'predicting').store()


@pytest.mark.parametrize('protocol', ['fast', 'balanced', 'stringent'])
def test_protocols(hamlr_code, model_node, structure, instantiate, protocol):
    """Every protocol gives valid inputs, for structures and for a trajectory."""
    for structures in ({'bulk': structure}, orm.TrajectoryData(structurelist=[structure])):
        builder = PredictBaseWorkChain.get_builder_from_protocol(hamlr_code, model_node, structures, protocol=protocol)
        process = instantiate(builder)
        assert 'bands' in process.inputs.predict.parameters['outputs']


@pytest.mark.parametrize('label', ['ERROR_SCHEDULER_NODE_FAILURE', 'ERROR_KILLED'])
def test_interrupted(hamlr_code, model_node, structure, instantiate, make_finished, label):
    """After a failure of the compute node, or of whoever killed the process, the job runs again; after others not."""
    builder = PredictBaseWorkChain.get_builder_from_protocol(hamlr_code, model_node, {'bulk': structure})
    process = instantiate(builder)
    process.setup()
    process.ctx.iteration = 1
    codes = PredictCalculation.exit_codes
    process.ctx.children = [make_finished('calculations', 'hamlr.predict', codes[label].status)]
    assert process.inspect_process().status == 0
    message = 'There was no room for a file: hamlr: File too large. Free some space.'
    process.ctx.children = [make_finished('calculations', 'hamlr.predict', codes.ERROR_DISK_FULL.status, {}, message)]
    exit_code = process.inspect_process()
    assert exit_code.status == 310
    assert exit_code.message == f'The prediction failed, and repeating it would not help: {message}'


def test_single_structure_has_the_names_of_quantum_espresso(hamlr_code, predicting_model, structure, tmp_path):
    """A run with a stored model; bands, density of states and projections are what AiiDA's own commands take."""
    from aiida.cmdline.commands.cmd_data.cmd_bands import bands_export
    from aiida.engine import run_get_node
    from aiida.orm.nodes.data.array.bands import find_bandgap
    from click.testing import CliRunner

    parameters = {'outputs': ['bands', 'dos', 'projections', 'masses', 'charges'], 'kpoints': [2, 2, 2], 'spacing': 0.2}
    builder = PredictBaseWorkChain.get_builder_from_protocol(
        hamlr_code, predicting_model, {'bulk': structure}, overrides={'predict': {'parameters': parameters}}
    )
    results, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    bands = results['band_structure']
    assert bands.uuid == results['bands']['bulk'].uuid
    scalars = results['results']['bulk']
    named = results['output_parameters'].get_dict()
    assert named['fermi_energy'] == bands.base.attributes.get('fermi_energy') and named['fermi_energy_units'] == 'eV'
    assert (named['number_of_atoms'], named['number_of_electrons']) == (2, pytest.approx(scalars['n_electrons']))
    electrons = round(scalars['n_electrons'])
    insulator, gap = find_bandgap(bands, number_electrons=electrons)
    if scalars['gap_eV'] > 0:
        # The edges of the scalars are those of path and mesh together.
        assert insulator and gap >= scalars['gap_eV'] - 1e-8
    else:
        assert not insulator
    assert results['dos']['output_dos'].get_x()[0] == 'dos_energy'
    orbitals = results['projwfc']['projections'].get_orbitals()
    assert {orbital.get_orbital_dict()['kind_name'] for orbital in orbitals} == {'Al', 'As'}
    assert results['arrays']['bulk'].get_array('charges').sum() == pytest.approx(0.0, abs=1e-6)
    for form, suffix in (('json', 'json'), ('agr', 'agr'), ('mpl_png', 'png')):
        file = tmp_path / f'bands.{suffix}'
        done = CliRunner().invoke(bands_export, [str(bands.pk), '--format', form, '-o', str(file)])
        assert done.exit_code == 0, done.output
        assert file.stat().st_size > 1000


def test_outputs_have_the_names_and_types_that_viewers_read():
    """Viewers for aiida-quantumespresso find bands, densities of states and projections of one structure."""
    bands = WorkflowFactory('quantumespresso.pw.bands').spec().outputs
    pdos = WorkflowFactory('quantumespresso.pdos').spec().outputs
    ours = PredictBaseWorkChain.spec().outputs
    assert ours['band_structure'].valid_type is bands['band_structure'].valid_type
    assert ours['dos']['output_dos'].valid_type is pdos['dos']['output_dos'].valid_type
    for name in ('projections', 'projections_up', 'projections_down'):
        assert ours['projwfc'][name].valid_type is pdos['projwfc'][name].valid_type
