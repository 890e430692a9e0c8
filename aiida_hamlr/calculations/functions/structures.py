"""Make structures from other structures or from a trajectory, and keep their provenance."""

from __future__ import annotations

from aiida.engine import calcfunction
from aiida.orm import Dict, Int, StructureData, TrajectoryData

from aiida_hamlr.data.structures import get_atoms, get_frame, structure_from_atoms
from aiida_hamlr.electronic.structures import make_structures

__all__ = ('create_structures', 'extract_frames')


@calcfunction
def create_structures(recipe: Dict, seed: Int, **sources: StructureData) -> dict[str, StructureData]:
    """Return the structures that a recipe makes from given ones; the labels are numbers.

    :param recipe: see :func:`~aiida_hamlr.electronic.structures.make_structures`.
    :param seed: seed of random displacements and strains.
    :param sources: the given structures, in the order of their labels.
    """
    made = make_structures([get_atoms(sources[label]) for label in sorted(sources)], recipe.get_dict(), seed.value)
    return {f'n{index:04d}': structure_from_atoms(atoms) for index, atoms in enumerate(made)}


@calcfunction
def extract_frames(trajectory: TrajectoryData) -> dict[str, StructureData]:
    """Return the structures of a trajectory; the labels are numbers."""
    return {f'n{index:04d}': get_frame(trajectory, index) for index in range(trajectory.numsteps)}
