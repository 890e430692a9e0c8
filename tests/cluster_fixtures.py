"""Fixtures of the loopback cluster; only the tests in tests/cluster pay for it."""

from __future__ import annotations

import os

import pytest
from aiida_fixtures import poll_with_pauses
from loopback_cluster import LoopbackCluster, environment, find_missing


@pytest.fixture(scope='session')
def cluster():
    """Return a running cluster; where its programs are missing the test is skipped, or fails if they are required."""
    missing = find_missing()
    if missing:
        reason = f'the loopback cluster needs {", ".join(missing)}; `.ci/install cluster` installs them'
        if os.environ.get('HAMLR_REQUIRE_CLUSTER'):
            pytest.fail(reason)
        pytest.skip(reason)
    with LoopbackCluster() as cluster:
        yield cluster


@pytest.fixture(scope='package')
def cluster_profile(cluster, aiida_config, aiida_profile_factory):
    """Return a profile on PostgreSQL whose daemon finds the cluster."""
    with (
        environment(cluster.environment),
        aiida_profile_factory(
            aiida_config,
            storage_backend='core.psql_dos',
            storage_config=cluster.make_storage_config('tests'),
            broker_backend='core.zeromq',
            name='cluster',
        ) as profile,
    ):
        aiida_config.set_option('daemon.timeout', 30, scope=profile.name)
        poll_with_pauses(aiida_config, profile)
        yield profile
