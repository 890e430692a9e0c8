"""Draw the diagrams of the documentation with graphviz: `python docs/draw_diagrams.py` writes docs/images/*.png.

The arrows between the folders of the package are read from its imports.
"""

from __future__ import annotations

import ast
import subprocess
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / 'docs/images'

#: Folders from the ground up, the rooms of each, and what it is for.
FOLDERS = {
    'electronic': 'orbitals, integrals, Hamiltonians, bands',
    'io': 'files of other programs',
    'model': 'network, training, prediction',
    'plotting': 'figures',
    'jobs': 'the executable hamlr',
    'data': 'nodes',
    'calculations': 'jobs as processes',
    'parsers': 'results to nodes',
    'monitors': 'watch running jobs',
    'workflows': 'work chains, protocols',
    'report': 'pages about results',
    'cli': 'aiida-hamlr, verdi data hamlr',
}
ROOMS = {
    'electronic': ('pseudo', 'orbitals', 'matrices', 'integrals', 'bands', 'reference', 'contraction'),
    'model': ('irreps', 'long_range', 'network', 'training', 'inference'),
}
AIIDA = ('data', 'calculations', 'parsers', 'monitors', 'workflows', 'report', 'cli')

STYLE = """
graph [fontname="DejaVu Sans", fontsize=12, nodesep=0.25, ranksep=0.42]
node [fontname="DejaVu Sans", fontsize=11, shape=box, style="filled,rounded", color="#5b6770", penwidth=0.8]
edge [fontname="DejaVu Sans", fontsize=10, color="#5b6770", arrowsize=0.7]
"""
GROUND, LEARNED, LONG, TOP = '#dce9f5', '#e3f1dc', '#fbe6cf', '#eee6f5'


def imported_folders(folder: str) -> set[str]:
    """Folders of the package that the modules of one folder import."""
    found = set()
    for path in (ROOT / 'aiida_hamlr' / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('aiida_hamlr.'):
                found.add(node.module.split('.')[1])
    return found & set(FOLDERS) - {folder}


def reduced(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Arrows without those that follow from a longer path."""

    def reached(start):
        return set().union(*(arrows[end] | reached(end) for end in arrows[start]))

    return {
        start: {end for end in ends if not any(end in reached(other) | arrows[other] for other in ends - {end})}
        for start, ends in arrows.items()
    }


def package() -> str:
    """Folders and what they import, as a graph."""
    lines = ['digraph package {', STYLE, 'rankdir=BT']
    for folder, text in FOLDERS.items():
        rooms = ' &middot; '.join(ROOMS.get(folder, ()))
        rooms = f'<br/><font point-size="9" color="#444444">{rooms}</font>' if rooms else ''
        colour = TOP if folder in AIIDA else GROUND if folder in ('electronic', 'io') else LEARNED
        label = f'<<b>{folder}</b><br/>{text}{rooms}>'
        lines.append(f'{folder} [label={label}, fillcolor="{colour}"]')
    lines.append(
        'subgraph cluster_aiida {label="need AiiDA"; style="rounded,dashed"; color="#8a7aa0"; labeljust=l; labelloc=b;'
    )
    lines += [*AIIDA, '}']
    lines.append('subgraph cluster_node {label="run on a compute node without AiiDA"; style="rounded,dashed";')
    lines += ['color="#7a93a8"; labeljust=l; labelloc=b;', *(folder for folder in FOLDERS if folder not in AIIDA), '}']
    arrows = reduced({folder: imported_folders(folder) for folder in FOLDERS})
    lines += [f'{end} -> {start} [dir=back]' for start, ends in arrows.items() for end in sorted(ends)]
    return '\n'.join([*lines, '}'])


def network() -> str:
    """The dual-channel network, as a graph."""
    boxes = {
        'structure': ('structure', 'white'),
        'h0': ('<b>S, H₀</b><br/>overlap, superposed neutral atoms<br/>(no DFT run)', GROUND),
        'bonds': ('graph<br/>atoms, bonds up to the cutoff', GROUND),
        'layers': ('<b>short range</b>: equivariant layers<br/>messages in the frame of each bond', LEARNED),
        'attention': ('<b>attention</b> in reciprocal space<br/>between all atoms (variants ea, lr+ea)', LEARNED),
        'heads': ('on-site and pair heads<br/>irreducible components of blocks', LEARNED),
        'charges': ('<b>long range</b>: charges of the atoms,<br/>passed along bonds and neutral in sum', LONG),
        'ewald': ('potentials and fields<br/>Ewald sum or particle mesh', LONG),
        'blocks': ('<b>H<sub>LR</sub></b> = &minus; S<sub>ij</sub> (V<sub>i</sub> + V<sub>j</sub>) / 2 + fields', LONG),
        'short': ('<b>&Delta;H<sub>SR</sub></b>: short-range blocks', LEARNED),
        'sum': ('<b>H = H₀ + &Delta;H<sub>SR</sub> + H<sub>LR</sub></b>', 'white'),
        'results': ('bands, gap, density of states, charges', 'white'),
    }
    lines = ['digraph network {', STYLE]
    lines += [f'{name} [label=<{text}>, fillcolor="{colour}"]' for name, (text, colour) in boxes.items()]
    paths = [
        ('structure', 'bonds', 'layers', 'heads', 'short', 'sum', 'results'),
        ('structure', 'h0', 'sum'),
        ('layers', 'charges', 'ewald', 'blocks', 'sum'),
        ('h0', 'blocks'),
    ]
    lines += [f'{start} -> {end}' for path in paths for start, end in pairwise(path)]
    lines += ['layers -> attention [dir=both, constraint=true]', '{rank=same; h0; bonds}', '{rank=same; short; blocks}']
    return '\n'.join([*lines, '}'])


def main():
    """Write both pictures."""
    for draw in (package, network):
        command = ['dot', '-Tpng', '-Gdpi=130', '-o', IMAGES / f'{draw.__name__}.png']
        subprocess.run(command, input=draw(), text=True, check=True)


if __name__ == '__main__':
    main()
