"""Pages: everything is inside, and nothing that a user wrote is markup."""

import json
import re
from html.parser import HTMLParser

import pytest

from aiida_hamlr.report.page import Code, Figure, Graph, Note, Page, Rows, Section, Table, render, write

HOSTILE = '</script><script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"\'&{{ 7*7 }}'


class Elements(HTMLParser):
    """Collects elements, attributes and texts."""

    def __init__(self, text):
        super().__init__()
        self.names, self.links, self.texts, self.handlers = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.links += [value for name, value in attrs if name in ('src', 'href', 'action', 'data', 'xlink:href')]
        self.handlers += [name for name, _ in attrs if name.startswith('on')]

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def page():
    """Return a page with every kind of block, all texts hostile."""
    figure = {'data': [{'type': 'scatter', 'name': HOSTILE, 'x': [0, 1], 'y': [1, 2]}], 'layout': {}}
    blocks = [
        Note(HOSTILE, 'warning'),
        Rows([(HOSTILE, HOSTILE, HOSTILE)]),
        Table([HOSTILE], [[HOSTILE]], HOSTILE),
        Figure(figure, HOSTILE),
        Graph('<svg></svg>', HOSTILE, [('#fff', 'box', HOSTILE)]),
        Code(HOSTILE),
    ]
    return Page(HOSTILE, HOSTILE, [Section(HOSTILE, blocks), Section('nothing in it')])


def test_texts_are_no_markup(page):
    """No element, link or handler comes from a text, and every text can be read as it was."""
    pytest.importorskip('plotly')
    found = Elements(render(page))
    assert 'img' not in found.names and not found.handlers
    # The library, one figure's data, and the code that draws.
    assert found.names.count('script') == 3
    assert all(link.startswith(('#', 'data:')) for link in found.links)
    assert sum(text.strip() == HOSTILE for text in found.texts) >= 12
    assert 'nothing in it' not in found.texts


def test_data_of_figures_are_whole(page):
    """What the browser reads is the figure as it was given."""
    pytest.importorskip('plotly')
    text = render(page)
    data = re.search(r'<script type="application/json" id="data-0">(.*?)</script>', text, re.DOTALL).group(1)
    assert json.loads(data)['data'][0]['name'] == HOSTILE


def test_without_figures_there_is_no_script(tmp_path):
    """A page of text is small; and it forbids the browser to load anything."""
    path = write(Page('Title', 'when', [Section('One', [Note('text')])]), tmp_path / 'page.html')
    text = path.read_text()
    assert '<script' not in text and len(text) < 20_000
    assert "default-src 'none'" in text


def test_without_plotly(page, monkeypatch):
    """Its absence is an error that says what to install."""
    monkeypatch.setitem(__import__('sys').modules, 'plotly.offline', None)
    with pytest.raises(ValueError, match=r'pip install aiida-hamlr\[report\]'):
        render(page)
