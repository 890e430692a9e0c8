"""Pictures of a study: errors over the size, and levels across one structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.bands.levels import potential_profile
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.plotting.levels import plot_levels
from aiida_hamlr.plotting.style import COLOURS, GREY, drawing

#: Errors that are drawn, and the titles of their panels.
DRAWN_ERRORS = {'mae_meV': 'All elements', 'mae_onsite_meV': 'On-site elements'}

#: Colour and marker by variant: of those in both pictures as in `plot_levels`.
_STYLES = {
    'sr': (COLOURS[1], '^'),
    'ea': (COLOURS[4], 'v'),
    'lr': (COLOURS[2], 'o'),
    'lr+ea': (COLOURS[0], 'x'),
    'response': (COLOURS[3], 's'),
    'dipoles': (COLOURS[5], '*'),
    'near': (COLOURS[6], 'd'),
    'near+field': (COLOURS[2], '<'),
    'near+dipoles': (COLOURS[4], '>'),
    'DeePTB': (GREY, 'D'),
    'DeePTB on H': (GREY, 'P'),
}


def draw_sizes(errors: Mapping, sizes: Mapping[str, int], trained: int, size_label: str, path: Path) -> Path:
    """Mean absolute errors over the size of the structures, one line for each variant.

    Parameters
    ----------
    errors : mapping
        Variant, seed, label of the structure, and its errors.
    sizes : mapping of str to int
        By label.
    trained : int
        Largest size of the training.
    size_label : str
        Of the horizontal axis.
    path : path
        PNG, SVG or PDF file.
    """
    with drawing(path, 8.0, 3.6) as figure:
        panels = figure.subplots(1, len(DRAWN_ERRORS), sharex=True)
        for axes, (key, title) in zip(panels, DRAWN_ERRORS.items(), strict=True):
            for variant, seeds in errors.items():
                colour, marker = _STYLES[variant]
                values: dict[int, list[float]] = {}
                for found in seeds.values():
                    for label, one in found.items():
                        values.setdefault(sizes[label], []).append(one[key])
                points = sorted((size, np.mean(entry)) for size, entry in values.items())
                axes.plot(*zip(*points, strict=True), marker=marker, markersize=5, color=colour, label=variant)
            axes.axvline(trained + 0.5, color=GREY, linewidth=0.8, linestyle='--')
            axes.annotate(
                'beyond training', (trained + 0.5, 1.0), (4, -2), ('data', 'axes fraction'), 'offset points', va='top',
                color=GREY, fontsize=8.5,
            )  # fmt: skip
            axes.set_yscale('log')
            # Room for the annotation.
            axes.set_ylim(top=1.3 * axes.get_ylim()[1])
            axes.yaxis.set_major_formatter('{x:g}')
            axes.yaxis.set_minor_formatter('{x:g}')
            axes.yaxis.get_minor_locator().set_params(subs=(2.0, 5.0))
            axes.set_xticks(sorted({sizes[label] for label in next(iter(next(iter(errors.values())).values()))}))
            axes.set_title(title, loc='left')
            axes.set_xlabel(size_label)
        panels[0].set_ylabel('Mean absolute error (meV)')
        figure.legend(*panels[0].get_legend_handles_labels(), loc='outside upper center', ncols=len(errors))
    return Path(path)


def draw_levels(nodes: Mapping, materials: Sequence[Sequence[str]], path: Path) -> Path:
    """Potential at the atoms of one structure, of DFT and of networks, and the errors of the networks.

    Parameters
    ----------
    nodes : mapping of str to HamiltonianData
        'DFT' first. Capping atoms are left out.
    materials : sequence of sequences of str
        Species of each material; those in the same place share a panel.
    path : path
        PNG, SVG or PDF file.
    """
    hamiltonians = {name: node.open(('hamiltonian', 'h0')) for name, node in nodes.items()}
    atoms = hamiltonians['DFT'].atoms
    symbols = np.array(atoms.get_chemical_symbols())
    chosen = np.array(species_labels(atoms)) == symbols
    levels = {name: potential_profile(one)[chosen] for name, one in hamiltonians.items()}
    panels = {symbol: ', '.join(alike) for alike in zip(*materials, strict=True) for symbol in alike}
    titles = [panels.get(symbol, symbol) for symbol in symbols[chosen]]
    return plot_levels(atoms.positions[chosen, 2], levels, path, titles, reference='DFT')
