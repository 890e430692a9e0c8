"""Parser of pp.x for the total local potential."""

from __future__ import annotations

from aiida import orm
from aiida_quantumespresso.parsers.base import BaseParser
from aiida_quantumespresso.utils.mapping import get_logging_container

__all__ = ('PotentialParser',)


class PotentialParser(BaseParser):
    """Check that pp.x wrote the potential; the file itself stays on the computer."""

    def parse(self, **kwargs):
        """Parse the standard output of pp.x."""
        try:
            stdout, parameters, logs = self.parse_stdout_from_retrieved(get_logging_container())
        except UnicodeDecodeError:
            return self.exit_codes.ERROR_OUTPUT_STDOUT_READ
        exit_code = self.check_base_errors(logs)
        if exit_code:
            return self.exit(exit_code, logs)
        self.out('output_parameters', orm.Dict(parameters))
        if 'ERROR_OUTPUT_STDOUT_INCOMPLETE' in logs.error:
            return self.exit(self.exit_codes.ERROR_OUTPUT_STDOUT_INCOMPLETE, logs)
        if 'Writing data to file' not in stdout:
            return self.exit(self.exit_codes.ERROR_POTENTIAL_NOT_WRITTEN, logs)
        return self.exit(logs=logs)
