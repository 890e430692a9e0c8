"""Exceptions that the `hamlr` executable turns into exit statuses; bad input is a plain ``ValueError``."""

#: Words of the message about a checkpoint that cannot be read; the work chain of the training looks for them.
DAMAGED_CHECKPOINT = 'damaged checkpoint'


class NumericalError(ArithmeticError):
    """A calculation broke down numerically: NaN, a diverged training, an overlap that is not positive definite."""


class NoGPU(ValueError):
    """A GPU is requested, but torch finds none, or fewer than processes."""


class WalltimeReached(Exception):
    """The allotted time is over; a checkpoint from which the calculation can resume is written, if one was due."""
