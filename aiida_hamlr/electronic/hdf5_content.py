"""What an HDF5 file may contain: data of its own, and no more of it than its shapes declare.

HDF5 can take data from other files (external storage, external links, virtual datasets), inflates compressed chunks to
whatever size they have, and loads plug-ins for filters that it does not know. None of this is needed here; a file that
uses it is refused before anything of it is read.
"""

from __future__ import annotations

import zlib
from math import prod

import h5py
from h5py import h5d, h5l, h5o, h5t, h5z

#: Filters that this program writes.
_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}

#: Kinds of elements that this program writes: numbers, texts, and booleans, which are enumerations.
_TYPES = {h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM}

#: A chunk of a small dataset may be larger than it, up to this many bytes.
_SMALL_CHUNK = 2**20

_LINKS = {h5l.TYPE_SOFT: 'a soft link', h5l.TYPE_EXTERNAL: 'a link to another file'}


def check_content(handle: h5py.File):
    """Look at all links and datasets of an open file.

    Raises
    ------
    ValueError
        If one is not plain data inside the file; the message names it.
    """
    names = []
    handle.id.links.visit(names.append)
    for name in names:
        kind = handle.id.links.get_info(name).type
        if kind != h5l.TYPE_HARD:
            raise ValueError(f'{_text(name)} is {_LINKS.get(kind, "an unknown link")}; only data in the file are read')
        kind = h5o.get_info(handle.id, name).type
        if kind == h5o.TYPE_DATASET:
            _check_dataset(h5d.open(handle.id, name), _text(name))
        elif kind != h5o.TYPE_GROUP:
            raise ValueError(f'{_text(name)} is neither a group nor a dataset')


def _check_dataset(dataset: h5d.DatasetID, name: str):
    plan = dataset.get_create_plist()
    if plan.get_external_count():
        raise ValueError(
            f'{name} keeps its data in another file ({_text(plan.get_external(0)[0])}); only data in the file are read'
        )
    layout = plan.get_layout()
    if layout == h5d.VIRTUAL:
        raise ValueError(f'{name} is a virtual dataset; only data in the file are read')
    if dataset.get_type().get_class() not in _TYPES and not _is_complex(dataset.get_type()):
        raise ValueError(f'{name} holds neither numbers nor text')
    filters = [plan.get_filter(index) for index in range(plan.get_nfilters())]
    unknown = [entry for entry in filters if entry[0] not in _FILTERS]
    if unknown:
        raise ValueError(f'{name} is compressed with {_text(unknown[0][3]) or unknown[0][0]}, which is not used here')
    if layout != h5d.CHUNKED:
        return
    size, chunk = (prod(lengths) * dataset.get_type().get_size() for lengths in (dataset.shape, plan.get_chunk()))
    if chunk > max(size, _SMALL_CHUNK):
        raise ValueError(f'{name} has {size} bytes in chunks of {chunk}')
    if any(entry[0] == h5z.FILTER_DEFLATE for entry in filters):
        position = next(index for index, entry in enumerate(filters) if entry[0] == h5z.FILTER_DEFLATE)
        _check_inflated(dataset, name, chunk, 1 << position)


def _is_complex(kind: h5t.TypeID) -> bool:
    """Whether elements are complex numbers as h5py stores them: two floating-point numbers called r and i."""
    if kind.get_class() != h5t.COMPOUND or kind.get_nmembers() != 2:
        return False
    names = [_text(kind.get_member_name(index)) for index in range(2)]
    return names == ['r', 'i'] and all(kind.get_member_class(index) == h5t.FLOAT for index in range(2))


def _check_inflated(dataset: h5d.DatasetID, name: str, size: int, skipped: int):
    """Raise ``ValueError`` if a chunk inflates to more than ``size`` bytes; HDF5 itself sets no bound."""
    for index in range(dataset.get_num_chunks()):
        chunk = dataset.get_chunk_info(index)
        if chunk.filter_mask & skipped:
            continue
        _, data = dataset.read_direct_chunk(chunk.chunk_offset)
        try:
            inflated = zlib.decompressobj().decompress(data, size + 1)
        except zlib.error as error:
            raise ValueError(f'{name}: damaged compressed data ({error})') from error
        if len(inflated) > size:
            raise ValueError(f'{name} inflates to more than the {size} bytes that its shape declares')


def _text(name: bytes | str) -> str:
    return name.decode(errors='replace') if isinstance(name, bytes) else name
