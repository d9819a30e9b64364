import math

import numpy as np
import pytest
import torch

from mmdet_rankkd.datasets import ContrastDataset
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.losses import CRDLoss, crd_side
from mmdet_rankkd.structures import Features

from ..helpers import ROOT, make_runner, save_teacher, small_cls


def loop_side(scores, count):
    """The formula, one term at a time."""
    noise = (len(scores[0]) - 1) / count
    total = 0.0
    for positive, *negatives in scores:
        total += math.log(positive / (positive + noise + 1e-7))
        for p in negatives:
            total += math.log(noise / (p + noise + 1e-7))
    return -total / len(scores)


def test_one_side():
    torch.manual_seed(0)
    scores = torch.rand(5, 8, dtype=torch.float64, requires_grad=True)
    expected = loop_side(scores.tolist(), 40)
    assert crd_side(scores, 40).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: crd_side(x, 40), scores)


def unit(v):
    return v / np.linalg.norm(v)


def loop_step(loss, s, t, contrast):
    """Loss and memories after one batch, in NumPy, row by row."""
    layers = [
        [p.detach().numpy().astype(float) for p in e.linear.parameters()]
        for e in (loss.embed_student, loss.embed_teacher)
    ]
    memories = [
        m.numpy().astype(float).copy()
        for m in (loss.student_memory, loss.teacher_memory)
    ]
    embedded = [
        [unit(w @ row + b) for row in x]
        for x, (w, b) in zip((s.double().numpy(), t.double().numpy()), layers)
    ]
    total = 0.0
    for side in (0, 1):
        scores = [
            [
                math.exp(e @ memories[1 - side][i] / loss.temperature)
                for i in row
            ]
            for e, row in zip(embedded[side], contrast.tolist())
        ]
        z = np.mean(scores) * loss.num_data
        total += loop_side((np.array(scores) / z).tolist(), loss.num_data)
    for memory, rows in zip(memories, embedded):
        for e, (index, *_) in zip(rows, contrast.tolist()):
            memory[index] = unit(0.5 * memory[index] + 0.5 * e)
    return total, memories


def make_loss(**settings):
    torch.manual_seed(0)
    loss = CRDLoss(num_data=20, width=6, **settings)
    features = [Features([], [], torch.zeros(1, d)) for d in (5, 7)]
    loss.build(*features)
    return loss


def batch(rows=3):
    s, t = torch.randn(rows, 5, requires_grad=True), torch.randn(rows, 7)
    # Every image once, as in an epoch.
    contrast = torch.stack([torch.randperm(20)[:9] for _ in range(rows)])
    contrast[:, 0] = torch.arange(rows)
    return s, t, contrast.int()


def call(loss, s, t, contrast):
    return loss(Features([], [], s), Features([], [], t), contrast)


def test_a_step_against_loops():
    loss = make_loss(loss_weight=0.8)
    s, t, contrast = batch()
    value, memories = loop_step(loss, s.detach(), t, contrast)
    result = call(loss, s, t, contrast)
    assert result.item() == pytest.approx(0.8 * value, rel=1e-5)
    for found, memory in zip(
        (loss.student_memory, loss.teacher_memory), memories
    ):
        np.testing.assert_allclose(found.numpy(), memory, atol=1e-6)
    result.backward()
    for parameter in (s, *loss.parameters()):
        assert parameter.grad.abs().sum() > 0


def test_norms_stay_those_of_the_first_batch():
    loss = make_loss()
    call(loss, *batch())
    first = loss.norms.clone()
    assert (first > 0).all()
    call(loss, *batch())
    assert torch.equal(loss.norms, first)


def test_gradient_by_the_students_features():
    loss = make_loss().double()
    s, t, contrast = batch()
    call(loss, s.detach().double(), t.double(), contrast)  # sets the norms
    memories = loss.student_memory.clone(), loss.teacher_memory.clone()

    def function(x):
        loss.student_memory.copy_(memories[0])
        loss.teacher_memory.copy_(memories[1])
        return call(loss, x, t.double(), contrast)

    x = s.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(function, x)


def test_in_float32_under_autocast():
    loss = make_loss()
    s, t, contrast = batch()
    state = {k: v.clone() for k, v in loss.state_dict().items()}
    expected = call(loss, s, t, contrast)
    loss.load_state_dict(state)
    with torch.autocast('cpu', torch.bfloat16):
        assert call(loss, s, t, contrast) == expected
    loss.load_state_dict(state)
    half = call(loss, s.half(), t.half(), contrast)
    assert half.item() == pytest.approx(expected.item(), rel=1e-2)


