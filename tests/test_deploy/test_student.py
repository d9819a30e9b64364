"""Students out of checkpoints, and the images that they are tried on."""

import numpy as np
import pytest
import torch

from mmdet_rankkd.deploy.graph import graph_of
from mmdet_rankkd.deploy.student import (
    find_samples,
    preprocessing,
    read_student,
)


def test_the_student_is_the_checkpoints(save):
    path = save('fcos')
    student = read_student(path)
    saved = torch.load(path)['state_dict']
    for name, value in student.model.state_dict().items():
        assert torch.equal(value, saved[name])
    assert student.classes == ['bolt', 'nut', 'washer']
    assert not student.model.training and not student.is_classifier
    halved = read_student(path, half=True)
    bias = saved['bbox_head.conv_cls.bias']
    assert halved.weights['bbox_head.conv_cls.bias'].dtype == torch.float16
    assert torch.equal(
        halved.model.bbox_head.conv_cls.bias, bias.half().float()
    )


def test_without_a_config(save):
    path = save('fcos')
    content = torch.load(path)
    del content['meta']['cfg']
    torch.save(content, path)
    with pytest.raises(ValueError, match='does not say of which config'):
        read_student(path)


def test_images(save, coco_set, tmp_path):
    student = read_student(save('fcos'))
    first = find_samples(student, count=2)
    assert [x.file.rpartition('/')[2] for x in first] == ['1.png', '2.png']
    (chosen,) = find_samples(student, [str(coco_set / 'img/2.png')])
    assert torch.equal(chosen.data['inputs'][0], first[1].data['inputs'][0])
    with pytest.raises(ValueError, match='there is no image .*9.png'):
        find_samples(student, [str(coco_set / 'img/9.png')])
    student.config.test_dataloader.dataset.indices = 0
    with pytest.raises(ValueError, match='cannot be read.*--images'):
        find_samples(student)
    student.config.test_dataloader.dataset.data_root = str(tmp_path)
    with pytest.raises(ValueError, match='folder of the training.*--images'):
        find_samples(student)
    student.config.test_dataloader = None
    with pytest.raises(ValueError, match='no test set'):
        find_samples(student)


def test_images_of_a_wrapped_set(save):
    student = read_student(save('fcos'))
    loader = student.config.test_dataloader
    loader.dataset = dict(
        type='RepeatDataset', times=2, dataset=loader.dataset
    )
    assert len(find_samples(student)) == 4
    assert preprocessing(student)['resize']['scale'] == [128, 96]


def test_commands_in_the_test_set_are_refused(save, tmp_path):
    """The config of a checkpoint may be a stranger's."""
    student = read_student(save('fcos'))
    student.config.test_dataloader.dataset = dict(
        type='subprocess.Popen', args=['touch', str(tmp_path / 'written')]
    )
    with pytest.raises(ValueError, match='could run commands'):
        find_samples(student)
    assert not (tmp_path / 'written').exists()


@pytest.mark.parametrize(
    'step, index',
    [
        (dict(type='RandomFlip', prob=0.5), 1),
        (dict(type='Resize', scale_factor=0.5), 1),
        (dict(type='Pad', size_divisor=32), 1),
        (dict(type='LoadImageFromFile', to_float32=True), 0),
    ],
)
def test_steps_that_are_not_known(save, step, index):
    student = read_student(save('fcos'))
    student.config.test_dataloader.dataset.pipeline[index] = step
    with pytest.raises(TypeError, match='which is not known') as caught:
        preprocessing(student)
    assert next(x for x in step if x != 'type') in str(caught.value)


def test_images_are_prepared_the_same(save, coco_set):
    runtime = pytest.importorskip('mmdet_rankkd.deploy.runtime')
    import cv2

    student = read_student(save('retinanet'))
    settings = preprocessing(student)
    assert settings['resize'] == dict(scale=[128, 96], keep_ratio=True)
    for sample in find_samples(student):
        data = student.model.data_preprocessor(sample.data, False)
        found = runtime.prepare(cv2.imread(sample.file), settings)
        assert np.array_equal(found.images, data['inputs'].numpy())
        (meta,) = data['data_samples']
        assert found.shape == meta.img_shape
        assert found.scale == pytest.approx(meta.scale_factor)


@pytest.mark.parametrize(
    'kind, match',
    [
        ('faster-rcnn', 'FasterRCNN is a two-stage detector'),
        ('dino', 'no ONNX file is written of a DINO'),
    ],
)
def test_students_that_have_no_graph(save, kind, match):
    with pytest.raises(TypeError, match=match) as caught:
        graph_of(read_student(save(kind)).model)
    assert 'RetinaNet, FCOS, ATSS, GFL, RTMDet' in str(caught.value)


def test_heads_that_decode_in_their_own_way(save):
    student = read_student(save('fcos'))
    kind = type(student.model.bbox_head)

    class Own(kind):
        def _predict_by_feat_single(self, *args, **kwargs):
            raise AssertionError

    student.model.bbox_head.__class__ = Own
    with pytest.raises(TypeError, match='a Own decodes its boxes'):
        graph_of(student.model)


def test_other_ways_to_suppress(save):
    student = read_student(save('fcos'))
    student.model.bbox_head.test_cfg.nms.type = 'soft_nms'
    with pytest.raises(TypeError, match='soft_nms'):
        graph_of(student.model).rules()
