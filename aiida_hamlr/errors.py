"""Exceptions that the `hamlr` executable turns into exit statuses; bad input is a plain ``ValueError``."""


class NumericalError(ArithmeticError):
    """A calculation broke down numerically: NaN, a diverged training, an overlap that is not positive definite."""


class NoGPU(ValueError):
    """A GPU is requested, but torch finds none, or fewer than processes."""


class WalltimeReached(Exception):
    """The allotted time is over; a checkpoint from which the calculation can resume is written, if one was due."""
