"""The cheap part of the fault drill."""

import pytest
from fault_drill import Drill


@pytest.mark.qe
def test_drill(cluster, started_daemon_client, pseudo_family):
    """A training that is killed and references whose daemon is restarted end as if nothing had been."""
    drill = Drill(cluster, started_daemon_client, pseudo_family)
    for fault in ('kill-training', 'daemon-restart'):
        result = drill.run(fault)
        assert result.passed, result
        assert result.exit_status == 0, result
