"""Which tests stay in one process of pytest-xdist."""

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With ``--dist=loadfile`` the tests of one file stay together, and so do all on the cluster.

    They share what their fixtures make. The marks of pytest-xdist, for ``--dist=loadgroup``, do nothing with pytest
    9.2 and pytest-xdist 3.8, without a word.
    """
    if config.getvalue('dist') != 'loadfile':
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return 'cluster' if '/cluster/' in f'/{file}' else file

    return Scheduling(config, log)
