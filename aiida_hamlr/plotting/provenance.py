"""Where a node comes from, as a figure or as text."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

#: Inputs that everything has and that say nothing about where a number comes from.
_HIDDEN = ('InstalledCode', 'ContainerizedCode', 'PortableCode', 'Dict', 'Int', 'Float', 'Bool', 'Str', 'KpointsData')

#: Colour, shape and meaning of the boxes, for a legend.
LEGEND = (
    ('#7fa8d9', 'ellipse', 'the result'),
    ('#8cd499', 'ellipse', 'data'),
    ('#de707f', 'box', 'calculation'),
    ('#e8a33d', 'box', 'calculation of Quantum ESPRESSO'),
)

#: Graphs of more nodes take minutes of queries.
MOST_NODES = 5000

_COLOURS = {'process': '#de707f', 'quantumespresso': '#e8a33d', 'data': '#8cd499', 'target': '#7fa8d9'}


@dataclass
class Box:
    """Nodes of one kind with one kind of origin."""

    name: str
    colour: str
    is_process: bool
    pks: list[int] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Name, and how many nodes there are or which."""
        return f'{self.name}<{self.pks[0]}>' if len(self.pks) == 1 else f'{len(self.pks)} × {self.name}'


@dataclass
class ProvenanceGraph:
    """The ancestors of a node, those of one kind and origin taken together.

    Parameters
    ----------
    boxes : dict of key to Box
    edges : set of (key, key)
        From cause to effect.
    """

    boxes: dict[tuple, Box]
    edges: set[tuple[tuple, tuple]]

    @classmethod
    def of(cls, node) -> ProvenanceGraph:
        """Follow the inputs of calculations and their creators, back to what nobody calculated.

        Parameters
        ----------
        node : aiida.orm.Data
            Its ancestors are drawn.

        Raises
        ------
        ValueError
            If there are more than `MOST_NODES` of them.
        """
        from aiida.common.links import LinkType

        boxes: dict[tuple, Box] = {}
        edges: set[tuple[tuple, tuple]] = set()
        keys: dict[int, tuple] = {}

        pending: list = []

        def visit(current, effect: tuple = ()) -> tuple:
            """Sort a node into its box and return the box's key; its causes follow later."""
            if current.pk not in keys:
                key, box = _sort(current, effect)
                keys[current.pk] = key
                boxes.setdefault(key, box).pks.append(current.pk)
                pending.append(current)
            return keys[current.pk]

        visit(node)
        while pending:
            if len(keys) > MOST_NODES:
                raise ValueError(f'{type(node).__name__}<{node.pk}> rests on more than {MOST_NODES} nodes')
            current = pending.pop()
            for link in current.base.links.get_incoming(link_type=(LinkType.CREATE, LinkType.INPUT_CALC)).all():
                if type(link.node).__name__ not in _HIDDEN:
                    edges.add((visit(link.node, keys[current.pk]), keys[current.pk]))
        return cls(boxes, edges)

    def to_dot(self) -> str:
        """The graph in the language of graphviz."""
        names = {key: f'n{index}' for index, key in enumerate(self.boxes)}
        lines = [
            'digraph provenance {',
            'rankdir=TB; nodesep=0.15; ranksep=0.22; dpi=120; bgcolor=white;',
            'node [style=filled, fontname="Helvetica", fontsize=10, margin="0.08,0.04", height=0.3, color="none"];',
            'edge [color="#666666", arrowsize=0.6];',
        ]
        for key, box in self.boxes.items():
            shape = 'box' if box.is_process else 'ellipse'
            lines.append(f'{names[key]} [label={_quote(box.label)}, shape={shape}, fillcolor="{box.colour}"];')
        lines += [f'{names[first]} -> {names[second]};' for first, second in sorted(self.edges)]
        return '\n'.join([*lines, '}\n'])

    def draw(self, kind: str) -> bytes | None:
        """The graph as 'png' or 'svg', drawn by graphviz; nothing if its program `dot` is not installed."""
        executable = shutil.which('dot')
        if executable is None:
            return None
        # Graphviz cuts SVG of any other resolution than its own 72 dpi.
        command = [executable, f'-T{kind}', *(['-Gdpi=72'] if kind == 'svg' else [])]
        return subprocess.run(command, input=self.to_dot().encode(), capture_output=True, check=True).stdout

    def to_text(self) -> str:
        """The graph as lines: every box, indented under what was made of it; what was shown before only by name."""
        causes = defaultdict(list)
        for first, second in sorted(self.edges):
            causes[second].append(first)
        shown = set()

        def lines(key, depth) -> Iterable[str]:
            again = key in shown and causes[key]
            yield '  ' * depth + ('<- ' if depth else '') + self.boxes[key].label + (' (above)' if again else '')
            if key in shown:
                return
            shown.add(key)
            for cause in causes[key]:
                yield from lines(cause, depth + 1)

        return '\n'.join(lines(next(iter(self.boxes)), 0)) + '\n'


def plot_provenance(node, path: str | Path) -> Path:
    """Draw the ancestors of a node into a PNG file, or, without graphviz, write them as text beside it.

    Parameters
    ----------
    node : aiida.orm.Data
        As a predicted Hamiltonian; the graph leads back to the pw.x jobs of the training data.
    path : path
        PNG file.

    Returns
    -------
    Path
        The file that was written: ``path``, or the same with the suffix ``.txt``.
    """
    path = Path(path)
    graph = ProvenanceGraph.of(node)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = graph.draw('png')
    if picture is None:
        path = path.with_suffix('.txt')
        path.write_text(graph.to_text(), encoding='utf-8')
        return path
    path.write_bytes(picture)
    return path


def _sort(node, effect: tuple) -> tuple[tuple, Box]:
    """The box of a node: processes by their name; data by their class and what made them, or what they went into."""
    from aiida.orm import ProcessNode

    if isinstance(node, ProcessNode):
        name = node.process_label or type(node).__name__
        kind = 'quantumespresso' if name in ('PwCalculation', 'PotentialCalculation') else 'process'
        return ('process', name), Box(name, _COLOURS[kind], True)
    name, creator = type(node).__name__, node.creator
    if creator is not None:
        key = ('data', name, 'made by', creator.process_label, not effect)
    else:
        # Structures to learn from and structures to predict are not the same thing; a pseudopotential is one.
        key = ('data', name, 'went into', effect[1] if effect and name == 'StructureData' else '', not effect)
    return key, Box(name, _COLOURS['data' if effect else 'target'], False)


def _quote(text: str) -> str:
    """A string of graphviz."""
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'
