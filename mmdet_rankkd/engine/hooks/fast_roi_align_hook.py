"""RoIAlign layers that are fast on a processor."""

import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmdet_rankkd.engine.pooling import pool_fast
from mmdet_rankkd.registry import HOOKS

from .tau_hook import student_of, teacher_of, unwrapped


@HOOKS.register_module()
class FastRoIAlignHook(Hook):
    """Have RoIAlign layers work by :func:`mmdet_rankkd.ops.roi_align`.

    Those of the student in training, validation and tests, and those of its
    teacher in training. On a processor mmcv's RoIAlign is much of a training
    step of Faster R-CNN, and this takes a small part of its time; values and
    gradients are the same but for rounding. On a GPU, and where maxima are
    taken, layers stay as they are::

        custom_hooks = [dict(type='mmdet_rankkd.FastRoIAlignHook')]

    Raises:
        ValueError: Before the first step, if the model has no such layer.
    """

    def before_run(self, runner: Runner) -> None:
        """Change the student, which is the model that is tested too."""
        model = unwrapped(runner.model)
        count = pool_fast(student_of(model))
        if not count:
            raise ValueError(
                f'FastRoIAlignHook has nothing to do: a {type(model).__name__}'
                ' has no RoIAlign layer that averages. Leave it out of '
                'custom_hooks'
            )
        if next(model.parameters()).device.type == 'cpu':
            print_log(
                f'{count} RoIAlign layers work by matrix products',
                'current',
                logging.INFO,
            )

    def before_train(self, runner: Runner) -> None:
        """Change the teacher, which trainings alone have."""
        teacher = teacher_of(unwrapped(runner.model))
        if teacher is not None:
            pool_fast(teacher)
