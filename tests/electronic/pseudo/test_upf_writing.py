"""Written UPF files: all numbers come back, with and without optional sections."""

import numpy as np
import pytest

from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_content import Projector, PseudoWavefunction, UpfContent
from aiida_hamlr.electronic.pseudo.upf_writing import FUNCTIONAL_NAMES, format_upf


@pytest.mark.parametrize('functional', sorted(FUNCTIONAL_NAMES))
@pytest.mark.parametrize('optional', [True, False])
def test_content_comes_back(functional, optional):
    r = 0.01 * np.arange(1201)
    more = {}
    if optional:
        more = {
            'core_density': np.exp(-r),
            'projectors': (Projector(0, r * np.exp(-r), 900), Projector(2, r**3 * np.exp(-r), 1201)),
            'dij': np.diag([1.5, -2.5]),
            'wavefunctions': (PseudoWavefunction('3D', 2, 0.5, r**3 * np.exp(-r), -3.25),),
        }
    local = -10.0 / np.maximum(r, 0.01)
    content = UpfContent('Ga', 5.0, functional, r, np.full(len(r), 0.01), local, r**2 * np.exp(-2 * r), **more)
    read = parse_upf(format_upf(content, 'numbers of a test', 'test'))
    assert (read.element, read.z_valence, read.functional) == ('Ga', 5.0, functional)
    for name in ('r', 'rab', 'v_local', 'rho_atom', 'dij'):
        np.testing.assert_allclose(getattr(read, name), getattr(content, name), rtol=1e-11, atol=1e-300)
    assert (read.core_density is None) != optional
    assert [p.cutoff_index for p in read.projectors] == [p.cutoff_index for p in content.projectors]
    for found, expected in zip(read.wavefunctions, content.wavefunctions, strict=True):
        assert (found.label, found.angular_momentum, found.occupation) == ('3D', 2, 0.5)
        assert found.energy == pytest.approx(expected.energy, abs=1e-6)


def test_writing_twice_gives_the_same_file():
    pseudo = make_pseudopotential('H')
    again = parse_upf(pseudo.text)
    info = pseudo.text[pseudo.text.index('<PP_INFO>') + 9 : pseudo.text.index('</PP_INFO>')]
    made_by = pseudo.text.split('generated="')[1].split('"')[0]
    assert format_upf(again, info, made_by) == pseudo.text
