"""Tests of what the terminal shows of schema errors; the messages are those of aiida-quantumespresso's own schema."""

import logging
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiida.cmdline.utils.log import CliHandler
from aiida_quantumespresso.parsers.parse_xml import parse
from xmlschema import XMLSchema

from aiida_hamlr.cli.schema_errors import INSTEAD, short_schema_errors

LOGGER = logging.getLogger('aiida.orm.nodes.process.calculation.calcjob.CalcJobNode')
HEADING = '%s XML schema validation error(s) schema: qes_030920.xsd:'


@pytest.fixture
def shown(monkeypatch):
    """Return what a terminal shows while a command runs."""
    handler, found = CliHandler(), []
    handler.emit = lambda record: found.append((record.levelname, record.getMessage()))
    monkeypatch.setattr(logging.getLogger('aiida'), 'handlers', [handler])
    with short_schema_errors():
        yield found
    assert not handler.filters


@pytest.fixture(scope='module')
def error():
    """Return a function: the message about a name of a functional."""
    schema = XMLSchema(Path(parse.__file__).parent / 'schemas/qes_030920.xsd')
    element = schema.types['dftType'].content[0]

    def message(name):
        (found,) = element.iter_errors(ElementTree.fromstring(f'<functional>{name}</functional>'))  # noqa: S314
        return str(found)

    return message


def test_the_name_that_is_not_listed_is_one_line(shown, error):
    for text in (HEADING % 2, error('PW'), error('PW'), 'something else'):
        LOGGER.error(text)
    assert shown == [('REPORT', INSTEAD), ('ERROR', 'something else')]


def test_other_errors_stay(shown, error):
    """With their heading, also if the harmless one comes first; a second file is judged anew."""
    for text in (HEADING % 2, error('PW'), error('nonsense'), HEADING % 1, error('PW')):
        LOGGER.error(text)
    assert [level for level, _ in shown] == ['ERROR', 'ERROR', 'REPORT']
    assert shown[0][1] == HEADING % 2 and '<functional>nonsense</functional>' in shown[1][1]
