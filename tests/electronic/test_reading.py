"""What is no regular file is not opened, and what is too large or too deep is not read."""

import os
import socket

import pytest

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reading import DEEPEST, check_regular, depth, parse_json, read_text, shortened


@pytest.fixture
def places(tmp_path):
    """Path of each kind that is no regular file."""
    os.mkfifo(tmp_path / 'pipe')
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / 'socket'))
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'link').symlink_to('pipe')
    yield {
        'a pipe': tmp_path / 'pipe',
        'a socket': tmp_path / 'socket',
        'a folder': tmp_path / 'folder',
        'a device': '/dev/zero',
        'a pipe, through a link': tmp_path / 'link',
    }
    server.close()


def test_only_regular_files_are_opened(places):
    for kind, path in places.items():
        for read in (check_regular, lambda path: read_text(path, 1000), Hamiltonian.read):
            with pytest.raises(ValueError, match=f'{path}: {kind.split(",")[0]}, not a file'):
                read(path)


def test_only_regular_files_are_replaced(places):
    for path in places.values():
        with pytest.raises(ValueError, match='is no regular file and is not replaced'), atomic_path(path):
            pytest.fail('something was written')


def test_texts(tmp_path):
    path = tmp_path / 'a.txt'
    with pytest.raises(ValueError, match='no such file'):
        read_text(path, 10)
    path.write_bytes('ä'.encode())
    assert read_text(path, 2) == 'ä'
    with pytest.raises(ValueError, match='2 bytes are too many'):
        read_text(path, 1)
    path.write_bytes(b'a\xff')
    with pytest.raises(ValueError, match='byte 1 is not UTF-8'):
        read_text(path, 2)


def test_json_of_bounded_depth():
    nested = '[' * DEEPEST + ']' * DEEPEST
    assert depth(parse_json(nested, 'a')) == DEEPEST
    for text in (f'[{nested}]', '[' * 10**6, '{"a":' * 10**5 + '1' + '}' * 10**5):
        with pytest.raises(ValueError, match='a: (nested more than|not JSON)'):
            parse_json(text, 'a')
    with pytest.raises(ValueError, match='a: not JSON'):
        parse_json('9' * 5000, 'a')


def test_long_values_are_cut():
    assert shortened('a\nb') == 'a b'
    assert shortened('x' * 100, 10) == 'x' * 10 + '...'
