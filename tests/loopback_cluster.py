"""A cluster on the loopback device: munge, SLURM with one node, sshd and PostgreSQL, all in one temporary folder."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import psycopg

#: Programs by the Debian package that has them.
PACKAGES = {
    'munge': ('munged', 'mungekey'),
    'slurm-wlm': ('slurmctld', 'slurmd', 'sbatch', 'squeue', 'scancel', 'sinfo'),
    'openssh-server': ('sshd',),
    'openssh-client': ('ssh-keygen',),
    'postgresql': ('postgres', 'initdb'),
}
HOST_ALIAS = 'loopcluster'
#: What mpirun needs in order not to starve ranks where there are fewer cores than ranks.
PREPEND_TEXT = 'export OMP_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none'
MPIRUN = ['mpirun', '--allow-run-as-root', '-np', '{tot_num_mpiprocs}']


def find_program(name: str) -> str | None:
    """Return the path of a program, also of a daemon that is on no user's path."""
    folders = [os.environ['PATH'], '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin']
    # Debian keeps the programs of each version of PostgreSQL in a folder of its own.
    folders += [str(path) for path in sorted(Path('/usr/lib/postgresql').glob('*/bin'), reverse=True)]
    return shutil.which(name, path=os.pathsep.join(folders))


def find_missing() -> list[str]:
    """Return what is missing for the cluster, as packages with their programs."""
    absent = {package: [name for name in names if find_program(name) is None] for package, names in PACKAGES.items()}
    return [f'{package} ({", ".join(names)})' for package, names in absent.items() if names]


def find_free_port() -> int:
    """Return a port of the loopback device that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 60.0, interval: float = 0.1):
    """Wait for a condition.

    :raises RuntimeError: if it takes too long.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f'{what}: not within {timeout:g} s')
        time.sleep(interval)


