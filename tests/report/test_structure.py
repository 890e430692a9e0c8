"""What is drawn of a structure."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from aiida_hamlr.report.structure import MOST_ATOMS, structure_figure


def coordinates(trace):
    """Coordinates of a trace; None between lines are left out."""
    return np.array([[trace[axis][n] for axis in 'xyz'] for n in range(len(trace['x'])) if trace['x'][n] is not None])


def test_bonds_of_diamond():
    """Every bond has the length of the crystal, and corners of the cell are occupied."""
    figure = structure_figure(bulk('C', 'diamond', a=3.567, cubic=True).repeat((2, 1, 1)), 'diamond')
    bonds, cell, atoms = figure.content['data']
    ends = coordinates(bonds).reshape(-1, 2, 3)
    assert np.allclose(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1), 3.567 * 3**0.5 / 4, atol=1e-3)
    assert len(coordinates(cell)) == 24
    assert any(np.allclose(point, [7.134, 3.567, 3.567], atol=1e-3) for point in coordinates(atoms))
    # Images have the number of their atom.
    assert max(int(text.split()[1]) for text in atoms['text']) == 15


def test_images_without_a_bond_are_left_out():
    """Corners of an oblique cell of zincblende that have their neighbours outside of the picture."""
    bonds, _, gallium, phosphorus = structure_figure(bulk('GaP', 'zincblende', a=5.4), 'GaP').content['data']
    ends = coordinates(bonds)
    atoms = np.concatenate([coordinates(gallium), coordinates(phosphorus)])
    distances = np.linalg.norm(atoms[:, None] - ends[None], axis=-1).min(axis=1)
    # Four vectors to the neighbours lead from eight P to eight Ga of the cells and twelve on their far faces; of 27
    # corners seven are left out.
    assert (len(coordinates(gallium)), len(coordinates(phosphorus))) == (20, 8)
    assert (distances < 1e-3).all()
    # No bond is as long as the distance of argon atoms: all images stay.
    *_, argon = structure_figure(bulk('Ar', 'fcc', a=5.3), 'Ar').content['data']
    assert len(coordinates(argon)) == 27


def test_molecule_has_no_images():
    """Without periodicity each atom is drawn once, and there is no cell."""
    figure = structure_figure(molecule('H2O'), 'water')
    bonds, *atoms = figure.content['data']
    assert sum(len(trace['x']) for trace in atoms) == 3
    assert len(coordinates(bonds)) == 4


@pytest.mark.parametrize('repeat', [(1, 1, 1), (1, 1, 12), (20, 1, 1)])
def test_the_whole_box_is_in_the_picture(repeat):
    """The axes are in proportion, and the box fits into the scene however it is turned."""
    figure = structure_figure(bulk('C', 'diamond', a=3.567, cubic=True).repeat(repeat), 'diamond')
    scene = figure.content['layout']['scene']
    ratio = np.array([scene['aspectratio'][name] for name in 'xyz'])
    ranges = np.array([scene[f'{name}axis']['range'] for name in 'xyz'])
    for trace in figure.content['data']:
        points = coordinates(trace)
        assert (points > ranges[:, 0]).all() and (points < ranges[:, 1]).all()
    extent = ranges[:, 1] - ranges[:, 0]
    assert np.allclose(ratio / extent, ratio[0] / extent[0])
    # A cube of plotly has a side of 1; a diagonal of 2.2 still fits.
    assert np.linalg.norm(ratio) < 2.0


def test_too_many_atoms():
    """Clouds are not drawn."""
    with pytest.raises(ValueError, match='too many'):
        structure_figure(Atoms('H' * (MOST_ATOMS + 1), np.zeros((MOST_ATOMS + 1, 3))), 'cloud')
