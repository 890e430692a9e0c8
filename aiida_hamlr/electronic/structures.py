"""Structures to learn from, made of a few given ones: rattled, strained, with a frozen wave, slabs, superlattices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.build import stack, surface
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from aiida_hamlr.electronic.crystals import Cap, capped_slab, match_plane, shift_species

Repeat = tuple[PositiveInt, PositiveInt, PositiveInt]


class _Recipe(BaseModel):
    model_config = ConfigDict(extra='forbid', frozen=True)
    #: Number of structures that one is made of.
    n_sources: ClassVar[int] = 1


class Rattle(_Recipe):
    """Supercells whose atoms are displaced at random, each Cartesian component from a normal distribution."""

    kind: Literal['rattle']
    #: Å
    standard_deviation: PositiveFloat = 0.05
    count: PositiveInt = 1
    repeat: Repeat = (1, 1, 1)

    def make(self, atoms: Atoms, seed: int) -> list[Atoms]:
        """Return ``count`` structures."""
        generator = np.random.default_rng(seed)
        structures = []
        for _ in range(self.count):
            rattled = atoms.repeat(self.repeat)
            rattled.positions += generator.normal(scale=self.standard_deviation, size=rattled.positions.shape)
            structures.append(rattled)
        return structures


class Strain(_Recipe):
    """Cells under random strain without rotation; the components are drawn evenly up to a maximum."""

    kind: Literal['strain']
    maximum: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.02
    count: PositiveInt = 1
    repeat: Repeat = (1, 1, 1)

    def make(self, atoms: Atoms, seed: int) -> list[Atoms]:
        """Return ``count`` structures."""
        generator = np.random.default_rng(seed)
        structures = []
        for _ in range(self.count):
            random = generator.uniform(-self.maximum, self.maximum, (3, 3))
            strained = atoms.repeat(self.repeat)
            strained.set_cell(strained.cell[:] @ (np.eye(3) + (random + random.T) / 2), scale_atoms=True)
            structures.append(strained)
        return structures


class Wave(_Recipe):
    """Frozen waves: one element is displaced by ``amplitude sin(2 pi x / L)`` over the length L of the supercell.

    The potential of a longitudinal wave in a polar crystal grows with amplitude times length; from crest to trough it
    must stay below the band gap, or charge flows.
    """

    kind: Literal['wave']
    element: str
    #: Å; a structure for each
    amplitudes: list[float] = Field(min_length=1)
    #: Cells along the wave.
    cells: PositiveInt
    #: Cell vector along which the wave runs, 0 to 2.
    axis: Literal[0, 1, 2] = 2
    #: Direction of the displacement in Cartesian components; by default along the wave.
    polarization: tuple[float, float, float] | None = None

    def make(self, atoms: Atoms, seed: int) -> list[Atoms]:
        """Return a structure for every amplitude; the seed has no effect."""
        repeat = [1, 1, 1]
        repeat[self.axis] = self.cells
        column = atoms.repeat(repeat)
        moved = np.array(column.get_chemical_symbols()) == self.element
        if not moved.any() or moved.all():
            raise ValueError(f'a wave of {self.element}: only a part of the atoms can move, all or none do')
        phases = 2 * np.pi * column.get_scaled_positions(wrap=False)[:, self.axis]
        direction = np.array(self.polarization or column.cell[self.axis], dtype=float)
        direction /= np.linalg.norm(direction)
        structures = []
        for amplitude in self.amplitudes:
            wave = column.copy()
            wave.positions[moved] += amplitude * np.sin(phases[moved])[:, None] * direction
            structures.append(wave)
        return structures


class Slab(_Recipe):
    """Slabs of a crystal: periodic in the surface, with vacuum along the third cell vector."""

    kind: Literal['slab']
    miller: tuple[int, int, int]
    #: Numbers of layers, as ASE's ``surface`` counts them.
    layers: list[PositiveInt] = Field(min_length=1)
    #: Å between the slab and its image; a structure for every number of layers and every vacuum.
    vacua: list[PositiveFloat] = Field(default=[12.0], min_length=1)
    #: Number of atomic planes moved from the bottom to the top, which changes the termination.
    shift: Annotated[int, Field(ge=0)] = 0

    def make(self, atoms: Atoms, seed: int) -> list[Atoms]:
        """Return a structure for every number of layers and every vacuum; the seed has no effect."""
        structures = []
        for layers in self.layers:
            period = surface(atoms, self.miller, layers, periodic=True)
            for vacuum in self.vacua:
                slab = _shift_planes(period, self.shift)
                slab.center(vacuum=vacuum / 2, axis=2)
                slab.pbc = True
                structures.append(slab)
        return structures


class CappedSlab(_Recipe):
    """Slabs of a crystal whose dangling bonds are saturated by atoms of given species; see `capped_slab`."""

    kind: Literal['capped_slab']
    #: Numbers of layers, of one plane of anions and one of cations each.
    layers: list[PositiveInt] = Field(min_length=1)
    #: Species and bond length (Å) of the cap of each species with dangling bonds.
    caps: dict[str, Cap] = Field(min_length=1)
    #: Å between the outermost atoms of the slab and of its image; a structure for every number of layers and vacuum.
    vacua: list[PositiveFloat] = Field(default=[12.0], min_length=1)

    def make(self, atoms: Atoms, seed: int) -> list[Atoms]:
        """Return a structure for every number of layers and every vacuum; the seed has no effect."""
        return [capped_slab(atoms, layers, vacuum, self.caps) for layers in self.layers for vacuum in self.vacua]


class Shift(_Recipe):
    """Structures in which all atoms of one species are displaced along a cell vector."""

    kind: Literal['shift']
    species: str
    #: Å; a structure for each
    displacements: list[float] = Field(min_length=1)
    axis: Literal[0, 1, 2] = 2

    def make(self, atoms: Atoms, seed: int) -> list[Atoms]:
        """Return a structure for every displacement; the seed has no effect."""
        return [shift_species(atoms, self.species, displacement, self.axis) for displacement in self.displacements]


class Superlattice(_Recipe):
    """Two crystals in turn along one cell vector, on the mean of their in-plane lattices.

    The cells must have the same shape in the plane.
    """

    kind: Literal['superlattice']
    #: Pairs of numbers of cells; a structure for each.
    periods: list[tuple[PositiveInt, PositiveInt]] = Field(min_length=1)
    #: Cell vector along which they are stacked.
    axis: Literal[0, 1, 2] = 2
    #: How much each crystal shrinks along the axis when it grows in the plane, as a ratio of the strains (see
    #: `match_plane`); by default each keeps its volume.
    strain_ratios: tuple[PositiveFloat, PositiveFloat] | None = None
    #: Largest difference of the in-plane cells that is strained away, as a fraction of their longest vector.
    largest_mismatch: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    n_sources: ClassVar[int] = 2

    def make(self, first: Atoms, second: Atoms, seed: int) -> list[Atoms]:
        """Return a structure for every pair of numbers; the seed has no effect."""
        others = [n for n in range(3) if n != self.axis]
        plane = (first.cell[others] + second.cell[others]) / 2
        mismatch = np.abs(first.cell[others] - second.cell[others]).max() / np.linalg.norm(plane, axis=1).max()
        if mismatch > self.largest_mismatch:
            raise ValueError(
                f'the in-plane cells of {first.get_chemical_formula()} and {second.get_chemical_formula()} differ by '
                f'{100 * mismatch:.0f} %; give cells of one shape, or raise `largest_mismatch`'
            )
        ratios = self.strain_ratios or (None, None)
        fitted = [
            match_plane(atoms, plane, self.axis, ratio) for atoms, ratio in zip((first, second), ratios, strict=True)
        ]
        structures = []
        for numbers in self.periods:
            parts = [
                atoms.repeat([n if k == self.axis else 1 for k in range(3)])
                for atoms, n in zip(fitted, numbers, strict=True)
            ]
            lattice = stack(*parts, axis=self.axis, maxstrain=None)
            lattice.pbc = True
            structures.append(lattice)
        return structures


RECIPES = TypeAdapter(
    Annotated[Rattle | Strain | Wave | Shift | Slab | CappedSlab | Superlattice, Field(discriminator='kind')]
)


def make_structures(sources: Sequence[Atoms], recipe: dict, seed: int = 0) -> list[Atoms]:
    """Structures made of given ones.

    Parameters
    ----------
    sources : list of ase.Atoms
        One crystal, or two for a superlattice.
    recipe : dict
        ``kind`` (rattle, strain, wave, shift, slab, capped_slab or superlattice) and the fields of the class of that
        name.
    seed : int
        Of the random displacements and strains.

    Returns
    -------
    list of ase.Atoms
        As many as the recipe says, the same for the same seed.

    Raises
    ------
    ValueError
        If the recipe has an unknown key or an impossible value, or the sources do not fit it.
    """
    return parse_recipe(recipe, len(sources)).make(*sources, seed)


def parse_recipe(recipe: dict, n_sources: int) -> _Recipe:
    """The checked recipe for structures made of ``n_sources`` others; see `make_structures`."""
    try:
        parsed = RECIPES.validate_python(recipe)
    except ValidationError as error:
        first = error.errors()[0]
        place = '.'.join(str(part) for part in first['loc'][1:]) or 'kind'
        raise ValueError(f'recipe for structures: {place}: {first["msg"]}') from error
    if n_sources != parsed.n_sources:
        raise ValueError(f'a {parsed.kind} is made of {parsed.n_sources} structures, not of {n_sources}')
    return parsed


def _shift_planes(atoms: Atoms, n_planes: int, tolerance: float = 0.1) -> Atoms:
    """Move the lowest ``n_planes`` atomic planes up by one period."""
    shifted = atoms.copy()
    for _ in range(n_planes):
        heights = shifted.get_scaled_positions(wrap=False)[:, 2] * np.linalg.norm(shifted.cell[2])
        shifted.positions[heights < heights.min() + tolerance] += shifted.cell[2]
    return shifted
