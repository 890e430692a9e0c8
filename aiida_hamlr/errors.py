"""Exceptions that the `hamlr` executable turns into exit statuses; bad input is a plain ``ValueError``."""


class NumericalError(ArithmeticError):
    """A calculation broke down numerically: NaN, a diverged training, an overlap that is not positive definite."""


class NoGPU(ValueError):
    """A GPU is asked for and there is none, or there are fewer than processes."""


class WalltimeReached(Exception):
    """The allotted time is over; the state needed to go on has been written."""
