"""The Python interface of the package says what goes in and what comes out, with shapes and units."""

import inspect
import re

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc
from numpydoc.validate import validate

import aiida_hamlr

#: All parameters are described (PR01, PR02, PR03, PR07), and so is what is returned (RT01, RT03).
RULES = {'GL08', 'SS01', 'PR01', 'PR02', 'PR03', 'PR07', 'RT01', 'RT03'}

#: Fields of dataclasses that hold what a file of a later version had besides.
INHERITED = {"Parameters {'other', '_keys'} not documented", "Parameters {'_keys', 'other'} not documented"}

NAMES = [name for name in aiida_hamlr.__all__ if name != '__version__']
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(aiida_hamlr, name))]

#: An array or a tensor among types, and its shape: (N,), (3, 3), (nk, 3) ...
ARRAY = re.compile(r'\b(array|ndarray|tensor|array_like)\b')
SHAPE = re.compile(r'\([\w\s+*/.]+,[\w\s,+*/.]*\)')

UNIT = re.compile(
    r'\b(eV|meV|Ry|bohr|V|K|\|?e\|?|degrees?)\b|Å|\|e\||dimensionless|fraction|number|none\b|index|indices|unit', re.I
)


def described(name):
    """Parameters and results that the docstring of a function or a class describes."""
    target = getattr(aiida_hamlr, name)
    document = ClassDoc(target) if inspect.isclass(target) else FunctionDoc(target)
    return document['Parameters'] + document['Attributes' if inspect.isclass(target) else 'Returns']


@pytest.mark.parametrize('name', NAMES)
def test_parameters_and_results_are_described(name):
    """A section describes each parameter of the signature, and functions say what they return."""
    target = getattr(aiida_hamlr, name)
    found = validate(f'{target.__module__}.{target.__qualname__}')['errors']
    assert not [message for code, message in found if code in RULES and message not in INHERITED]


@pytest.mark.parametrize('name', NAMES)
def test_arrays_have_shapes_and_units(name):
    """Where an array is taken or returned, its shape and its unit are there."""
    for entry in described(name):
        text = ' '.join([entry.type, *entry.desc])
        if ARRAY.search(entry.type):
            assert SHAPE.search(text), f'{name}: {entry.name or "result"}: no shape in {text!r}'
            assert UNIT.search(text), f'{name}: {entry.name or "result"}: no unit in {text!r}'


@pytest.mark.parametrize('name', FUNCTIONS)
def test_annotated_arrays_are_described_as_arrays(name):
    """What the signature calls an array is an array in the docstring, so that the test above sees it."""
    target = getattr(aiida_hamlr, name)
    types = {name: entry.type for entry in FunctionDoc(target)['Parameters'] for name in entry.name.split(', ')}
    for parameter, annotation in inspect.get_annotations(target).items():
        if parameter != 'return' and 'ndarray' in str(annotation):
            assert ARRAY.search(types[parameter]), f'{name}: {parameter} is described as {types[parameter]!r}'
    if 'ndarray' in str(inspect.get_annotations(target).get('return')):
        assert any(ARRAY.search(entry.type) for entry in FunctionDoc(target)['Returns']), name
