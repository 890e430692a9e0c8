"""A structure that the reader can turn: atoms, bonds and the cell."""

from __future__ import annotations

from html import escape
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from ase.neighborlist import neighbor_list

from aiida_hamlr.electronic.geometry import periodic_directions
from aiida_hamlr.report.page import Figure

__all__ = ('MOST_ATOMS', 'structure_figure')

#: Larger structures are not drawn: the browser would be slow, the picture a cloud.
MOST_ATOMS = 2000

#: Cells of at most this many atoms are repeated along periodic directions, so that bonds can be seen.
_SMALL = 8

#: Atoms are bonded up to this multiple of the sum of their covalent radii.
_BOND = 1.2

#: Atoms this close to a face of the cell (fraction of the cell) are drawn on the opposite face too.
_FACE = 0.02

#: Diagonal of the drawn box in units of the scene of plotly: such a box stays inside of the picture when it is turned.
_DIAGONAL = 1.9

#: Size of a marker in pixels for an atom of 1.2 Å: this number over the diagonal of the box in Å, within bounds.
_MARKER, _MARKERS = 210.0, (4.0, 16.0)


def structure_figure(atoms: Atoms, caption: str) -> Figure:
    """Atoms of a cell, those on its faces repeated, with bonds inside of the picture.

    Raises
    ------
    ValueError
        If there are more than `MOST_ATOMS` atoms.
    """
    if len(atoms) > MOST_ATOMS:
        raise ValueError(f'{len(atoms)} atoms are too many to draw')
    shown, origin = _with_faces(atoms)
    traces = [_bonds(shown)]
    if atoms.cell.rank == 3:
        traces.append(_cell(atoms))
    extent, scene = _scene(shown, atoms)
    size = float(np.clip(_MARKER / np.linalg.norm(extent), *_MARKERS))
    for symbol in dict.fromkeys(shown.get_chemical_symbols()):
        chosen = [index for index, atom in enumerate(shown) if atom.symbol == symbol]
        number = shown.numbers[chosen[0]]
        colour = 'rgb({},{},{})'.format(*np.round(255 * jmol_colors[number]).astype(int))
        x, y, z = np.round(shown.positions[chosen], 4).T.tolist()
        traces.append(
            {
                'type': 'scatter3d',
                'mode': 'markers',
                'name': escape(symbol),
                'x': x,
                'y': y,
                'z': z,
                'text': [f'{escape(symbol)} {origin[index]}' for index in chosen],
                'hovertemplate': '%{text}<br>%{x:.3f}, %{y:.3f}, %{z:.3f} Å<extra></extra>',
                'marker': {
                    'size': size * covalent_radii[number] / 1.2,
                    'color': colour,
                    'line': {'color': '#444', 'width': 1},
                },
            }
        )
    margin = {'l': 0, 'r': 0, 't': 10, 'b': 0}
    return Figure(
        {'data': traces, 'layout': {'scene': scene, 'margin': margin, 'legend': {'orientation': 'h', 'y': 1.0}}},
        caption,
    )


def _scene(shown: Atoms, atoms: Atoms) -> tuple[np.ndarray, dict]:
    """Box of what is drawn, Å, and how it is looked at: the axes in proportion, and nothing of a tall cell cut."""
    corners = np.array(list(product((0, 1), repeat=3))) @ atoms.cell.array
    points = np.concatenate([shown.positions, corners]) if atoms.cell.rank == 3 else shown.positions
    lowest, highest = points.min(axis=0) - 0.5, points.max(axis=0) + 0.5
    extent = highest - lowest
    ratio = _DIAGONAL * extent / np.linalg.norm(extent)
    scene = {
        f'{name}axis': {'visible': False, 'showbackground': False, 'range': [low, high]}
        for name, low, high in zip('xyz', lowest.tolist(), highest.tolist(), strict=True)
    }
    scene |= {'aspectmode': 'manual', 'aspectratio': dict(zip('xyz', ratio.tolist(), strict=True)), 'dragmode': 'orbit'}
    scene['camera'] = {'projection': {'type': 'orthographic'}, 'eye': {'x': 0.95, 'y': -1.2, 'z': 0.5}}
    return extent, scene


def _with_faces(atoms: Atoms) -> tuple[Atoms, list[int]]:
    """Atoms inside of the cell and images of those on its faces; and which atom each is, from 0."""
    if not atoms.pbc.any() or atoms.cell.rank < 3:
        return atoms.copy(), list(range(len(atoms)))
    n_atoms, directions = len(atoms), periodic_directions(atoms).tolist()
    repeated = n_atoms <= _SMALL
    if repeated:
        atoms = atoms.repeat([2 if periodic else 1 for periodic in directions])
    wrapped = atoms.copy()
    wrapped.wrap(eps=1e-3)
    fractions = wrapped.get_scaled_positions(wrap=False)
    positions, numbers, origin, inside = [], [], [], []
    for index, fraction in enumerate(fractions):
        choices = [_images(value) if periodic else (0,) for value, periodic in zip(fraction, directions, strict=True)]
        for shift in product(*choices):
            positions.append((fraction + shift) @ atoms.cell.array)
            numbers.append(wrapped.numbers[index])
            origin.append(index % n_atoms)
            inside.append(not any(shift))
    shown = Atoms(numbers, positions)
    return _without_lonely(shown, origin, np.array(inside)) if repeated else (shown, origin)


def _without_lonely(shown: Atoms, origin: list[int], inside: np.ndarray) -> tuple[Atoms, list[int]]:
    """Leave out images without a bond: atoms at corners of several oblique cells have their neighbours elsewhere.

    Without any bond, as in a noble gas, all images stay.
    """
    bonded = np.isin(np.arange(len(shown)), _neighbours(shown)[0])
    kept = np.flatnonzero(inside | bonded) if bonded.any() else np.arange(len(shown))
    return shown[kept], [origin[index] for index in kept]


def _images(fraction: float) -> tuple[int, ...]:
    """Shifts of the images of an atom that lie on faces of the cell."""
    if fraction < _FACE:
        return (0, 1)
    return (0, -1) if fraction > 1 - _FACE else (0,)


def _neighbours(shown: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of every bond, in both directions."""
    return neighbor_list('ij', shown, list(_BOND * covalent_radii[shown.numbers]))


def _bonds(shown: Atoms) -> dict:
    """Lines between neighbours, all in one trace."""
    first, second = _neighbours(shown)
    ends = shown.positions
    x, y, z = [], [], []
    for i, j in zip(first, second, strict=True):
        if i < j:
            for axis, values in enumerate((x, y, z)):
                values += [round(float(ends[i, axis]), 4), round(float(ends[j, axis]), 4), None]
    return _line_trace(x, y, z, {'color': '#8a8f96', 'width': 6})


def _cell(atoms: Atoms) -> dict:
    """Edges of the cell."""
    x, y, z = [], [], []
    for corner in product((0, 1), repeat=3):
        for axis in range(3):
            if corner[axis] == 0:
                start = np.array(corner) @ atoms.cell.array
                stop = start + atoms.cell.array[axis]
                for values, a, b in zip((x, y, z), start, stop, strict=True):
                    values += [round(float(a), 4), round(float(b), 4), None]
    return _line_trace(x, y, z, {'color': '#0072B2', 'width': 2})


def _line_trace(x: list, y: list, z: list, line: dict) -> dict:
    trace = {'type': 'scatter3d', 'mode': 'lines', 'x': x, 'y': y, 'z': z, 'line': line}
    return trace | {'hoverinfo': 'skip', 'showlegend': False}
