"""Reports of each kind of node hold its numbers."""

import pytest
from aiida import orm

from aiida_hamlr.data.electronic_structure import read_bands
from aiida_hamlr.report.compose import make_report
from aiida_hamlr.report.electronic import compute_bands, cutoff_section, hamiltonian_section, quality_section
from aiida_hamlr.report.figures import log_axis
from aiida_hamlr.report.page import Page


def texts(page: Page) -> str:
    """Everything that a page says, but scripts."""
    return repr(
        [(section.title, [block for block in section.blocks if block.block != 'figure']) for section in page.sections]
    )


def figures(page: Page) -> list:
    """All figures of a page."""
    return [block for section in page.sections for block in section.blocks if block.block == 'figure']


def test_reference(reference):
    """Gap and Fermi level with units, bands and structure."""
    page = make_report(reference)
    assert page.title.startswith('Reference: ')
    assert "('Gap', '1.5 eV'" in texts(page) and "('Fermi level', '-2 eV'" in texts(page)
    bands, structure = figures(page)
    assert bands.content['data'][0]['type'] == 'scatter'
    kinds = [trace.get('name') for trace in structure.content['data']]
    assert kinds[-2:] == ['Al', 'As']
    assert 'DatasetData' not in texts(page)


def test_reference_with_properties(reference_with_dos, prediction):
    """The stored density of states is drawn as that of a prediction."""
    page = make_report(reference_with_dos)
    titles = [section.title for section in page.sections if section.blocks]
    assert titles.index('Bands') < titles.index('Density of states') < titles.index('Structure')
    found, expected = (figures(each)[1].content['data'] for each in (page, make_report(prediction)))
    assert [trace['y'] for trace in found] == [trace['y'] for trace in expected]


def test_empty_states_of_a_layer_may_lie_in_its_vacuum(make_hamiltonian_node):
    """Orbitals at the atoms cannot hold them, and whoever reads the errors learns it."""
    errors = {'band_mae_conduction_meV': 900.0}
    crystal = make_hamiltonian_node(seed=74, verification=errors)
    layer = make_hamiltonian_node(seed=75, verification=errors, vacuum_level=3.0)
    assert 'in the vacuum' not in quality_section(crystal).blocks[0].text
    assert 'in the vacuum' in quality_section(layer).blocks[0].text


def test_hamiltonian_with_spin_orbit_coupling(spinor_node):
    """Its bands are those of spinors, and the page says so."""
    (found,) = compute_bands({'': spinor_node}).values()
    assert found.electrons_per_band == 1
    assert 'states are spinors of one electron each' in repr(hamiltonian_section(spinor_node).blocks)


def test_reference_with_a_search_for_the_cutoff(reference):
    """Errors of all that were tried, in their order, and the one to use."""
    tried = [{'ecutwfc_Ry': 60.0, 'cutoff_error_meV': 4.61}, {'ecutwfc_Ry': 48.0, 'cutoff_error_meV': 15.93}]
    section = cutoff_section(orm.Dict({'ecutwfc_Ry': 60.0, 'ecutrho_Ry': 240.0, 'tried': tried}))
    note, table = section.blocks
    assert 'Use ecutwfc 60 Ry and ecutrho 240 Ry' in note.text
    assert table.rows == [['48', '15.9', ''], ['60', '4.6', 'chosen']]
    assert 'Cutoff' not in [section.title for section in make_report(reference).sections]


@pytest.mark.parametrize(
    ('values', 'step'), [((0.3, 1.6), 'D1'), ((0.3, 16.0), 'D2'), ((1e-5, 3.0), 1), ((0, 0), 'D1')]
)
def test_logarithmic_axes_have_readable_labels(values, step):
    """Between two and some ten labels, whatever the range; without a value that can be drawn, too."""
    assert log_axis(values)['dtick'] == step


def test_training(training):
    """The errors of the test structures come first; learning curve, error by distance and dataset follow."""
    page = make_report(training)
    assert texts(page).index('Test: on-site error') < texts(page).index('Test: error of all elements')
    assert '1.375 meV' in texts(page) and 'those to quote' in texts(page)
    curve, distance, gaps = figures(page)
    assert [trace['name'] for trace in curve.content['data']] == ['training', 'validation']
    assert distance.content['data'][0]['y'] == [1.5, 0.25]
    assert {trace['name'] for trace in gaps.content['data']} == {'train', 'validation', 'test'}
    assert 'Structures without a Hamiltonian: 1' in texts(page)
    assert 'short_range.layers' in texts(page)


def test_prediction(prediction):
    """Numbers of structures, with the stored bands and density of states."""
    page = make_report(prediction)
    bands, dos = figures(page)
    assert len(bands.content['layout']['xaxis']['ticktext']) > 3
    assert dos.content['data'][0]['name'] == 'total'
    assert 'gap (eV)' in texts(page)
    # Both count from the same energy.
    assert (
        'VBM' in bands.content['layout']['yaxis']['title']['text']
        and 'VBM' in dos.content['layout']['xaxis']['title']['text']
    )
    energies = prediction.outputs.output_dos.s0.get_x()[1]
    edge = read_bands(prediction.outputs.bands.s0).attributes.vbm
    assert dos.content['data'][0]['x'][0] == pytest.approx(energies[0] - edge, abs=1e-3)


def test_failure(failure):
    """A run that failed has a report that says why and how to repeat it."""
    page = make_report(failure)
    assert 'exit status 401: The scf failed' in texts(page)
    assert f'verdi process dump {failure.pk}' in texts(page)


@pytest.mark.parametrize('name', ['dataset', 'basis_node'])
def test_data(request, name):
    """Of data nodes there are reports too; others are refused with a list of those that have one."""
    node = request.getfixturevalue(name)
    if name == 'dataset':
        assert 'Dataset' in texts(make_report(node))
        return
    with pytest.raises(ValueError, match='reports of Hamiltonians, datasets and models'):
        make_report(node)
    with pytest.raises(ValueError, match='hamlr.pipeline'):
        make_report(orm.WorkChainNode(process_type='aiida.workflows:quantumespresso.pw.base').store())


def test_runs_without_sections_of_their_own():
    """Outcome and ways to repeat it are there for every run of the package."""
    node = orm.WorkChainNode(process_type='aiida.workflows:hamlr.of_tomorrow').store()
    page = make_report(node)
    assert page.title.startswith('Run: ') and f'verdi process dump {node.pk}' in texts(page)
