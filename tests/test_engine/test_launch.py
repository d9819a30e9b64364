"""What stops a training before its first step says what to do."""

import pytest

from mmdet_rankkd.engine.launch import train


def test_initial_weights_that_cannot_be_downloaded(student_cfg):
    """Nobody listens at that port."""
    student_cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='http://127.0.0.1:9/x.pth'
    )
    with pytest.raises(ValueError, match='cannot be downloaded.*refused'):
        train(student_cfg)
