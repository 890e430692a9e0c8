"""Reports in Chromium without a network: no error, nothing from elsewhere, nothing cut, on screens wide and narrow."""

import os

import pytest
from ase.build import bulk
from browser import find_browser, open_browser
from matplotlib import image

from aiida_hamlr.report.compose import make_report
from aiida_hamlr.report.page import Page, Section, write
from aiida_hamlr.report.structure import structure_figure

pytestmark = pytest.mark.browser

WIDTHS = (1280, 390)

#: Figures with an error message in place of a drawing, and scripts that a label has smuggled in.
BROKEN = "document.querySelectorAll('.plot .no-webgl, .plot .gl-error').length"
IMAGES = "document.querySelectorAll('img, iframe, object, embed').length"
FIGURES = "[...document.querySelectorAll('.plot')].map(p => [p.clientWidth, p.querySelectorAll('.main-svg').length])"


@pytest.fixture(scope='module')
def browser():
    """Return a running Chromium; without one the test is skipped, or fails if programs are required."""
    executable = find_browser()
    if executable is None:
        reason = 'reports are opened in Chromium, which is not installed; `.ci/install browser` installs it'
        if os.environ.get('HAMLR_REQUIRE_CLUSTER'):
            pytest.fail(reason)
        pytest.skip(reason)
    with open_browser(executable) as browser:
        yield browser


@pytest.mark.parametrize('kind', ['reference', 'training', 'prediction', 'failure'])
def test_reports(request, browser, kind, tmp_path):
    """Every kind of report is whole at both widths."""
    path = write(make_report(request.getfixturevalue(kind)), tmp_path / 'report.html')
    for width in WIDTHS:
        visit = browser.visit(path, width, (BROKEN, IMAGES, FIGURES))
        assert visit.complaints == []
        assert visit.requests == []
        assert visit.overflow <= 0
        broken, images, figures = visit.values
        assert (broken, images) == (0, 0)
        assert bool(figures) == (kind != 'failure')
        assert all(0.5 * width < drawn <= width and layers for drawn, layers in figures)


def test_a_structure_fits_into_a_narrow_page(browser, tmp_path):
    """Nothing of a long cell touches the edges of its picture, which is higher than wide."""
    atoms = bulk('GaP', 'zincblende', a=5.4).repeat((4, 1, 1))
    page = Page('Structure', '', [Section('Structure', [structure_figure(atoms, 'GaP')])])
    place = "[...Object.values(document.querySelector('.plot').getBoundingClientRect().toJSON())]"
    picture = tmp_path / 'page.png'
    visit = browser.visit(write(page, tmp_path / 'page.html'), 390, (place,), picture)
    x, y, width, height, *_ = map(round, visit.values[0])
    assert height > width
    # The legend is above; elsewhere something is drawn, and the edges are empty.
    drawn = image.imread(picture)[y + 60 : y + height, x : x + width, :3].min(axis=-1) < 0.95
    assert drawn.mean() > 0.02
    assert not drawn[:, :4].any() and not drawn[:, -4:].any()


def test_the_check_sees_faults(browser, tmp_path):
    """A page with an error, a request and wide content is found out."""
    path = tmp_path / 'bad.html'
    path.write_text(
        '<body style="margin:0"><div style="width:2000px">wide</div><img src="http://example.org/x.png">'
        '<script>console.error("wrong"); undefined_function()</script>'
    )
    visit = browser.visit(path, 390)
    assert visit.requests == ['http://example.org/x.png']
    assert any('wrong' in text for text in visit.complaints)
    assert any('undefined_function' in text for text in visit.complaints)
    assert visit.overflow > 1000
