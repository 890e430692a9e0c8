"""What a connection to a computer raises when it breaks."""

from asyncssh import Error as AsyncSshError
from paramiko import SSHException

__all__ = ('CONNECTION_ERRORS',)

#: Errors of a broken connection; each transport plugin of AiiDA raises those of its library.
CONNECTION_ERRORS = (OSError, EOFError, AsyncSshError, SSHException)
