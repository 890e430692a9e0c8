"""Damage to files, and what their readers may make of it."""

from fuzz_formats import REFUSED
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


@st.composite
def damage(draw):
    """A function from bytes to bytes: cut, flip bits, drop, repeat or overwrite a stretch."""
    kind = draw(st.sampled_from(['cut', 'flip', 'flip', 'drop', 'repeat', 'zero', 'noise']))
    where = draw(st.floats(0, 1, exclude_max=True))
    length = draw(st.integers(1, 200))
    flips = draw(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4))
    noise = draw(st.binary(min_size=1, max_size=40))

    def apply(data: bytes) -> bytes:
        start = int(where * len(data))
        if kind == 'cut':
            return data[:start]
        if kind == 'flip':
            changed = bytearray(data)
            for position, bit in flips:
                changed[int(position * len(data))] ^= 1 << bit
            return bytes(changed)
        middle = {
            'drop': b'',
            'repeat': 2 * data[start : start + length],
            'zero': bytes(len(data[start : start + length])),
            'noise': noise,
        }[kind]
        return data[:start] + middle + data[start + (len(noise) if kind == 'noise' else length) :]

    return apply


def fuzz(cases):
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        # Finding a smaller example of what has failed would take minutes where reading is slow.
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def read_or_refuse(path, data, read):
    """What ``read`` makes of the damaged file, None where it refuses it in one line that names it."""
    path.write_bytes(data)
    try:
        return read(path)
    except ValueError as error:
        assert path.name in str(error)
        assert '\n' not in str(error)
        return None


def damage_file(item, examples):
    """Damage the file of a `fuzz_formats.Format` in as many ways; check what is made of it each time."""
    path, whole = item.folder / item.file, item.read(item.folder)
    assert whole is not REFUSED, item.name
    data = path.read_bytes()

    @fuzz(examples)
    @given(damage=damage())
    def check(damage):
        found = read_or_refuse(path, damage(data), lambda path: item.read(item.folder))
        assert found is None or found is REFUSED or found == whole or not item.is_protected

    try:
        check()
    finally:
        path.write_bytes(data)
