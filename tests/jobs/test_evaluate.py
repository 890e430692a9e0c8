"""Which errors of a model are to be quoted."""

from aiida_hamlr.jobs.evaluate import describe_errors


def test_the_errors_to_quote_are_named_and_the_small_mean_is_not():
    errors = {'mae_meV': 0.077, 'mae_onsite_meV': 1.1, 'mae_overlapping_meV': 0.19, 'band_mae_occupied_meV': 1.4}
    quoted, warning = describe_errors(errors)
    assert quoted == (
        'errors to quote (meV): on-site elements 1.10, elements of orbitals that overlap 0.19, occupied bands 1.40'
    )
    assert '0.077 meV, is not one of them' in warning and '14 times smaller' in warning


def test_without_errors_nothing_is_said():
    assert describe_errors({}) == []
