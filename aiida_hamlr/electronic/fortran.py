"""Numbers as Fortran programs print them."""

from __future__ import annotations

import re

import numpy as np


def parse_numbers(text: str) -> np.ndarray:
    """(n,) floats of a text.

    Fortran writes D exponents, and leaves the letter out when the exponent has three digits.

    Raises
    ------
    ValueError
        If a word is not a number.
    """
    try:
        return np.array(text.split(), dtype=float)
    except ValueError:
        pass
    words = re.sub(r'(\d\.?)([+-]\d{3})\b', r'\1e\2', re.sub('[dD]', 'e', text)).split()
    return np.array(words, dtype=float)
