"""Attributes of files: typed in Python, and written back exactly as they were read."""

import dataclasses
import json

import pytest

from aiida_hamlr.electronic.bands.band_structure import BandAttributes
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes


def stored(*attributes, kind=HamiltonianAttributes):
    """What is written of the JSON text of a file."""
    return [json.dumps(kind.from_dict(json.loads(text)).to_dict()) for text in attributes]


def test_what_is_read_is_written_in_the_same_words_and_order():
    """The digest of a file is that of this text: unknown keys, nulls and the order of keys count."""
    texts = [
        '{}',
        '{"origin": "reference", "gauge_shift_eV": 1.25, "vacuum_level_eV": null, "n_electrons": 8, "gap_eV": null}',
        '{"gap_eV": 0.5, "invented_later": {"a": [1, null]}, "fermi_level_eV": 1e-05, "another": null, "n_spin": 1}',
        '{"code": "\\u00c5", "verification": {"z": 1, "a": NaN}, "model": {}, "scf_kpoints": [2, 2, 2]}',
    ]
    assert stored(*texts) == texts
    bands = ['{"formula": "AlAs", "n_occupied": 4, "vbm_eV": 1.0, "direct_gap_eV": 2, "fermi_level_eV": -3.5}']
    assert stored(*bands, kind=BandAttributes) == bands


def test_changes_replace_values_and_follow_what_was_read():
    attributes = HamiltonianAttributes.from_dict({'gap_eV': 0.5, 'later': 1, 'origin': 'reference'})
    attributes.origin, attributes.gap, attributes.n_spin = 'predicted', None, 1
    assert list(attributes.to_dict().items()) == [
        ('gap_eV', None),
        ('later', 1),
        ('origin', 'predicted'),
        ('n_spin', 1),
    ]
    assert attributes == dataclasses.replace(attributes)
    assert HamiltonianAttributes(gap=None, n_spin=2).to_dict() == {'n_spin': 2}


def test_names_are_plain_and_keys_have_units():
    attributes = HamiltonianAttributes(gap=1.0, ecutrho=80.0, born_charge_sum=0.1, gauge_shift=2.0)
    assert attributes.to_dict() == {
        'gauge_shift_eV': 2.0,
        'ecutrho_Ry': 80.0,
        'gap_eV': 1.0,
        'born_charge_sum_e': 0.1,
    }
    assert HamiltonianAttributes.from_dict(attributes.to_dict()) == attributes


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        ({'gap_eV': '1.0'}, r"attribute gap_eV is '1\.0'; expected float"),
        ({'n_spin': 2.0}, r'attribute n_spin is 2\.0; expected int'),
        ({'n_electrons': True}, 'attribute n_electrons is True; expected float'),
        ({'grid': 3}, 'attribute grid is 3; expected list'),
        ([1, 2], r'the attributes are no JSON object: \[1, 2\]'),
    ],
)
def test_values_of_another_type_are_refused(content, match):
    with pytest.raises(ValueError, match=match):
        HamiltonianAttributes.from_dict(content)


def test_a_misspelt_name_is_refused():
    with pytest.raises(AttributeError, match='gap_eV'):
        HamiltonianAttributes().gap_eV = 1.0
    with pytest.raises(TypeError, match='gap_eV'):
        HamiltonianAttributes(gap_eV=1.0)
