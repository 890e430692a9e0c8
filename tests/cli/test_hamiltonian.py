"""`aiida-hamlr hamiltonian`."""

import numpy as np
import pytest
from aiida.cmdline.utils.echo import ExitCode

from aiida_hamlr.calculations.functions.compare import find_errors
from aiida_hamlr.cli.hamiltonian import cmd_hamiltonian, draw_bands, draw_dos
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.bands.mesh import solve_mesh
from aiida_hamlr.electronic.bands.spin import magnetic_moments
from aiida_hamlr.model.evaluation import band_errors


@pytest.fixture
def pair(make_hamiltonian, zincblende):
    """Return a reference and a prediction whose on-site block of the first atom is wrong by 10 meV."""
    reference = make_hamiltonian(zincblende())
    predicted = make_hamiltonian(zincblende())
    block = predicted.pattern.onsite[0]
    start = predicted.pattern.chunk_boundaries[block]
    entries = predicted.matrices['hamiltonian'].copy()
    entries[start] += 0.010
    predicted.matrices['hamiltonian'] = entries
    return [HamiltonianData.from_hamiltonian(one).store() for one in (predicted, reference)]


def test_list_and_show(invoke, pair):
    """The newest are listed; other nodes are refused with the command for them."""
    result = invoke(cmd_hamiltonian, 'list', '-l', 2)
    assert {line.split()[0] for line in result.output.splitlines()[2:]} == {str(node.pk) for node in pair}
    shown = [line.split(maxsplit=1) for line in invoke(cmd_hamiltonian, 'show', pair[0].pk).output.splitlines()]
    assert ['uuid', pair[0].uuid] in shown
    assert min(map(len, shown)) == 2, 'rows without values'


def test_compare(invoke, pair, make_hamiltonian, zincblende):
    """The errors are those of the elements that differ, in meV, with those to quote first."""
    result = invoke(cmd_hamiltonian, 'compare', *(node.pk for node in pair))
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1] for line in result.output.splitlines() if '_meV' in line}
    assert list(rows)[0] == 'mae_onsite_meV'
    # One element is wrong by 10 meV; a constant times S, fitted by least squares, takes a part of it.
    predicted, reference = (node.open() for node in pair)
    error, overlap = predicted.hamiltonian - reference.hamiltonian, reference.overlap
    error -= (error @ overlap) / (overlap @ overlap) * overlap
    bounds = reference.pattern.chunk_boundaries
    onsite = np.concatenate([error[bounds[block] : bounds[block + 1]] for block in reference.pattern.onsite])
    assert float(rows['mae_onsite_meV']) == pytest.approx(1e3 * np.abs(onsite).mean(), rel=1e-3)
    other = HamiltonianData.from_hamiltonian(make_hamiltonian(zincblende(cubic=True))).store()
    result = invoke(cmd_hamiltonian, 'compare', pair[0].pk, other.pk)
    assert result.exit_code == ExitCode.CRITICAL and 'different atom pairs' in ' '.join(result.output.split())


def test_compare_spinors(spinor_node, make_hamiltonian_node):
    """Bands of spinors where both have them, else those without the coupling."""
    shifted = spinor_node.open()
    shifted.matrices['hamiltonian'] = 1.01 * shifted.hamiltonian
    scaled, scalar = HamiltonianData.from_hamiltonian(shifted).store(), make_hamiltonian_node(seed=17)
    spinors, scalars = find_errors(scaled, spinor_node), find_errors(scaled, scalar)
    assert band_errors(shifted, spinor_node.open()).items() <= spinors.items()
    assert scalars['band_mae_occupied_meV'] != spinors['band_mae_occupied_meV']
    assert find_errors(spinor_node, scalar)['band_mae_occupied_meV'] == 0


