"""All tests of this folder need a profile."""

import pytest


@pytest.fixture(autouse=True)
def _profile(aiida_profile):
    """Load the profile."""
