"""Systems of superlattices of two crystals, whose sets have the same periods and seeds at the small scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from _references import LARGER, TEST, TRAIN, VALIDATION
from _structures import displaced, superlattice
from _study import System
from ase import Atoms

#: Seeds of the displacements by part and numbers of cells of both crystals; None is the ideal structure.
Seeds = Mapping[str, Mapping[tuple[int, int], Iterable[int | None]]]

TRIAL: Seeds = {
    TRAIN: {(1, 1): range(4), (1, 0): range(2), (0, 1): range(3)},
    VALIDATION: {(1, 1): [4]},
    TEST: {(1, 1): [5]},
    LARGER: {(2, 2): [None], (3, 3): [None]},
}
SMALL: Seeds = {
    TRAIN: {(1, 1): range(8), (1, 0): range(3), (0, 1): range(3), (2, 2): range(3), (1, 3): [0], (3, 1): [0]},
    VALIDATION: {(1, 1): [8], (2, 2): [3]},
    TEST: {(1, 1): [9], (2, 2): [4]},
    LARGER: {(3, 3): [None, 0]},
}
#: More than twice the superlattices of `small` in the training; its validation and test cells keep their parts.
MEDIUM: Seeds = {
    TRAIN: {
        (1, 1): [*range(8), *range(14, 24)], (1, 0): range(3), (0, 1): range(3),
        (2, 2): [*range(3), *range(7, 14)], (1, 3): [0], (3, 1): [0],
    },
    VALIDATION: {(1, 1): [8], (2, 2): [3]},
    TEST: {(1, 1): [9], (2, 2): [4]},
    LARGER: {(3, 3): [None, 0, 1], (4, 4): [None]},
}  # fmt: skip

#: Standard deviations of the displacements, Å, in turn, and largest strain, of the large scales.
LARGE_DISPLACEMENTS = ((0.03, 0.05, 0.08), 0.02)


def superlattice_system(
    crystals: Sequence[Atoms], strain_ratios: tuple[float, float], rattle: float, full: Seeds, **described
) -> System:
    """System of superlattices, its sizes in cells of a period; the levels of the longest ideal period are drawn.

    Parameters
    ----------
    crystals : sequence of ase.Atoms
        Two cells from `oriented_crystal`.
    strain_ratios : two float
        See `match_plane`.
    rattle : float
        Standard deviation of the displacements in `trial`, `small` and `medium`, Å.
    full : mapping
        Seeds of `full` and `paper`.
    described
        ``name``, ``settings``, ``materials`` and ``margin`` of the system.
    """
    seeds = {'trial': TRIAL, 'small': SMALL, 'medium': MEDIUM, 'full': full, 'paper': full}
    displacements = dict.fromkeys(('trial', 'small', 'medium'), ((rattle,), 0.0)) | dict.fromkeys(
        ('full', 'paper'), LARGE_DISPLACEMENTS
    )

    def structures(scale: str) -> dict[str, dict[str, Atoms]]:
        return {
            part: {
                _label(numbers, seed): _one(crystals, strain_ratios, numbers, seed, displacements[scale])
                for numbers, chosen in sizes.items()
                for seed in chosen
            }
            for part, sizes in seeds[scale].items()
        }

    drawn = {scale: _label(max(parts[LARGER], key=sum), None) for scale, parts in seeds.items()}
    return System(size='Cells in a period', structures=structures, drawn=drawn, **described)


def _one(crystals, strain_ratios, numbers: tuple[int, int], seed: int | None, displacements) -> Atoms:
    atoms = displaced(superlattice(crystals, strain_ratios, numbers), seed, *displacements)
    atoms.info['size'] = sum(numbers)
    return atoms


def _label(numbers: tuple[int, int], seed: int | None) -> str:
    return f'n{numbers[0]}{numbers[1]}_' + ('ideal' if seed is None else f'r{seed:03d}')
