"""The AiiDA profile of the quickstart with its own configuration, a daemon, codes and pseudopotentials.

Import this module before AiiDA, which reads AIIDA_PATH when it is imported.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / '.demo'
RESULTS = DEMO / 'results'
PSEUDOS = DEMO / 'pseudos'
BIN = Path(sys.executable).parent
(DEMO / '.aiida').mkdir(parents=True, exist_ok=True)
os.environ['AIIDA_PATH'] = str(DEMO)
os.environ['PATH'] = f'{BIN}{os.pathsep}{os.environ["PATH"]}'
os.environ['OMP_NUM_THREADS'] = '1'

from aiida import load_profile, orm
from aiida.engine.daemon.client import DaemonException, get_daemon_client
from aiida.engine.processes.control import get_active_processes, kill_processes
from aiida.manage import get_manager
from aiida.manage.configuration import create_profile, get_config
from aiida.plugins import BrokerFactory

from aiida_hamlr.cli.database import allow_concurrent_reading, database_path
from aiida_hamlr.cli.installation import create_codes, create_localhost, create_pseudo_family


def set_up_profile():
    """Make an AiiDA profile with SQLite and the built-in broker; an earlier one of this demo is removed."""
    config = get_config(create=True)
    if 'demo' in config.profile_names:
        daemon = get_daemon_client('demo')
        if daemon.is_daemon_running:
            daemon.stop_daemon(timeout=60)
        config.delete_profile('demo', delete_storage=True)
        for folder in (RESULTS, PSEUDOS, DEMO / '.aiida' / 'scratch'):
            shutil.rmtree(folder, ignore_errors=True)
    RESULTS.mkdir()
    create_profile(
        config,
        name='demo',
        email='demo@localhost',
        storage_backend='core.sqlite_dos',
        storage_config={},
        broker_backend='core.zeromq',
        broker_config=BrokerFactory('core.zeromq').get_default_config(),
    )
    config.set_default_profile('demo', overwrite=True)
    # The client of the daemon does not see options that are set for all profiles.
    config.set_option('daemon.timeout', 60, scope='demo')
    config.set_option('runner.poll.interval', 1)
    config.store()
    # Commands like `verdi process list` may read while the daemon writes.
    allow_concurrent_reading(database_path(config.get_profile('demo')))
    load_profile('demo')


def set_up_codes(family: str, cutoff: float) -> dict[str, orm.InstalledCode]:
    """Register this machine with pw.x and hamlr, and install pseudopotentials made from published parameters.

    The family of pseudopotentials recommends the cutoff (Ry).
    """
    codes = create_codes(create_localhost(), prepend_text='export OMP_NUM_THREADS=1')
    subprocess.run([BIN / 'hamlr', 'pseudo', 'Al', 'As', '-o', PSEUDOS], check=True, capture_output=True)
    create_pseudo_family(PSEUDOS, family, ecutwfc=cutoff)
    return codes


@contextmanager
def running_daemon(timeout: float = 300.0):
    """Run the daemon with one worker; at the end kill processes that still run, and stop it.

    Several workers that write at the same time lock an SQLite database.

    Raises
    ------
    RuntimeError
        If the broker of the daemon does not start within the timeout (s), as on a very busy machine.
    """
    daemon = get_daemon_client()
    daemon.start_daemon(1)
    try:
        broker, deadline = get_manager().get_broker(), time.monotonic() + timeout
        while not broker.check_service_reachable():
            if time.monotonic() > deadline:
                raise RuntimeError(f'the broker did not start within {timeout:.0f} s')
            time.sleep(0.5)
        yield
    finally:
        running = [node for node in get_active_processes() if node.caller is None]
        if running:
            kill_processes(running, timeout=20)
        try:
            daemon.stop_daemon(timeout=60)
        except DaemonException as error:
            print(f'the daemon does not answer ({error}); it is terminated')
            os.kill(daemon.get_daemon_pid(), signal.SIGTERM)


def run_main(main):
    """Run the demo; a failure or an interruption ends in one line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit('interrupted; everything is stopped')