def test_bad_settings_and_data():
    for settings in (
        dict(num_data=1),
        dict(num_data=9, width=0),
        dict(num_data=9, temperature=0),
        dict(num_data=9, momentum=1),
    ):
        with pytest.raises(ValueError):
            CRDLoss(**settings)
    loss = make_loss()
    s, t, contrast = batch()
    with pytest.raises(ValueError, match='ContrastDataset'):
        call(loss, s, t, None)
    contrast[0, 3] = 20
    with pytest.raises(ValueError, match='number 20; set num_data'):
        call(loss, s, t, contrast)
    with pytest.raises(ValueError, match='the teacher does not have'):
        loss.build(Features([], [], s), Features([], [], None))


def contrast_set(negatives):
    config = dict(type='mmdet_rankkd.DigitsClassification', count=60)
    pipeline = [dict(type='mmdet_rankkd.PackCls')]
    return ContrastDataset(dict(config, pipeline=pipeline), negatives)


def test_negatives_are_of_other_classes():
    data = contrast_set(40)
    labels = np.array([data.get_data_info(i)['gt_label'] for i in range(60)])
    counts = np.zeros(60)
    for _ in range(30):
        for i in (0, 17, 59):
            index = data[i]['data_samples'].contrast_index.numpy()
            assert index.dtype == np.int32 and index[0] == i
            assert (labels[index[1:]] != labels[i]).all()
            assert len(set(index[1:])) == 40
            counts[index[1:]] += 1
    # All others come up, each about as often: 90 draws of 40 out of ~59.
    assert counts.min() > 0 and counts.max() < 90
    assert len(data) == 60 and data.metainfo['classes']
    # More than there are: with repetition.
    index = contrast_set(100)[3]['data_samples'].contrast_index
    assert len(index) == 101
    assert len(data.get_subset(30)) == 30
    np.random.seed(1)
    first = data.contrast_index(5)
    np.random.seed(1)
    assert np.array_equal(first, data.contrast_index(5))


def test_all_of_one_class():
    data = contrast_set(4)
    data.dataset.get_data_info = lambda i: dict(gt_label=3)
    with pytest.raises(ValueError, match='two classes or more'):
        data.full_init()


def test_through_the_runner(cifar, tmp_path):
    """Memories change, are saved, resumed and dropped by the export."""
    cfg = compose(read_cells('cifar100'), 'resnet32x4_resnet8x4', 'crd')
    wrapper = cfg.train_dataloader.dataset
    assert wrapper.type == 'mmdet_rankkd.ContrastDataset'
    inner = wrapper.dataset
    teacher = str(ROOT / 'configs/cifar100/resnet20_cifar100.py')
    save_teacher(teacher, tmp_path / 'teacher.pth', epoch=1)
    cfg.model.teacher = dict(
        config=teacher, checkpoint=str(tmp_path / 'teacher.pth')
    )
    cfg.model.losses[0].num_data = 8
    cfg.train_dataloader.dataset = inner
    cfg = small_cls(cfg, cifar)
    cfg.train_dataloader.dataset = dict(
        type='mmdet_rankkd.ContrastDataset',
        dataset=cfg.train_dataloader.dataset,
        negatives=5,
    )
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.work_dir = str(tmp_path / 'work')
    runner = make_runner(cfg)
    loss = runner.model.losses['loss_crd']
    before = loss.student_memory.clone()
    runner.train()
    # Two batches of four: each of the eight images once.
    assert ((loss.student_memory - before).abs().sum(1) > 0).all()
    checkpoint = tmp_path / 'work/epoch_1.pth'
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    for name in ('student_memory', 'teacher_memory', 'norms'):
        saved = state[f'distiller.loss_crd.{name}']
        assert torch.equal(saved, getattr(loss, name))
    cfg.load_from, cfg.resume = str(checkpoint), True
    again = make_runner(cfg)
    again.load_or_resume()
    memory = again.model.losses['loss_crd'].student_memory
    assert torch.equal(memory, loss.student_memory)


def test_memories_of_the_images_of_all_processes(monkeypatch):
    from mmdet_rankkd.losses.feature import crd

    loss = make_loss()
    before = loss.student_memory.clone()
    # The other process had the images ten further on, with opposite signs.
    monkeypatch.setattr(crd, 'get_world_size', lambda: 2)
    monkeypatch.setattr(
        crd, 'all_gather', lambda x: [x, -x if x.dim() == 2 else x + 10]
    )
    s, t, contrast = batch()
    e = loss.embed_student(s.detach())
    call(loss, s, t, contrast)
    for index, sign in ((slice(0, 3), 1), (slice(10, 13), -1)):
        mixed = 0.5 * before[index] + 0.5 * sign * e
        expected = torch.nn.functional.normalize(mixed, dim=1)
        assert torch.allclose(loss.student_memory[index], expected)
    assert torch.equal(loss.student_memory[3:10], before[3:10])
