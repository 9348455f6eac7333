"""What tests share whose workers die."""

import pathlib


def first_time(path):
    """Whether no process was here before."""
    try:
        pathlib.Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
