"""Learning rate, length, data and classes: in order, and not."""

import pytest
from mmengine.config import Config

from mmdet_rankkd.engine.doctor.settings import (
    head_classes,
    learning_rate,
    training_set,
    warm_up,
)


def training(lr=0.02, images=2, kind='SGD', **settings):
    return Config(
        dict(
            optim_wrapper=dict(optimizer=dict(type=kind, lr=lr)),
            train_dataloader=dict(batch_size=images),
            **settings,
        )
    )


@pytest.mark.parametrize(
    'lr, images, gpus, scaling, state',
    [
        (0.02, 2, 8, dict(base_batch_size=16), 'ok'),
        (0.02, 2, 1, dict(base_batch_size=16), 'problem'),
        (0.02, 2, 1, dict(base_batch_size=16, enable=True), 'ok'),
        # Scaled by hand.
        (0.0025, 2, 1, dict(base_batch_size=16), 'ok'),
        (0.02, 2, 1, None, 'note'),
    ],
)
def test_learning_rate(lr, images, gpus, scaling, state):
    cfg = training(lr, images, auto_scale_lr=scaling)
    found = learning_rate(cfg, gpus)
    assert found.state == state
    assert found.facts['images'] == images * gpus


def test_the_rate_that_is_proposed():
    cfg = training(0.02, 2, auto_scale_lr=dict(base_batch_size=16))
    found = learning_rate(cfg, 1)
    assert 'lr=0.0025' in found.todo and '--auto-scale-lr' in found.todo
    cfg.optim_wrapper.optimizer.lr = 0.0025
    assert learning_rate(cfg, 1).state == 'ok'


def test_gathered_gradients_count():
    cfg = training(0.02, 2, auto_scale_lr=dict(base_batch_size=16))
    cfg.optim_wrapper.accumulative_counts = 8
    assert learning_rate(cfg, 1).state == 'ok'


WARM_UP = dict(type='LinearLR', by_epoch=False, begin=0, end=500)


@pytest.mark.parametrize(
    'schedulers, steps, state',
    [
        ([WARM_UP], 90000, 'ok'),
        ([WARM_UP], 800, 'problem'),
        ([dict(WARM_UP, end=5)], 60, 'note'),
        ([], 90000, 'ok'),
        (None, 90000, 'ok'),
        ([dict(type='LinearLR', end=8), dict(type='MultiStepLR')], 900,
         'problem'),
    ],
)  # fmt: skip
def test_length_and_warm_up(schedulers, steps, state):
    assert warm_up(schedulers, steps, 12).state == state


class Images:
    """A data set of so many images with objects of these classes."""

    def __init__(self, count, labels, classes=('bolt', 'nut')):
        self.count = count
        self.labels = labels
        self.metainfo = dict(classes=classes)

    def __len__(self):
        return self.count

    def get_data_info(self, index):
        return dict(
            instances=[dict(bbox_label=x, ignore_flag=0) for x in self.labels]
        )


@pytest.mark.parametrize(
    'count, labels, state, said',
    [
        (500, (0, 1), 'ok', '500 images, 2 classes, 1000 objects'),
        (20, (0, 1), 'note', 'small'),
        (500, (), 'problem', 'nothing to learn'),
        (500, (0,), 'problem', 'none of nut'),
    ],
)
def test_training_set(count, labels, state, said):
    (found,) = training_set(Images(count, labels))
    assert found.state == state and said in found.said


def test_a_class_without_objects_that_the_file_has():
    """COCO's sets note the number of each class of their file."""
    images = Images(500, (0,))
    images.cat_ids = [1, 2]
    assert training_set(images)[0].state == 'note'
    images.cat_ids = [1]  # the name of the other is in no file
    assert training_set(images)[0].state == 'problem'


def test_objects_that_are_ignored_do_not_count():
    images = Images(300, (0,))
    images.get_data_info = lambda i: dict(
        instances=[dict(bbox_label=0, ignore_flag=1)]
    )
    assert training_set(images)[0].state == 'problem'


def test_images_of_a_classifier():
    images = Images(300, ())
    images.get_data_info = lambda i: dict(gt_label=i % 2)
    (found,) = training_set(images)
    assert found.state == 'ok' and found.facts['objects'] == 300


@pytest.mark.parametrize(
    'classes, head, state',
    [('abc', 3, 'ok'), ('abc', 80, 'problem'), ('a', 1, 'note')],
)
def test_classes(classes, head, state):
    found = head_classes(list(classes), dict(student=head))
    assert found.state == state
