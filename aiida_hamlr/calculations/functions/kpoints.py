"""Meshes of k-points."""

from __future__ import annotations

from aiida.engine import calcfunction
from aiida.orm import KpointsData, List

__all__ = ('even_mesh', 'shift_mesh')


@calcfunction
def even_mesh(mesh: KpointsData) -> KpointsData:
    """Return the mesh with an even number of points along each axis that has more than one.

    A single point belongs to a long axis, often the vacuum of a slab: a second one would double the cost in vain.

    :param mesh: a mesh that includes Gamma.
    """
    even = KpointsData()
    even.set_kpoints_mesh([n if n == 1 else n + n % 2 for n in mesh.get_kpoints_mesh()[0]])
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
