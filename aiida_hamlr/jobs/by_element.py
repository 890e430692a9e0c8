"""Values of options that hold for all elements, as ``8``, or for one, as ``Al=8``."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def by_element(option: str, values: Sequence[str], elements: Collection[str] | None = None) -> dict[str, str]:
    """Return the text of each value by element; by the empty string if it names none.

    Parameters
    ----------
    option : str
        Name for messages, as ``--charge``.
    values : sequence of str
        ``VALUE`` or ``El=VALUE``, each as given once.
    elements : collection of str, optional
        Those that a value may name; default: any.

    Raises
    ------
    ValueError
        If a value is empty or given twice, or its element is not among `elements`.
    """
    found: dict[str, str] = {}
    for value in values:
        element, separator, text = value.partition('=')
        element, text = (element.strip(), text.strip()) if separator else ('', value.strip())
        if not text or (separator and not element):
            raise ValueError(f'{option} {value}: give a value, as VALUE, or El=VALUE for one element')
        if elements is not None and element and element not in elements:
            raise ValueError(f'{option} {value}: {element} is not among the elements, {", ".join(elements)}')
        if element in found:
            again = f'for {element}' if element else 'for all elements; El=VALUE is for one of them'
            raise ValueError(f'{option} {value}: given twice {again}')
        found[element] = text
    return found
