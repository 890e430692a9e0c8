"""The cheap part of the fault drill."""

import os

import pytest
from fault_drill import Drill

#: Exit statuses of the work chains: a training that finds no room says so, and so does the job of the orbitals.
EXPECTED = {'kill-training': 0, 'daemon-restart': 0, 'limit-train': 312, 'full-basis': 401}


@pytest.mark.qe
def test_drill(cluster, started_daemon_client, pseudo_family):
    """A killed training and references whose daemon is restarted end as if nothing had been; no room is named."""
    drill = Drill(cluster, started_daemon_client, pseudo_family)
    for fault, status in EXPECTED.items():
        if fault.startswith('full') and os.geteuid() != 0:
            continue  # Mounting a file system needs root.
        result = drill.run(fault)
        assert result.passed, result
        assert result.exit_status == status, result
