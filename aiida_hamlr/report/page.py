"""A page of sections, and its HTML. Every text is escaped; pictures and scripts are inside of the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from aiida_hamlr.electronic.files import atomic_path

__all__ = ('Code', 'Figure', 'Graph', 'Note', 'Page', 'Rows', 'Section', 'Table', 'render', 'write')


@dataclass(frozen=True)
class Note:
    """A paragraph.

    Parameters
    ----------
    text : str
        Plain text.
    kind : str
        'plain', 'warning' or 'error'.
    """

    text: str
    kind: str = 'plain'
    block: str = 'note'


@dataclass(frozen=True)
class Rows:
    """Numbers with their meaning.

    Parameters
    ----------
    rows : sequence of (str, str, str)
        Name, value with unit, and what it means.
    """

    rows: Sequence[tuple[str, str, str]]
    block: str = 'rows'


@dataclass(frozen=True)
class Table:
    """A table of values.

    Parameters
    ----------
    columns : sequence of str
        Names.
    rows : sequence of sequences of str
        Values as they are shown.
    caption : str
        Below the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ''
    block: str = 'table'


@dataclass(frozen=True)
class Figure:
    """An interactive figure.

    Parameters
    ----------
    content : dict
        ``data`` and ``layout`` of plotly.
    caption : str
        What is shown; also the description for those who cannot see it.
    height : int
        Pixels.
    """

    content: dict
    caption: str
    height: int = 420
    block: str = 'figure'


@dataclass(frozen=True)
class Graph:
    """A drawing that is ready.

    Parameters
    ----------
    svg : str
        Markup of a trusted program; texts in it must be escaped already.
    caption : str
        What is shown.
    legend : sequence of (str, str, str)
        Colour, shape ('box' or 'ellipse') and meaning.
    """

    svg: str
    caption: str
    legend: Sequence[tuple[str, str, str]] = ()
    block: str = 'graph'


@dataclass(frozen=True)
class Code:
    """Lines to copy into a terminal."""

    text: str
    block: str = 'code'


@dataclass
class Section:
    """Blocks under a title.

    Parameters
    ----------
    title : str
        Plain text.
    blocks : list
        Notes, tables, figures and so on, in their order.
    """

    title: str
    blocks: list = field(default_factory=list)


@dataclass
class Page:
    """What a report holds.

    Parameters
    ----------
    title : str
        What it is about.
    subtitle : str
        Identifiers and times.
    sections : list of Section
        In their order; empty ones are left out.
    """

    title: str
    subtitle: str = ''
    sections: list[Section] = field(default_factory=list)


def render(page: Page) -> str:
    """HTML of a page.

    Raises
    ------
    ValueError
        If plotly is not installed; the message says how to install it.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    folder = resources.files('aiida_hamlr.report')
    template = environment.from_string((folder / 'page.html.j2').read_text(encoding='utf-8'))
    sections = [section for section in page.sections if section.blocks]
    figures = [block for section in sections for block in section.blocks if block.block == 'figure']
    return template.render(
        page=page,
        sections=sections,
        numbers={id(block): number for number, block in enumerate(figures)},
        figures=[_script_data(block.content) for block in figures],
        style=(folder / 'page.css').read_text(encoding='utf-8'),
        script=(folder / 'page.js').read_text(encoding='utf-8'),
        plotly=_plotly() if figures else '',
        key=id,
    )


def write(page: Page, path: str | Path) -> Path:
    """Write the HTML of a page, under a temporary name first."""
    text = render(page)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8')
    return Path(path)


def _script_data(content: dict) -> str:
    """JSON that cannot end the script element in which it stands."""
    text = json.dumps(content, allow_nan=False, separators=(',', ':'))
    return text.replace('<', '\\u003c').replace('>', '\\u003e').replace('&', '\\u0026')


def _plotly() -> str:
    """The library that draws, for a script element."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ValueError('reports need plotly: pip install aiida-hamlr[report]') from error
    return get_plotlyjs()
