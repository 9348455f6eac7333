"""A run that several files of tests take up."""

import pytest
from take_cover_case import finish, start


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The data folder that holds Take Cover's finished tiny run 'whole'."""
    data = tmp_path_factory.mktemp('data')
    finish(start(data, 'whole'))
    return data
