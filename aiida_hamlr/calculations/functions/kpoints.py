"""Meshes of k-points."""

from __future__ import annotations

from aiida.engine import calcfunction
from aiida.orm import KpointsData, List

__all__ = ('shift_mesh',)


@calcfunction
def shift_mesh(mesh: KpointsData, offset: List) -> KpointsData:
    """Return the mesh with another offset.

    :param mesh: a mesh; its present offset is ignored.
    :param offset: 0 or 0.5 steps along each axis.
    """
    shifted = KpointsData()
    shifted.set_kpoints_mesh(mesh.get_kpoints_mesh()[0], offset=offset.get_list())
    return shifted
