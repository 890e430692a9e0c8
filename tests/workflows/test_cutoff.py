"""The search for a plane-wave cutoff."""

from types import SimpleNamespace

import pytest
from aiida import orm

from aiida_hamlr.workflows.cutoff import HIGHEST, LOWEST, STEP, CutoffStepsMixin, next_cutoff, validate_tolerance


def search(error_of, start, tolerance=10.0):
    """Return what is tried until the search ends."""
    tried = {start: error_of(start)}
    while (cutoff := next_cutoff(tried, tolerance)) is not None:
        assert cutoff not in tried
        tried[cutoff] = error_of(cutoff)
    return tried


@pytest.mark.parametrize('start', [16.0, 30.0, 120.0])
def test_two_neighbours_enclose_the_tolerance(start):
    """Errors that fall exponentially: 10 meV at 40 Ry."""
    tried = search(lambda cutoff: 10.0 * 10 ** (1 - cutoff / 40.0), start)
    enough = min(cutoff for cutoff, error in tried.items() if error <= 10.0)
    assert 40.0 <= enough < 40.0 * STEP + 0.1
    assert any(cutoff < enough and cutoff * STEP == pytest.approx(enough, abs=0.1) for cutoff in tried)
    assert len(tried) <= 7


def test_a_refused_reference_is_a_cutoff_that_is_too_low():
    tried = search(lambda cutoff: None if cutoff < 30 else 5.0, 50.0)
    assert tried == {50.0: 5.0, 40.0: 5.0, 32.0: 5.0, 25.6: None}


def test_the_search_ends_at_its_limits():
    assert max(search(lambda cutoff: 20.0, 100.0)) <= HIGHEST
    assert min(search(lambda cutoff: 0.0, 100.0)) >= LOWEST


def test_tolerance_must_be_positive():
    assert 'positive' in validate_tolerance(orm.Float(0.0), None)
    assert validate_tolerance(orm.Float(5.0), None) is None


class Steps(CutoffStepsMixin):
    """The steps with a context, without an engine."""

    exit_codes = SimpleNamespace(ERROR_CUTOFF_NOT_FOUND='no cutoff for {tolerance} meV up to {highest} Ry')

    def __init__(self, **inputs):
        self.inputs = SimpleNamespace(**inputs)
        self.ctx, self.reports, self.outputs = SimpleNamespace(scf=[], scf_is_done=True), [], {}
        self.report, self.out = self.reports.append, self.outputs.__setitem__
        self.setup_cutoff()

    @property
    def searches_cutoff(self):
        return hasattr(self.inputs, 'cutoff_tolerance')

    def try_at(self, cutoff, error):
        """Take the step after a reconstruction, or after one that was refused."""
        parameters = self.change_parameters({'SYSTEM': {'ecutwfc': 50.0, 'ecutrho': 300.0, 'nbnd': 8}})
        assert parameters['SYSTEM']['ecutwfc'] == cutoff
        assert parameters['SYSTEM']['ecutrho'] == pytest.approx(6 * cutoff) and parameters['SYSTEM']['nbnd'] == 8
        self.ctx.scf.append(
            SimpleNamespace(inputs=SimpleNamespace(pw=SimpleNamespace(parameters=orm.Dict(parameters))))
        )
        content = {'ecutwfc_Ry': cutoff, 'ecutrho_Ry': 6 * cutoff, 'cutoff_error_meV': error}
        job = SimpleNamespace(outputs=SimpleNamespace(output_parameters=orm.Dict(content)), cutoff=cutoff)
        return self.tries_another_cutoff(None if error is None else job)


@pytest.mark.usefixtures('aiida_profile')
def test_the_reference_at_the_cutoff_found_is_the_result():
    steps = Steps(cutoff_tolerance=orm.Float(10.0))
    assert steps.try_at(50.0, 1.0) and not steps.ctx.scf_is_done
    assert steps.try_at(40.0, 4.0)
    assert not steps.try_at(32.0, None)
    assert steps.finish_cutoff() is None
    assert steps.ctx.reconstruct.cutoff == 40.0
    assert steps.ctx.scf[-1].inputs.pw.parameters['SYSTEM']['ecutwfc'] == 40.0
    assert steps.outputs['cutoff']['ecutrho_Ry'] == 240.0
    assert steps.reports[-1] == 'use ecutwfc 40 Ry, ecutrho 240 Ry: cutoff error 4.0 meV'


@pytest.mark.usefixtures('aiida_profile')
def test_nothing_is_changed_unless_a_search_is_asked_for():
    steps = Steps()
    parameters = {'SYSTEM': {'ecutwfc': 50.0}}
    assert steps.change_parameters(parameters) is parameters
    assert not steps.tries_another_cutoff(None) and steps.finish_cutoff() is None
    assert not steps.reports and not steps.outputs


@pytest.mark.usefixtures('aiida_profile')
def test_without_a_sufficient_cutoff_the_exit_code_says_so():
    steps = Steps(cutoff_tolerance=orm.Float(10.0))
    steps.ctx.tried = {50.0: 700.0}
    assert steps.finish_cutoff() == f'no cutoff for 10 meV up to {HIGHEST:g} Ry'