class LoopbackCluster:
    """The daemons of a cluster; use it as a context manager, which ends them.

    Nothing is written outside of its folder but the folder of the privilege separation of sshd, which must exist: each
    daemon is told where its files are, and clients find sshd by the configuration in `home`, not that of the user.
    """

    def __init__(self):
        # The paths of sockets must be short.
        self.folder = Path(tempfile.mkdtemp(prefix='hamlr-cluster-', dir='/tmp'))
        self.home = self.folder / 'home'
        self.work = self.folder / 'work'
        self._daemons: dict[str, subprocess.Popen] = {}
        self._user = getpass.getuser()
        self._ports = {name: find_free_port() for name in ('slurmctld', 'slurmd', 'sshd', 'postgres')}
        # The server of PostgreSQL does not run as root.
        self._postgres_user = 'postgres' if os.geteuid() == 0 else self._user

    def __enter__(self) -> LoopbackCluster:
        try:
            self.folder.chmod(0o755)
            self.work.mkdir()
            self._start_postgres()
            self._start_munge()
            self._start_slurm()
            self._write_ssh()
            self.start_sshd()
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if 'slurmd' in self._daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.run('scancel', '--user', self._user, check=False)
                wait_until(lambda: not self.jobs(), 'the jobs end', 20) if self.jobs() else None
        for name in reversed(list(self._daemons)):
            self._end(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which clients find the cluster."""
        return {'HOME': str(self.home), 'SLURM_CONF': str(self.folder / 'slurm.conf')}

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command of SLURM and return what it prints."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise RuntimeError(f'{" ".join(command)}: {done.stderr.strip()}')
        return done.stdout

    def jobs(self) -> list[str]:
        """Return the identifiers of the jobs in the queue."""
        return self.run('squeue', '--noheader', '--format=%i', check=False).split()

    def _start(self, name: str, *arguments: str, **options):
        log = self.folder / f'{name}.log'
        with log.open('a') as stream:
            self._daemons[name] = subprocess.Popen(
                [find_program(name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                **options,
            )

    def _end(self, name: str, number: int = signal.SIGTERM):
        daemon = self._daemons.pop(name)
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(daemon.pid).children(recursive=True)
        daemon.send_signal(number)
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        # Sessions of sshd outlive it.
        for child in psutil.wait_procs(children, 1)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def _start_postgres(self):
        data = self.folder / 'postgres'
        data.mkdir()
        shutil.chown(data, self._postgres_user)
        user = {'user': self._postgres_user} if os.geteuid() == 0 else {}
        subprocess.run(
            [find_program('initdb'), '-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync', '-E', 'UTF8'],
            cwd=data,
            check=True,
            capture_output=True,
            **user,
        )
        settings = {
            'listen_addresses': '127.0.0.1',
            'port': self._ports['postgres'],
            'unix_socket_directories': data,
            'fsync': 'off',
            'full_page_writes': 'off',
            'synchronous_commit': 'off',
        }
        self._start('postgres', '-D', str(data), *(f'--{key}={value}' for key, value in settings.items()), **user)

    def _start_munge(self):
        key = self.folder / 'munge.key'
        subprocess.run([find_program('mungekey'), '--create', f'--keyfile={key}'], check=True, capture_output=True)
        self._start(
            'munged',
            '--foreground',
            f'--key-file={key}',
            f'--socket={self.folder / "munge.socket"}',
            f'--pid-file={self.folder / "munge.pid"}',
            f'--log-file={self.folder / "munge.log"}',
            f'--seed-file={self.folder / "munge.seed"}',
        )

    def _start_slurm(self):
        node = socket.gethostname().split('.')[0]
        for name in ('state', 'spool'):
            (self.folder / name).mkdir()
        lines = [
            'ClusterName=loop',
            f'SlurmctldHost={node}(127.0.0.1)',
            f'SlurmctldPort={self._ports["slurmctld"]}',
            f'SlurmdPort={self._ports["slurmd"]}',
            f'SlurmUser={self._user}',
            f'SlurmdUser={self._user}',
            'AuthType=auth/munge',
            f'AuthInfo=socket={self.folder / "munge.socket"}',
            'CommunicationParameters=NoInAddrAny,NoCtldInAddrAny',
            'MpiDefault=none',
            'ProctrackType=proctrack/linuxproc',
            'TaskPlugin=task/none',
            'JobAcctGatherType=jobacct_gather/none',
            'AccountingStorageType=accounting_storage/none',
            'SelectType=select/cons_tres',
            'SelectTypeParameters=CR_Core',
            'SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1,sched_min_interval=0',
            'SlurmdParameters=config_overrides',
            'ReturnToService=2',
            'KillWait=2',
            'OverTimeLimit=0',
            f'StateSaveLocation={self.folder / "state"}',
            f'SlurmdSpoolDir={self.folder / "spool"}',
            f'SlurmctldPidFile={self.folder / "slurmctld.pid"}',
            f'SlurmdPidFile={self.folder / "slurmd.pid"}',
            # More cores than there are: the jobs are small, and four of them run at a time.
            f'NodeName={node} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN',
            f'PartitionName=debug Nodes={node} Default=YES MaxTime=INFINITE State=UP',
        ]
        configuration = self.folder / 'slurm.conf'
        configuration.write_text('\n'.join(lines) + '\n')
        wait_until((self.folder / 'munge.socket').exists, 'munge starts')
        self._start('slurmctld', '-D', '-f', str(configuration))
        self._start('slurmd', '-D', '-f', str(configuration), '-N', node)

    def _write_ssh(self):
        folder = self.home / '.ssh'
        folder.mkdir(parents=True, mode=0o700)
        for name in ('host_key', 'id_ed25519'):
            subprocess.run(
                [find_program('ssh-keygen'), '-q', '-t', 'ed25519', '-N', '', '-f', folder / name], check=True
            )
        if os.geteuid() == 0:
            Path('/run/sshd').mkdir(exist_ok=True)
        lines = [
            'ListenAddress 127.0.0.1',
            f'Port {self._ports["sshd"]}',
            f'HostKey {folder / "host_key"}',
            'PidFile none',
            f'AuthorizedKeysFile {folder / "id_ed25519.pub"}',
            'PermitRootLogin prohibit-password',
            'PasswordAuthentication no',
            'KbdInteractiveAuthentication no',
            'UsePAM no',
            'StrictModes no',
            'MaxStartups 100',
            'MaxSessions 100',
            # The commands of SLURM find this cluster, not another one of the machine; no start-up files of the user.
            f'SetEnv HOME={self.home} SLURM_CONF={self.folder / "slurm.conf"}',
            'Subsystem sftp internal-sftp',
        ]
        (self.folder / 'sshd_config').write_text('\n'.join(lines) + '\n')
        key = (folder / 'host_key.pub').read_text()
        (folder / 'known_hosts').write_text(f'[127.0.0.1]:{self._ports["sshd"]} {key}')
        lines = [
            f'Host {HOST_ALIAS}',
            '  HostName 127.0.0.1',
            f'  Port {self._ports["sshd"]}',
            f'  User {self._user}',
            f'  IdentityFile {folder / "id_ed25519"}',
            '  IdentitiesOnly yes',
            f'  UserKnownHostsFile {folder / "known_hosts"}',
        ]
        (folder / 'config').write_text('\n'.join(lines) + '\n')
        (folder / 'config').chmod(0o600)

    def get_pid(self, name: str) -> int:
        """Return the identifier of the process of a daemon."""
        return self._daemons[name].pid

    def start_sshd(self):
        """Start sshd."""
        self._start('sshd', '-D', '-e', '-f', str(self.folder / 'sshd_config'))

    def stop_sshd(self):
        """End sshd and all its sessions."""
        self._end('sshd')

    def _wait(self):
        where = f'(logs in {self.folder})'
        wait_until(lambda: 'idle' in self.run('sinfo', '-h', '-o', '%T', check=False), f'SLURM starts {where}')
        wait_until(lambda: self._answers('postgres'), f'PostgreSQL starts {where}')
        wait_until(lambda: self._answers('sshd'), f'sshd starts {where}')

    def _answers(self, name: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', self._ports[name])) == 0

    def make_storage_config(self, name: str) -> dict:
        """Make a database, and return the configuration of the storage `core.psql_dos` of a profile on it."""
        server = {'host': '127.0.0.1', 'port': self._ports['postgres'], 'user': 'postgres', 'dbname': 'postgres'}
        wait_until(lambda: _can_connect(server), 'PostgreSQL accepts connections')
        with psycopg.connect(**server, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL('CREATE DATABASE {}').format(psycopg.sql.Identifier(name)))
        return {
            'database_engine': 'postgresql_psycopg',
            'database_hostname': '127.0.0.1',
            'database_port': self._ports['postgres'],
            'database_name': name,
            'database_username': 'postgres',
            'database_password': 'unused',
            'repository_uri': f'file://{self.folder / "repository" / name}',
        }

    def count_database_bytes(self, name: str) -> int:
        """Return the size of a database with its indices."""
        server = {'host': '127.0.0.1', 'port': self._ports['postgres'], 'user': 'postgres', 'dbname': name}
        with psycopg.connect(**server) as connection:
            return connection.execute('SELECT pg_database_size(current_database())').fetchone()[0]

    def make_computer(self, label: str = 'cluster', work: Path | None = None, interval: float = 0.0):
        """Store the cluster as a computer of the loaded profile.

        :param work: where jobs run; by default a folder of the cluster.
        :param interval: least time between two connections and two looks at the queue, s.
        """
        from aiida.orm import Computer

        computer = Computer(
            label=label,
            hostname=HOST_ALIAS,
            transport_type='core.ssh_async',
            scheduler_type='core.slurm',
            workdir=str(work or self.work),
        )
        computer.set_mpirun_command(MPIRUN)
        computer.set_prepend_text(PREPEND_TEXT)
        computer.set_default_mpiprocs_per_machine(1)
        computer.set_minimum_job_poll_interval(max(interval, 1.0))
        computer.store()
        computer.configure(host=HOST_ALIAS, use_login_shell=False, safe_interval=interval, backend='asyncssh')
        return computer


def _can_connect(server: Mapping) -> bool:
    try:
        psycopg.connect(**server).close()
    except psycopg.OperationalError:
        return False
    return True


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, with the programs of this environment first on the path, for a time."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    variables = {'PATH': path, **variables}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_daemon(client, workers: int = 2):
    """Start the daemon of the loaded profile and wait for its broker, which on a busy machine starts later."""
    from aiida.manage import get_manager

    if not client.is_daemon_running:
        # A connection to the broker of an earlier daemon swallows what is submitted.
        get_manager().reset_broker()
        get_manager().reset_runner()
        client.start_daemon(number_workers=workers)
    wait_until(get_manager().get_broker().check_service_reachable, 'the broker starts', 180, 0.2)


@contextlib.contextmanager
def started_profile(cluster: LoopbackCluster, name: str = 'cluster') -> Iterator:
    """Load a profile of its own on a cluster, and return the client of its daemon, which has two workers."""
    from aiida.engine.daemon.client import DaemonException, get_daemon_client
    from aiida.manage.configuration import create_profile, get_config, load_profile
    from aiida.plugins import BrokerFactory

    # The daemons are ended also if the script is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with environment(cluster.environment):
        config = get_config(create=True)
        create_profile(
            config,
            name=name,
            email='cluster@localhost',
            storage_backend='core.psql_dos',
            storage_config=cluster.make_storage_config(name),
            broker_backend='core.zeromq',
            broker_config=BrokerFactory('core.zeromq').get_default_config(),
        )
        config.set_default_profile(name)
        config.set_option('daemon.timeout', 60, scope=name)
        config.set_option('runner.poll.interval', 1)
        config.store()
        load_profile(name)
        client = get_daemon_client(name)
        try:
            start_daemon(client)
            yield client
        finally:
            with contextlib.suppress(DaemonException):
                client.stop_daemon(wait=True, timeout=60)


def make_codes(computer) -> dict:
    """Return the codes pw and hamlr of a cluster that is this machine."""
    from aiida_hamlr.cli.installation import create_codes, find_executable

    return create_codes(computer, {'pw': find_executable('pw.x'), 'hamlr': find_executable('hamlr')})


def make_pseudo_family(cluster: LoopbackCluster, cutoff: float = 16.0) -> str:
    """Return the label of a family of pseudopotentials of Al and As.

    :param cutoff: the cutoff of the wave functions that it recommends, Ry.
    """
    from qe_fixtures import PSEUDO_FILES

    from aiida_hamlr.cli.installation import create_pseudo_family

    folder = cluster.folder / 'pseudos'
    folder.mkdir()
    for element in ('Al', 'As'):
        shutil.copy(PSEUDO_FILES[element], folder)
    return create_pseudo_family(folder, 'nc', cutoff).label
