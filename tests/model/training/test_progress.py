"""Progress of a training in a log and on a terminal."""

import io

from aiida_hamlr.model.training import progress

ROW = {'epoch': 3, 'wall_s': 12.3, 'train_mae_meV': 4.5}
VALIDATED = ROW | {'validation_mae_meV': 5.25, 'validation_mae_onsite_meV': 7.0}


class Terminal(io.StringIO):
    """Output that says it is a terminal."""

    def isatty(self):
        return True


def test_log_lines_come_at_intervals_and_keep_the_validation(monkeypatch, capsys):
    clock = iter([0.0, 0.0, 7.0, 14.0, 21.0, 21.0, 22.0])
    monkeypatch.setattr(progress.time, 'monotonic', lambda: next(clock))
    shown = progress.Progress()
    for row in (VALIDATED, ROW, ROW, ROW):
        shown.report(row, is_last=False)
    shown.report(ROW | {'epoch': 9}, is_last=True)
    shown.close()
    errors = 'training 4.500 meV, validation 5.250 meV, on-site 7.00 meV'
    assert capsys.readouterr().out.splitlines() == [f'epoch {n}, 12 s: {errors}' for n in (3, 3, 9)]


def test_bar_shows_errors_and_the_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, 'stdout', terminal)
    shown = progress.Progress(0.5)
    shown.report(VALIDATED, is_last=False)
    shown._bar.mininterval = 0.0
    # Half of what was left takes 10 s: the other half takes 10 s, too.
    shown._bar.start_t -= 10.0
    shown.advance(0.75)
    text = terminal.getvalue()
    assert 'epoch 3: training 4.500 meV, validation 5.250 meV, on-site 7.00 meV' in text
    assert ' 75 %' in text and '00:10, 00:1' in text and 'left' in text
    shown.close()
    assert (
        terminal.getvalue()
        .splitlines()[-1]
        .endswith('epoch 3, 12 s: training 4.500 meV, validation 5.250 meV, on-site 7.00 meV')
    )
