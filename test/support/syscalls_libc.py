"""Functions of libc that Python does not have."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    """A function of libc that returns -1 and sets errno."""
    ctypes.set_errno(0)
    function = getattr(libc, name)
    function.restype = ctypes.c_int
    result = function(*args)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
