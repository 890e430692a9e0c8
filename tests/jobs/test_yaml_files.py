"""YAML that says two things, or is small in the file and endless in memory, is refused in one line."""

import pytest

from aiida_hamlr.jobs.yaml_files import parse_yaml, read_yaml

BOMB = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n' + '\n'.join(
    f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]' for n in range(1, 12)
)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: 1\nb: 2\na: 3\n', "line 3: .* key 'a' is given twice"),
        ('a: {b: 1, c: {d: 1, d: 2}}\n', "line 1: .* key 'd' is given twice"),
        (f'{"k" * 500}: 1\n{"k" * 500}: 2\n', "line 2: .* key 'k{60,80}"),
        (BOMB, 'aliases make more than 1000000 values'),
        ('a: &a [1, *a]\n', 'an alias of what it stands in'),
        ('a: ' + '[' * 100 + ']' * 100, 'nested more than 64 levels deep'),
        ('a: ' + '[' * 100_000, 'nested more than 64 levels deep'),
        ('a: ' + '{b: ' * 200 + '1' + '}' * 200, 'nested more than 64 levels deep'),
        ('a: 2020-13-45\n', 'not valid YAML'),
        ('a: !!python/name:os.system\n', 'line 1: not valid YAML'),
        ('- a\n- b\n', 'expected "key: value" lines'),
    ],
)
def test_refused(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_yaml(text, 'a.yaml')
    assert str(error.value).startswith('a.yaml') and '\n' not in str(error.value) and len(str(error.value)) < 400


def test_read(tmp_path):
    path = tmp_path / 'a.yaml'
    path.write_text('base: &base {x: 1, y: 2}\nother: {<<: *base, y: 3}\n')
    assert read_yaml(path) == {'base': {'x': 1, 'y': 2}, 'other': {'x': 1, 'y': 3}}
    path.write_bytes(b'a: \xff\n')
    with pytest.raises(ValueError, match='a.yaml: not a text file'):
        read_yaml(path)
