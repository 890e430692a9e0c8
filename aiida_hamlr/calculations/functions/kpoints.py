"""Meshes of k-points."""

from __future__ import annotations

import numpy as np
from aiida.engine import calcfunction
from aiida.orm import KpointsData, List, StructureData

from aiida_hamlr.data.structures import get_atoms
from aiida_hamlr.electronic.geometry import periodic_directions

__all__ = ('even_mesh', 'shift_mesh')


@calcfunction
def even_mesh(mesh: KpointsData, structure: StructureData) -> KpointsData:
    """Return the mesh with an even number of points along each axis that has more than one, and one across a vacuum.

    A single point belongs to a long axis, often the vacuum of a slab: a second one would double the cost in vain.

    :param mesh: a mesh that includes Gamma.
    :param structure: what it is made for.
    """
    numbers = np.where(periodic_directions(get_atoms(structure)), mesh.get_kpoints_mesh()[0], 1).tolist()
    even = KpointsData()
    even.set_kpoints_mesh([n if n == 1 else n + n % 2 for n in numbers])
    return even


@calcfunction
def shift_mesh(mesh: KpointsData, offset: List) -> KpointsData:
    """Return the mesh with another offset.

    :param mesh: a mesh; its present offset is ignored.
    :param offset: 0 or 0.5 steps along each axis.
    """
    shifted = KpointsData()
    shifted.set_kpoints_mesh(mesh.get_kpoints_mesh()[0], offset=offset.get_list())
    return shifted
