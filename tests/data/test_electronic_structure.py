"""Bands and densities of states as nodes, and back."""

import numpy as np
import pytest
from aiida import orm
from aiida.cmdline.commands.cmd_data.cmd_bands import bands_show
from click.testing import CliRunner

from aiida_hamlr.data.electronic_structure import make_bands, make_dos, read_bands, read_dos
from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties


@pytest.fixture
def found(make_hamiltonian, zincblende):
    """Return bands and density of states of a crystal whose path has a jump."""
    return compute_properties(make_hamiltonian(zincblende()), ('bands', 'dos'), PropertyOptions((2, 2, 2), spacing=0.1))


def test_bands(found, structure):
    """Labels, energies and edges are those that were stored; the path has the same length, with its jump."""
    bands = read_bands(make_bands(found.bands, structure))
    assert np.allclose(bands.eigenvalues, found.bands.eigenvalues)
    assert bands.labels == found.bands.labels
    jumps = np.count_nonzero(np.diff(found.bands.distances) == 0)
    assert jumps >= 1 and np.count_nonzero(np.diff(bands.distances) == 0) == jumps
    assert bands.distances[-1] == pytest.approx(found.bands.distances[-1], rel=1e-6)
    attributes = found.bands.attributes
    # Edges on the path are at most as extreme as those of path and mesh together.
    assert bands.attributes.gap == attributes.gap
    assert bands.attributes.vbm <= attributes.vbm + 1e-9


def test_bands_are_shown(found, structure, tmp_path, monkeypatch):
    """`verdi data core.bands show` hands the viewer a file with every level; the viewer here keeps the file."""
    viewer = tmp_path / 'xmgrace'
    viewer.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/shown.agr\n')
    viewer.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    node = make_bands(found.bands, structure).store()
    result = CliRunner().invoke(bands_show, [str(node.pk)])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in (tmp_path / 'shown.agr').read_text().splitlines()]
    levels = [float(words[1]) for words in lines if len(words) == 2 and words[0][0] in '0123456789']
    assert np.allclose(np.sort(levels), np.sort(found.bands.eigenvalues.ravel()), atol=1e-6)


def test_bands_that_cannot_be_drawn(found):
    """A mesh has no path, and energies in other units are named."""
    node = orm.BandsData()
    node.set_kpoints([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    node.set_bands(np.zeros((2, 3)), units='Ry')
    with pytest.raises(ValueError, match='in Ry'):
        read_bands(node)
    node.set_bands(np.zeros((2, 3)), units='eV')
    with pytest.raises(ValueError, match='no labels'):
        read_bands(node)


def test_dos(found):
    """The density of states is the one that was stored."""
    properties = read_dos(make_dos(found.properties))
    assert np.allclose(properties.dos, found.properties.dos)
    assert np.allclose(properties.dos_energies, found.properties.dos_energies)
    assert properties.attributes['fermi_level_eV'] == found.properties.attributes['fermi_level_eV']
    assert properties.attributes['gap_eV'] == found.scalars['gap_eV']
    assert properties.attributes['vbm_eV'] == pytest.approx(found.scalars['vbm_eV'], abs=1e-9)
    node = orm.XyData()
    node.set_x(np.zeros(2), 'length', 'm')
    node.set_y(np.zeros(2), 'dos', 'states/eV')
    with pytest.raises(ValueError, match='length in m'):
        read_dos(node)
