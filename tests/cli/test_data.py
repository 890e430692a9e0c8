"""Tests of `verdi data hamlr`."""

import numpy as np
import pytest
from aiida import orm
from aiida.cmdline.commands.cmd_verdi import verdi
from aiida.cmdline.utils.echo import ExitCode

from aiida_hamlr.electronic.bands.band_structure import band_structure
from aiida_hamlr.jobs.bands import edges_in_words


def test_curve(invoke, make_finished, make_hamiltonian_node, localhost, tmp_path):
    """The learning curve of the last job that has one: of a finished one its node, of a running one its file."""
    curve = orm.ArrayData({'epoch': np.array([1.0, 2.0]), 'train_mae_meV': np.array([9.5, 8.25])})
    job = make_finished('calculations', 'hamlr.train', 400, {'learning_curve': curve})
    result = invoke(verdi, 'data', 'hamlr', 'curve', job.pk, '-o', tmp_path / 'curve.png')
    assert result.exit_code == 0, result.output
    assert '8.25' in result.output and (tmp_path / 'curve.png').stat().st_size > 1000
    running = orm.CalcJobNode(computer=localhost, process_type='aiida.calculations:hamlr.train').store()
    result = invoke(verdi, 'data', 'hamlr', 'curve', running.pk)
    assert result.exit_code == ExitCode.CRITICAL and 'is written yet' in result.output
    running.set_remote_workdir(str(tmp_path))
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/metrics.csv').write_text('epoch,train_mae_meV\n1,7.5\n')
    assert '7.5' in invoke(verdi, 'data', 'hamlr', 'curve', running.pk).output


@pytest.mark.parametrize('kind', ['hamiltonian', 'basis', 'dataset', 'model'])
def test_list_and_show(request, invoke, kind, make_hamiltonian_node):
    """Nodes of each kind can be listed and shown."""
    if kind == 'hamiltonian':
        node = make_hamiltonian_node(gap=1.25)
    elif kind == 'dataset':
        from aiida_hamlr.data.dataset import DatasetData

        node = DatasetData.from_nodes({'train': [make_hamiltonian_node()]}).store()
    else:
        node = request.getfixturevalue(f'{kind}_node')
    result = invoke(verdi, 'data', 'hamlr', 'list', kind)
    assert result.exit_code == 0, result.output
    assert str(node.pk) in [line.split()[0] for line in result.output.splitlines()]
    result = invoke(verdi, 'data', 'hamlr', 'show', node.pk)
    assert result.exit_code == 0, result.output
    assert node.uuid in result.output
    assert 'Al' in result.output


def test_bands_and_dos(invoke, make_hamiltonian_node, structure, tmp_path):
    """Band edges of a Hamiltonian and of stored bands are printed, and both are drawn."""
    from aiida_hamlr.data.electronic_structure import make_bands

    node = make_hamiltonian_node(seed=91)
    bands = make_bands(band_structure(node.open(), mesh=(2, 2, 2), spacing=0.2), structure).store()
    for one in (node, bands):
        result = invoke(verdi, 'data', 'hamlr', 'bands', one.pk, '-o', tmp_path / f'{one.pk}.svg')
        assert result.exit_code == 0, result.output
        assert 'gap' in result.output and (tmp_path / f'{one.pk}.svg').is_file()
    result = invoke(verdi, 'data', 'hamlr', 'dos', node.pk, '-o', tmp_path / 'dos.pdf', '--mesh', 2, 2, 2)
    assert result.exit_code == 0, result.output
    result = invoke(verdi, 'data', 'hamlr', 'bands', structure.pk)
    assert 'neither a Hamiltonian nor bands' in ' '.join(result.output.split())


def test_bands_of_spinors(invoke, spinor_node, make_hamiltonian_node, tmp_path):
    """The edges are those with the spin-orbit part that the file has."""
    result = invoke(verdi, 'data', 'hamlr', 'bands', spinor_node.pk, '-o', tmp_path / 'bands.svg')
    assert result.exit_code == 0, result.output
    found = band_structure(spinor_node.open())
    assert found.electrons_per_band == 1 and edges_in_words(found.attributes) in result.output
    scalar = invoke(verdi, 'data', 'hamlr', 'bands', make_hamiltonian_node(seed=17).pk)
    assert scalar.output.splitlines()[0] != result.output.splitlines()[0]


def test_show_says_what_to_use_instead(invoke, structure, make_finished):
    """Nodes of other plugins and processes have commands of their own."""
    result = invoke(verdi, 'data', 'hamlr', 'show', structure.pk)
    assert result.exit_code == ExitCode.CRITICAL
    assert f'verdi data core.structure show {structure.pk}' in ' '.join(result.output.split())
    job = make_finished('calculations', 'hamlr.train')
    result = invoke(verdi, 'data', 'hamlr', 'show', job.pk)
    assert f'aiida-hamlr status {job.pk}' in ' '.join(result.output.split())


def test_figure_of_a_basis_that_nobody_calculated(invoke, basis_node, tmp_path):
    """Without pseudopotentials there are no bands to draw."""
    result = invoke(verdi, 'data', 'hamlr', 'plot-basis', basis_node.pk, '-o', tmp_path / 'bands.png')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'no pseudopotential of Al, As' in result.output
    assert not (tmp_path / 'bands.png').exists()


def test_empty_list(aiida_profile_clean, invoke):
    """An empty profile has nothing to list."""
    assert 'there are no model nodes' in invoke(verdi, 'data', 'hamlr', 'list', 'model').output
