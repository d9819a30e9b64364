"""What tests of every kind of recorder share."""

import pytest
from mmengine.logging import MessageHub


@pytest.fixture
def no_training_before(request):
    """The epoch of another test's Runner is not this one's."""
    MessageHub.get_instance(request.node.nodeid)
