"""Running commands."""

import pytest
from click.testing import CliRunner


@pytest.fixture
def invoke(aiida_profile):
    """Return a function that runs a command and returns its result."""

    def run(command, *arguments):
        result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