@pytest.fixture
def magnet(make_hamiltonian, zincblende):
    """Return a reference whose spins differ by tenths of an eV on one atom, with its moments."""
    hamiltonian = make_hamiltonian(zincblende())
    half = np.zeros(hamiltonian.pattern.n_entries)
    block = hamiltonian.pattern.onsite[0]
    start, end = hamiltonian.pattern.chunk_boundaries[block : block + 2]
    half[start:end] = np.diag(np.linspace(0.5, 2.0, round((end - start) ** 0.5))).ravel()
    hamiltonian.matrices['hamiltonian'] = hamiltonian.hamiltonian + np.stack([-half, half])
    hamiltonian.attributes.n_spin = 2
    hamiltonian.attributes.kpoints = [2, 2, 2]
    moments = magnetic_moments(hamiltonian, solve_mesh(hamiltonian, (2, 2, 2)).density_matrix)
    hamiltonian.attributes.magnetic_moments, hamiltonian.attributes.magnetization = moments.tolist(), moments.sum()
    hamiltonian.attributes.warnings = ['a sentence that is much longer than a line of a table ' * 3, 'and another one']
    return HamiltonianData.from_hamiltonian(hamiltonian).store()


def test_compare_magnets(invoke, magnet):
    """Moments are compared; a prediction without magnetization has the same H for both spins, and no moments."""
    reference = magnet.open()
    known = np.array(reference.attributes.magnetic_moments)
    assert np.abs(known).max() > 0.01
    same = find_errors(magnet, magnet)
    assert same['moment_largest_error_muB'] < 1e-9 and same['mae_spin_difference_meV'] == 0
    reference.matrices['hamiltonian'] = reference.hamiltonian.mean(axis=0)
    reference.attributes.n_spin, reference.attributes.magnetic_moments = 1, None
    plain = HamiltonianData.from_hamiltonian(reference).store()
    errors = find_errors(plain, magnet)
    assert errors['moment_mae_muB'] == pytest.approx(np.abs(known).mean(), abs=1e-9)
    up, down = magnet.open().hamiltonian
    assert errors['mae_spin_difference_meV'] == pytest.approx(1e3 * np.abs(up - down).mean())
    assert errors['mae_spin_up_meV'] == pytest.approx(errors['mae_spin_down_meV'])
    assert 'moment_mae_muB' not in find_errors(magnet, plain)
    result = invoke(cmd_hamiltonian, 'compare', plain.pk, magnet.pk)
    assert result.exit_code == 0 and 'moment_largest_error_muB' in result.output, result.output


def test_show_a_magnet(invoke, magnet):
    """Moments of the atoms are shown, and warnings to their end."""
    output = ' '.join(invoke(cmd_hamiltonian, 'show', magnet.pk).output.split())
    assert 'magnetic_moments' in output and output.count('a line of a table') == 3 and 'and another one' in output


def test_plot_of_spinors(spinor_node, monkeypatch, tmp_path):
    """Bands and density of states are drawn with the spin-orbit part of the file."""
    drawn = {}
    monkeypatch.setattr('aiida_hamlr.plotting.bands.plot_bands', lambda sets, *_: drawn.update(bands=sets[0]))
    monkeypatch.setattr('aiida_hamlr.plotting.properties.plot_dos', lambda found, *_: drawn.update(dos=found))
    draw_bands({'': spinor_node}, tmp_path / 'bands.png')
    draw_dos({'': spinor_node}, tmp_path / 'dos.png', mesh=(2, 2, 2))
    assert drawn['bands'].electrons_per_band == 1
    options = PropertyOptions(kpoints=(2, 2, 2))
    expected = compute_properties(spinor_node.open(), ('dos',), options).properties
    np.testing.assert_allclose(drawn['dos'].dos, expected.dos, atol=1e-9)


@pytest.mark.parametrize('kind', ['bands', 'dos', 'fat-bands'])
def test_plot(invoke, pair, tmp_path, kind):
    """Figures of each kind, with the reference over bands and density of states."""
    path = tmp_path / f'{kind}.svg'
    reference = [] if kind == 'fat-bands' else ['--reference', pair[1].pk]
    options = ['--kind', kind, '--mesh', 2, 2, 2, '--window', -4, 4, '--zero', 'fermi']
    result = invoke(cmd_hamiltonian, 'plot', pair[0].pk, *options, *reference, '-o', path)
    assert result.exit_code == 0, result.output
    assert path.read_text().count('<path') > 10


def test_zero_that_is_not_known(invoke, pair, tmp_path):
    """An error of one line that says what to do."""
    result = invoke(cmd_hamiltonian, 'plot', pair[0].pk, '--zero', 'vacuum', '-o', tmp_path / 'bands.png')
    assert result.exit_code == ExitCode.CRITICAL
    assert 'the vacuum level is known only' in ' '.join(result.output.split())
