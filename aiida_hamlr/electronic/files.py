"""Opening, checking and writing the project's files, HDF5 above all."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from aiida_hamlr.electronic.hdf5_content import check_content
from aiida_hamlr.electronic.reading import check_regular

#: What stands between the HDF5 content of a file and the sha256 of its bytes.
_SUM_MARK = b'\nhamlr-sha256 '

#: Bytes read at a time.
_READ_BYTES = 2**22

#: Deflate cannot shrink data by more than this factor.
_MAX_COMPRESSION = 1032


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` that replaces it when the block ends well, and is removed otherwise.

    The content is on the disk before it gets its name, and the name before this returns.

    Raises
    ------
    ValueError
        If there is something at ``path`` that is no regular file, as a device or a folder.
    """
    path = Path(path)
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f'{path}: is no regular file and is not replaced; give another name for the output')
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~umask())
        synchronise(temporary)
        temporary.replace(path)
        synchronise(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def umask() -> int:
    """Permissions that new files and folders do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def synchronise(path: Path):
    """Wait until a file or the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some file systems cannot do it for folders.
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_hdf5(path: str | Path, file_format: str | None = None, version: int = 1) -> Iterator[h5py.File]:
    """Write an HDF5 file with its format and version; nothing is left at ``path`` when the block fails.

    Behind the HDF5 content, where its readers do not look, the sha256 of all bytes is appended. Files of other programs
    have neither format (None) nor sum.

    Raises
    ------
    OSError
        If there is no room for the file.
    """
    with atomic_path(path) as temporary, temporary.open('w+b', buffering=0) as stream:
        output = _Output(stream)
        try:
            with h5py.File(output, 'w') as handle:
                if file_format is not None:
                    handle.attrs['format'] = file_format
                    handle.attrs['version'] = version
                yield handle
        finally:
            if output.error is not None:
                raise OSError(output.error.errno, output.error.strerror, str(path)) from output.error
        if file_format is not None:
            _write_all(stream, _SUM_MARK + _sum_of_bytes(stream, os.path.getsize(temporary)))


class _Output:
    """The file that HDF5 writes to. After a failed write the library may crash the process: it never sees one.

    What finds no room goes into memory, together with what was written before, so that HDF5 reads back what it wrote.
    """

    def __init__(self, stream):
        self._file = stream
        #: What the first write that failed has raised.
        self.error: OSError | None = None

    def seek(self, *arguments) -> int:
        return self._file.seek(*arguments)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def readinto(self, buffer) -> int:
        return self._file.readinto(buffer)

    def write(self, data) -> int:
        position = self.tell()
        try:
            _write_all(self._file, data)
        except OSError as error:
            self._continue_in_memory(error)
            self.seek(position)
            _write_all(self._file, data)
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._continue_in_memory(error)
            self._file.seek(0, os.SEEK_END)
            self._file.write(bytes(max(0, size - self._file.tell())))
            return self._file.truncate(size)

    def flush(self):
        pass

    def _continue_in_memory(self, error: OSError):
        self.error = error
        stream, self._file = self._file, io.BytesIO()
        stream.seek(0)
        shutil.copyfileobj(stream, self._file)


def _write_all(stream, data) -> int:
    """Write all bytes to an unbuffered stream, which may take them in parts."""
    rest = memoryview(data).cast('B')
    while rest:
        rest = rest[stream.write(rest) :]
    return len(data)


def _sum_of_bytes(stream, length: int) -> bytes:
    """sha256 in hexadecimal digits of the first ``length`` bytes; the stream stands behind them then."""
    digest = hashlib.sha256()
    stream.seek(0)
    while length > 0:
        data = stream.read(min(length, _READ_BYTES))
        if not data:
            break
        digest.update(data)
        length -= len(data)
    return digest.hexdigest().encode()


def file_sha256(path: str | Path) -> str:
    """sha256 of a whole file, in hexadecimal digits."""
    check_regular(path)
    with open(path, 'rb') as stream:
        return _sum_of_bytes(stream, os.path.getsize(path)).decode()


def _check_sum_of_bytes(stream, name):
    """Compare the sum at the end of a file with its bytes; a file that another tool has changed in place has none.

    The HDF5 library itself does not survive every damaged file: it may hang.
    """
    content = stream.seek(0, os.SEEK_END) - len(_SUM_MARK) - 64
    if content >= 0:
        stream.seek(content)
        end = stream.read()
        # A damaged mark does not make the sum disappear.
        if end.startswith(_SUM_MARK) or not end[-64:].strip(b'0123456789abcdef'):
            if end != _SUM_MARK + _sum_of_bytes(stream, content):
                raise ValueError(f'{name}: does not have its recorded sha256; the file is damaged')
    stream.seek(0)


@contextmanager
def open_hdf5(source) -> Iterator[h5py.File]:
    """Open a path or a binary stream for reading.

    Raises
    ------
    ValueError
        If there is no such file, or it is not HDF5, or it is truncated, or its bytes have changed, or it takes data
        from other files.
    """
    name = getattr(source, 'name', source)
    try:
        if isinstance(source, (str, os.PathLike)):
            check_regular(source)
            with open(source, 'rb') as stream:
                _check_sum_of_bytes(stream, name)
        else:
            _check_sum_of_bytes(source, name)
        handle = h5py.File(source, 'r')
    except (OSError, RuntimeError) as error:
        raise ValueError(f'{name}: not an HDF5 file, or truncated') from error
    with handle:
        with damage_as_value_error(name):
            check_content(handle)
        yield handle


@contextmanager
def read_hdf5(source, file_format: str, version: int) -> Iterator[h5py.File]:
    """Open a path or a binary stream with a file of one of our formats.

    Parameters
    ----------
    source : path or binary stream
        The file.
    file_format : str
        Its attribute ``format``.
    version : int
        The newest version that is read.

    Raises
    ------
    ValueError
        If the file is truncated, foreign, newer than this program or damaged, also if that is noticed by what reads it;
        the message names the file.
    """
    with open_hdf5(source) as handle:
        check_format(handle, file_format, version)
        with damage_as_value_error(getattr(source, 'name', source)):
            yield handle


def check_format(handle: h5py.File, file_format: str, version: int):
    """Raise ``ValueError`` unless the file has the format and a version that this program knows."""
    with damage_as_value_error(handle.filename):
        found, found_version = handle.attrs.get('format'), handle.attrs.get('version')
    if not isinstance(found, str) or found != file_format:
        raise ValueError(f'{handle.filename}: not a {file_format} file (format {found!r})')
    if not isinstance(found_version, (int, np.integer)) or found_version < 1:
        raise ValueError(f'{handle.filename}: {file_format} version {found_version!r} does not exist')
    if found_version > version:
        raise ValueError(
            f'{handle.filename}: {file_format} version {found_version} is newer than version {version}, '
            'the newest that this program reads; update aiida-hamlr'
        )


@contextmanager
def damage_as_value_error(name) -> Iterator[None]:
    """Turn what the HDF5 library and damaged content raise into a ``ValueError`` that begins with the file's name."""
    try:
        yield
    except ValueError as error:
        message = ' '.join(str(error).split())
        raise ValueError(message if str(name) in message else f'{name}: {message}') from error
    except KeyError as error:
        raise ValueError(f'{name}: incomplete file: {" ".join(str(error).split())}') from error
    except (OSError, RuntimeError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f'{name}: damaged file: {" ".join(str(error).split())}') from error


def content_digest(content: Mapping[str, str | np.ndarray]) -> str:
    """sha256 of named arrays and texts."""
    digest = hashlib.sha256()
    for name, value in sorted(content.items()):
        if isinstance(value, str):
            data = value.encode()
            digest.update(f'{name} text {len(data)}\n'.encode())
        else:
            data = np.ascontiguousarray(value)
            digest.update(f'{name} {data.dtype.str} {data.shape}\n'.encode())
        digest.update(data)
    return digest.hexdigest()


def check_digest(item: h5py.Group | h5py.Dataset, content: Mapping[str, str | np.ndarray]):
    """Raise ``ValueError`` unless the content has the digest that was recorded with it.

    Files of version 1 have no digests; one that says it is of version 1 and has them is refused.
    """
    recorded = item.attrs.get('sha256')
    if item.file.attrs['version'] == 1:
        if recorded is not None:
            raise ValueError(
                f'{item.file.filename}: says that it is of version 1, but {item.name} has a sha256, which came later; '
                'the file is damaged'
            )
        return
    if not isinstance(recorded, str) or recorded != content_digest(content):
        raise ValueError(f'{item.file.filename}: {item.name} does not have its recorded sha256; the file is damaged')


def read_array(group: h5py.Group, name: str) -> np.ndarray:
    """Read a dataset whose bytes are really in the file.

    A header may claim any size; what it claims is compared with what is stored before memory is allocated.

    Raises
    ------
    KeyError
        If there is no such dataset.
    ValueError
        If the file holds fewer bytes than the header claims.
    """
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise KeyError(f'{name} is not a dataset')
    stored = dataset.id.get_storage_size() * (_MAX_COMPRESSION if dataset.compression else 1)
    if dataset.nbytes > stored:
        raise ValueError(
            f'{dataset.name} claims {dataset.nbytes} bytes, but {dataset.id.get_storage_size()} are stored'
        )
    return dataset[...]
