"""One line for a complaint of aiida-quantumespresso that fills the terminal and means nothing.

``pw.x`` calls the local-density functional of Perdew and Wang ``PW``, and the schemas of aiida-quantumespresso do not
list the name. Each run then logs two errors of thirty lines. The process report keeps them.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager

__all__ = ('short_schema_errors',)

_HEADING = re.compile(r'(\d+) XML schema validation error\(s\)')
_HARMLESS = re.compile(r'failed validating .*<functional>PW</functional>', re.DOTALL)

#: Level of AiiDA's reports, above that of information.
LOG_LEVEL_REPORT = logging.INFO + 3

INSTEAD = "pw.x names the functional PW, which aiida-quantumespresso's schema does not list; this is harmless"


class _SchemaFilter(logging.Filter):
    """Holds the heading back until it is known what the errors are."""

    def __init__(self, handler: logging.Handler):
        super().__init__()
        self._handler, self._held, self._left = handler, None, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a message."""
        text = record.getMessage()
        heading = _HEADING.match(text)
        if heading:
            self._held, self._left = record, int(heading[1])
            return False
        if self._held is None:
            return True
        if _HARMLESS.match(text):
            self._left -= 1
            if not self._left:
                self._show_heading(INSTEAD)
            return False
        self._show_heading()
        return True

    def _show_heading(self, instead: str | None = None):
        record, self._held = self._held, None
        if instead is not None:
            changed = {'msg': instead, 'args': None, 'levelno': LOG_LEVEL_REPORT, 'levelname': 'REPORT'}
            record = logging.makeLogRecord({**record.__dict__, **changed})
        self._handler.emit(record)


@contextmanager
def short_schema_errors():
    """Shorten what the terminal shows; the process report has all of it."""
    from aiida.cmdline.utils.log import CliHandler

    # The other handlers write to the database and to files.
    handlers = [each for each in logging.getLogger('aiida').handlers if isinstance(each, CliHandler)]
    filters = [(handler, _SchemaFilter(handler)) for handler in handlers]
    for handler, each in filters:
        handler.addFilter(each)
    try:
        yield
    finally:
        for handler, each in filters:
            handler.removeFilter(each)
