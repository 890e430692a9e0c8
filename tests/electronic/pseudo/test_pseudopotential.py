"""UPF files: what is read, what is refused, and the transforms against analytic ones."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf, spherical_jn

from aiida_hamlr.electronic.pseudo.pseudopotential import Projector, Pseudopotential, PseudoWavefunction
from aiida_hamlr.electronic.pseudo.upf_content import UpfContent
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf

ESPRESSO = Path('/usr/share/espresso/pseudo')
EXAMPLES = Path('/usr/share/doc/quantum-espresso/examples')

needs_espresso = pytest.mark.skipif(not ESPRESSO.is_dir(), reason='no pseudopotentials of Quantum ESPRESSO')
needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason='no examples of Quantum ESPRESSO')

WIDTH, Z = 0.7, 4.0


@pytest.fixture(scope='module')
def content():
    """Gaussian charges and projectors, whose transforms are known."""
    r = 0.01 * np.arange(1201)
    safe = np.maximum(r, 1e-30)
    v_local = np.where(r > 0, -2 * Z * erf(r / (np.sqrt(2) * WIDTH)) / safe, -2 * Z * np.sqrt(2 / np.pi) / WIDTH)
    gauss = np.exp(-(r**2) / 2)
    return UpfContent(
        element='Si',
        z_valence=Z,
        functional='lda_pw',
        r=r,
        rab=np.full(len(r), 0.01),
        v_local=v_local,
        rho_atom=Z * 4 * np.pi * r**2 * gauss / (2 * np.pi) ** 1.5,
        core_density=gauss,
        projectors=(Projector(0, r * gauss, 1001), Projector(1, r * r * gauss, 1001)),
        dij=np.diag([1.5, -2.5]),
        wavefunctions=(
            PseudoWavefunction('3S', 0, 2.0, r * gauss, -10.0),
            PseudoWavefunction('3P', 1, 2.0, r**2 * gauss),
        ),
    )


@pytest.fixture(scope='module')
def text(content):
    return format_upf(content, 'Gaussians <PP_R> 1 2 </PP_R>', 'test')


def test_written_file_is_read_back(content, text):
    pseudo = Pseudopotential.from_text(text)
    assert (pseudo.element, pseudo.z_valence, pseudo.functional) == ('Si', 4.0, 'lda_pw')
    for name in ('r', 'rab', 'v_local', 'rho_atom', 'core_density', 'dij'):
        np.testing.assert_allclose(getattr(pseudo, name), getattr(content, name), rtol=1e-11, atol=1e-300)
    assert [p.cutoff_index for p in pseudo.projectors] == [1001, 1001]
    assert [w.label for w in pseudo.wavefunctions] == ['3S', '3P']
    assert pseudo.wavefunctions[0].energy == pytest.approx(-10.0, abs=1e-6)
    assert pseudo.wavefunctions[1].energy is None


def test_form_factors_are_the_analytic_ones(text):
    pseudo = Pseudopotential.from_text(text)
    q = np.array([[0.3, 1.0], [2.0, 4.0]])
    gauss = (2 * np.pi) ** 1.5 * np.exp(-(q**2) / 2)
    expected = -8 * np.pi * Z * np.exp(-((q * WIDTH) ** 2) / 2) / q**2
    np.testing.assert_allclose(pseudo.local_form_factor(q), expected, atol=1e-8)
    np.testing.assert_allclose(pseudo.core_form_factor(q), gauss, atol=1e-9)
    np.testing.assert_allclose(pseudo.density_form_factor(q), Z * gauss / (2 * np.pi) ** 1.5, atol=1e-9)
    bessel = np.sqrt(np.pi / 2) * np.exp(-(q**2) / 2)
    np.testing.assert_allclose(pseudo.projector_form_factor(0, q), bessel, atol=1e-9)
    np.testing.assert_allclose(pseudo.projector_form_factor(1, q), q * bessel, atol=1e-9)


def test_local_form_factor_at_zero_is_the_limit_without_the_coulomb_divergence(text):
    pseudo = Pseudopotential.from_text(text)
    # int (V + 2 z / r) d^3r of a Gaussian charge of width w is 4 pi z w^2.
    assert pseudo.local_form_factor(0.0) == pytest.approx(4 * np.pi * Z * WIDTH**2, rel=1e-8)


def test_second_moment_of_a_gaussian(text):
    assert Pseudopotential.from_text(text).r2_moment == pytest.approx(3 * Z, rel=1e-8)


@needs_espresso
@pytest.mark.parametrize(
    ('name', 'expected'),
    [('Al.pz-vbc.UPF', 29.516), ('As.pz-bhs.UPF', 31.834), ('Si.pz-vbc.UPF', 29.811), ('H.pz-vbc.UPF', 3.823)],
)
def test_second_moments_of_free_atoms(name, expected):
    assert Pseudopotential.read(ESPRESSO / name).r2_moment == pytest.approx(expected, abs=1e-3)


@needs_espresso
def test_transforms_follow_simpsons_rule_point_by_point():
    pseudo = Pseudopotential.read(ESPRESSO / 'Al.pz-vbc.UPF')
    q, n = 1.3, 143
    integrand = pseudo.r[:n] * pseudo.projectors[1].values[:n] * spherical_jn(1, q * pseudo.r[:n]) * pseudo.rab[:n]
    total = sum(integrand[i - 1] + 4 * integrand[i] + integrand[i + 1] for i in range(1, n - 1, 2)) / 3
    assert pseudo.projector_form_factor(1, q) == pytest.approx(total, rel=1e-13)


#: What is expected of the files that Quantum ESPRESSO 6.7 brings along: the functional, or why it is refused.
FILES = {
    'Al.pz-vbc.UPF': 'lda_pz',
    'As.pz-bhs.UPF': 'lda_pz',
    'B.pz-vbc.UPF': 'lda_pz',
    'C.UPF': 'lda_pz',
    'C.pbe-mt_gipaw.UPF': 'pbe',
    'C_3.98148.UPF': 'lda_pz',
    'H.pz-vbc.UPF': 'lda_pz',
    'Mg.pz-n-vbc.UPF': 'lda_pz',
    'Si.pbe-rrkj.UPF': 'pbe',
    'Si.pz-vbc.UPF': 'lda_pz',
    'C.tpss-mt.UPF': "functional 'SLA  PW   TPSS TPSS' is not supported",
    'H.tpss-mt.UPF': "functional 'SLA  PW   TPSS TPSS' is not supported",
    'H.blyp-vbc.UPF': "functional 'SLA  LYP  B88  BLYP' is not supported",
    'O.blyp-mt.UPF': "functional 'SLA  LYP  B88  BLYP' is not supported",
    'Fe.pbe-mt_fhi.UPF': 'a semilocal (SL) pseudopotential',
    'H.coulomb-ae.UPF': 'a bare Coulomb (1/r) pseudopotential',
    'Si.rel-pbe-rrkj.UPF': 'pbe',
    'Si_r.upf': 'pbe',
    'pb_s.UPF': 'lda_pz',
    'H_US.van': 'not a UPF file',
    'Si.bhs': 'not a UPF file',
    'B.pbe-n-kjpaw_psl.1.0.0.UPF': 'a PAW pseudopotential',
    'O.pz-rrkjus.UPF': 'an ultrasoft pseudopotential',
}
GZIPPED = {
    'H_HSCV_PBE-1.0.UPF.gz': 'pbe',
    'O_HSCV_PBE-1.0.UPF.gz': 'pbe',
    'Ga_ONCV_LDA-1.0.upf.gz': 'lda_pz',
    'N_ONCV_LDA-1.0.upf.gz': 'lda_pz',
    'Ag_ONCV_PBE-1.0.upf.gz': 'pbe',
    'C_PBE_TM_2pj.UPF.gz': 'pbe',
    'Ni_PBE_TM_2pj.UPF.gz': 'pbe',
    'O_PBE_TM.UPF.gz': 'pbe',
    'Si.LDA.0.5.UPF.gz': 'lda_pz',
    'Asrel.RRKJ3.UPF.gz': 'lda_pz',
    'Ga.pbe-dn-kjpaw_psl.0.2.upf.gz': 'a PAW pseudopotential',
    'O_PBE_USPP.UPF.gz': 'an ultrasoft pseudopotential',
}


def outcome(path):
    try:
        return Pseudopotential.read(path).functional
    except ValueError as error:
        assert str(error).startswith(f'{path}: ')
        return str(error).removeprefix(f'{path}: ')


def check_outcome(path, expected):
    if expected is None:
        reasons = ('an ultrasoft pseudopotential', 'a PAW pseudopotential', 'not a UPF file')
        assert outcome(path).startswith(reasons), path.name
    else:
        assert outcome(path).startswith(expected), path.name


@needs_espresso
def test_every_file_of_quantum_espresso_is_read_or_refused_for_the_right_reason():
    names = {path.name for path in ESPRESSO.iterdir() if path.is_file()}
    assert set(FILES) <= names
    for name in names:
        check_outcome(ESPRESSO / name, FILES.get(name))


@needs_examples
def test_every_gzipped_example_is_read_or_refused_for_the_right_reason(tmp_path):
    for packed in sorted(EXAMPLES.rglob('*.gz')):
        if 'upf' not in packed.name.lower():
            continue
        path = tmp_path / packed.stem
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        expected = GZIPPED.get(packed.name)
        if expected is None and (ESPRESSO / packed.stem).exists():
            expected = FILES.get(packed.stem)
        check_outcome(path, 'pbe' if packed.name == 'Ch_PBE_TM_2pj.UPF.gz' else expected)


@needs_espresso
def test_version_1_agrees_with_its_own_header():
    pseudo = Pseudopotential.read(ESPRESSO / 'C.UPF')
    assert (pseudo.element, pseudo.z_valence, len(pseudo.r)) == ('C', 4.0, 461)
    assert [(w.label, w.angular_momentum, w.occupation) for w in pseudo.wavefunctions] == [
        ('2s', 0, 2.0),
        ('2p', 1, 2.0),
        ('3d', 2, 0.0),
    ]
    np.testing.assert_allclose(pseudo.dij, np.diag([1.29688449256, -3.74568289496]))
    assert [p.cutoff_index for p in pseudo.projectors] == [377, 377]
    assert len(pseudo.projectors[0].values) == 461


def test_number_and_boolean_formats(text):
    untidy = text.replace('z_valence="4.00000000"', 'z_valence="  4.000000000000D0 "')
    untidy = untidy.replace('element="Si"', 'element="si "').replace('core_correction="T"', 'core_correction=".true."')
    untidy = untidy.replace('SLA PW NOGX NOGC', ' SLA  PW   PBE  PBE ').replace('has_so="F"', 'has_so="false"')
    first = f'{0.01:.12e}'
    untidy = untidy.replace(first, '1.000000000000D-02', 1).replace(first, '0.100000000000-001', 1)
    pseudo = Pseudopotential.from_text(untidy)
    assert (pseudo.element, pseudo.z_valence, pseudo.functional) == ('Si', 4.0, 'pbe')
    assert pseudo.core_density is not None
    assert pseudo.r[1] == 0.01 and pseudo.rab[0] == 0.01


def test_file_without_projectors(content):
    bare = format_upf(replace(content, projectors=(), dij=np.zeros((0, 0))), '', 'test')
    pseudo = Pseudopotential.from_text(bare)
    assert pseudo.projectors == () and pseudo.dij.shape == (0, 0)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('</UPF>', '', 'truncated'),
        ('</PP_CHI.2>', '', 'truncated'),
        ('element="Si"', 'element="Xy"', "'Xy' is not a chemical element"),
        ('is_ultrasoft="F"', 'is_ultrasoft="T"', 'an ultrasoft pseudopotential'),
        ('pseudo_type="NC"', 'pseudo_type="SL"', 'a semilocal'),
        ('has_so="F"', 'has_so=".TRUE."', 'no section PP_RELBETA.1'),
        ('has_so="F"', 'has_so="maybe"', 'instead of a boolean'),
        ('SLA PW NOGX NOGC', 'SCAN', "functional 'SCAN' is not supported"),
        ('mesh_size="1201"', 'mesh_size="1200"', 'mesh_size is 1200'),
        ('number_of_proj="2"', 'number_of_proj="3"', 'no section PP_BETA.3'),
        ('number_of_proj="2"', 'number_of_proj="inf"', 'damaged'),
        (' size="1201"', ' size="1202"', 'announces 1202 values and has 1201'),
        ('1.500000000000e+00 0.000000000000e+00', '1.5 0.7', 'PP_DIJ is not symmetric'),
        ('-2.500000000000e+00\n</PP_DIJ>', 'nan</PP_DIJ>', 'PP_DIJ holds values that are not finite'),
        ('z_valence="4.00000000"', 'z_valence="nan"', 'z_valence nan is not possible'),
        ('4.000000000000e-02', 'NaN', 'not finite'),
        ('4.000000000000e-02', '4.0e-02 4.1e-02', 'announces 1201 values and has 1202'),
        ('4.000000000000e-02', 'x', 'not a number'),
        ('5.000000000000e-02', '1.000000000000e-03', 'not an increasing mesh'),
    ],
)
def test_bad_files_are_refused_by_name(text, old, new, message):
    assert old in text
    with pytest.raises(ValueError, match=r'^Si\.upf: ') as caught:
        Pseudopotential.from_text(text.replace(old, new, 1), 'Si.upf')
    assert message in str(caught.value)


def test_file_that_lost_a_projector_is_refused(content):
    lost = (content.projectors[0], replace(content.projectors[1], values=np.zeros(len(content.r))))
    with pytest.raises(ValueError, match=r'^Si\.upf: PP_BETA\.2 is zero everywhere'):
        Pseudopotential.from_text(format_upf(replace(content, projectors=lost), '', 'test'), 'Si.upf')


def test_a_file_cut_anywhere_is_refused(text):
    for length in range(0, len(text) - 8, len(text) // 40):
        with pytest.raises(ValueError, match='^cut.upf: '):
            Pseudopotential.from_text(text[:length], 'cut.upf')


def test_missing_file():
    with pytest.raises(ValueError, match='nowhere.UPF: cannot be read'):
        Pseudopotential.read('nowhere.UPF')
