"""What tests of every kind of recorder share."""

from functools import cache

import pytest
from mmengine.logging import MessageHub

from ..setups import SETUPS, save_teacher


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Function of a set-up: its teacher's checkpoint."""
    folder = tmp_path_factory.mktemp('teachers')

    @cache
    def path(name):
        save_teacher(SETUPS[name](), folder / f'{name}.pth')
        return folder / f'{name}.pth'

    return path


@pytest.fixture
def no_training_before(request):
    """The epoch of another test's Runner is not this one's."""
    MessageHub.get_instance(request.node.nodeid)
