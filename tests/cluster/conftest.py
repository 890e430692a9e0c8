"""The tests of this folder run on a cluster: ssh, SLURM, PostgreSQL and a daemon with two workers.

The fixtures of `aiida_fixtures` that make codes, structures and pseudopotentials are used as they are: the profile, the
computer and the daemon that they need are replaced by those of the cluster.
"""

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine.daemon.client import DaemonException, get_daemon_client
from loopback_cluster import start_daemon

from aiida_hamlr.workflows.dataset import DatasetWorkChain

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark all tests of this folder, and run them first: they load another profile than all others."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.daemon)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1800))
    items.sort(key=lambda item: FOLDER not in item.path.parents)


@pytest.fixture(scope='package')
def aiida_profile(cluster_profile):
    """Return the profile on PostgreSQL."""
    return cluster_profile


@pytest.fixture(scope='package')
def daemon_client(cluster_profile):
    """Return the client of the daemon, which is ended at last."""
    client = get_daemon_client(cluster_profile.name)
    yield client
    try:
        client.stop_daemon(wait=True, timeout=60)
    except DaemonException:
        pass


@pytest.fixture
def started_daemon_client(daemon_client):
    """Return the client of a daemon with two workers."""
    start_daemon(daemon_client, workers=2)
    return daemon_client


@pytest.fixture
def make_reference_builder(pw_code, hamlr_code, pseudo_family):
    """Return a function that makes the builder of a work chain with references, of pw.x on two ranks."""

    def make(process_class, structures, **overrides):
        reference = {
            'scf': {'pseudo_family': pseudo_family, 'kpoints_distance': 0.8},
            'generate_basis': {'parameters': {'size': 'szp', 'cutoff_radius': 6.0}},
        }
        builder = process_class.get_builder_from_protocol(
            pw_code,
            hamlr_code,
            structures,
            protocol='fast',
            overrides={'reference': reference, **overrides},
            options={'max_wallclock_seconds': 600},
        )
        options = builder.reference.scf.pw.metadata.options
        options.resources = {'num_machines': 1, 'num_mpiprocs_per_machine': 2}
        options.withmpi = True
        return builder

    return make


@pytest.fixture
def rattled(zincblende):
    """Return a function that makes AlAs with displaced atoms."""

    def make(seed):
        atoms = zincblende()
        atoms.rattle(0.05, seed=seed)
        return orm.StructureData(ase=atoms)

    return make


@pytest.fixture
def study_of_three(started_daemon_client, submit_and_await, make_reference_builder, rattled):
    """Return a finished dataset work chain; the references of the pipeline are taken if that has run."""
    structures = {f's{seed}': rattled(seed) for seed in (1, 2, 3)}
    builder = make_reference_builder(DatasetWorkChain, structures)
    builder.split = orm.Dict({'train': ['s1', 's2'], 'validation': ['s3']})
    node = submit_and_await(builder, timeout=1500)
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture
def localhost(cluster, aiida_profile):
    """Return the cluster in the place of the local computer."""
    return orm.QueryBuilder().append(orm.Computer, filters={'label': 'cluster'}).first(flat=True) or (
        cluster.make_computer()
    )
