"""Reading YAML: no key twice, and no document that is small in the file and endless in memory."""

from __future__ import annotations

from pathlib import Path

import yaml

from aiida_hamlr.electronic.reading import DEEPEST, read_text, shortened

#: Largest file, bytes, and most values of a document, those of aliases counted wherever they are used.
LARGEST, MOST_VALUES = 10_000_000, 1_000_000


class _Loader(yaml.SafeLoader):
    """The safe loader, stricter."""

    def get_single_node(self):
        node = super().get_single_node()
        if node is not None:
            self._measure(node, {}, 0)
        return node

    def _measure(self, node: yaml.Node, known: dict[yaml.Node, int | None], depth: int) -> int:
        """Values of a node with all that it contains; None in ``known`` marks the nodes that contain this one."""
        if depth > DEEPEST:
            raise yaml.constructor.ConstructorError(
                None, None, f'nested more than {DEEPEST} levels deep', node.start_mark
            )
        if node in known:
            if known[node] is None:
                raise yaml.constructor.ConstructorError(None, None, 'an alias of what it stands in', node.start_mark)
            return known[node]
        known[node], size = None, 1
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        for child in children:
            for part in child if isinstance(child, tuple) else (child,):
                size += self._measure(part, known, depth + 1)
                if size > MOST_VALUES:
                    raise yaml.constructor.ConstructorError(
                        None, None, f'aliases make more than {MOST_VALUES} values of it', node.start_mark
                    )
        if isinstance(node, yaml.MappingNode):
            self._refuse_repetition(node)
        known[node] = size
        return size

    @staticmethod
    def _refuse_repetition(node: yaml.MappingNode):
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key {shortened(key.value)!r} is given twice', key.start_mark
                )
            seen.add(name)


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML file, read with the safe loader.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    ValueError
        If the file cannot be read, or for any of the reasons of `parse_yaml`; the message names it.
    """
    return parse_yaml(read_text(path, LARGEST), str(path))


def parse_yaml(text: str, name: str) -> dict:
    """The mapping in a YAML document, read with the safe loader.

    Parameters
    ----------
    text : str
        The document.
    name : str
        What errors call it.

    Raises
    ------
    ValueError
        If it is not YAML, gives a key twice, is nested too deep, or is no mapping; the message names the line.
    """
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'{name}, line {mark.line + 1}' if mark else name
        raise ValueError(f'{where}: not valid YAML: {shortened(getattr(error, "problem", None) or error)}') from error
    except RecursionError as error:
        raise ValueError(f'{name}: not valid YAML: nested more than {DEEPEST} levels deep') from error
    except (ValueError, OverflowError) as error:
        # As of a date in month 13.
        raise ValueError(f'{name}: not valid YAML: {shortened(error)}') from error
    if not isinstance(content, dict):
        raise ValueError(f'{name}: expected "key: value" lines')
    return content
