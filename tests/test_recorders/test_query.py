import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from scipy.optimize import linear_sum_assignment

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.losses import KLDivLoss, kl_div_loss
from mmdet_rankkd.recorders import DenseLogits, QueryLogits, query
from mmdet_rankkd.recorders.query import decode
from mmdet_rankkd.structures import DistillBatch

from ..helpers import build, make_runner, raw_batch

SMALL = {
    'model.backbone.depth': 18,
    'model.backbone.init_cfg': None,
    'model.encoder.num_layers': 1,
    'model.decoder.num_layers': 2,
    'model.num_queries': 12,
    'model.bbox_head.num_classes': 3,
    'model.test_cfg.max_per_img': 10,
}
KINDS = {
    'DETR': 'detr/detr_r50_8xb2-150e_coco',
    'ConditionalDETR': 'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    'DABDETR': 'dab_detr/dab-detr_r50_8xb2-50e_coco',
    'DeformableDETR': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco',
}


def config_of(kind, **settings):
    config = Config.fromstring(f"_base_ = 'mmdet::{KINDS[kind]}.py'", '.py')
    channels = [x // 4 for x in config.model.neck.in_channels]
    config.merge_from_dict(
        {**SMALL, 'model.neck.in_channels': channels, **settings}
    )
    return config.model


def make(kind, seed, **settings):
    torch.manual_seed(seed)
    model = build(config_of(kind, **settings))
    model.init_weights()
    # Heads that start at one bias would leave nothing to match by.
    for name, parameter in model.bbox_head.named_parameters():
        if 'weight' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def one_pass(hook, student, teacher, batch=None):
    hook.check(student, teacher)
    student.train()
    teacher.eval().requires_grad_(False)
    data = student.data_preprocessor(batch or raw_batch(), True)
    with hook.record(student) as record:
        student(**data, mode='loss')
    features = teacher.extract_feat(data['inputs'])
    return hook.replay(teacher, features, record), record, features


def corners(boxes):
    x, y, w, h = boxes.unbind(-1)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)


def giou(a, b):
    """Generalised IoU of two boxes, by hand."""
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])  # noqa: E731
    both = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
    inside = max(both[2] - both[0], 0) * max(both[3] - both[1], 0)
    union = area(a) + area(b) - inside
    hull = [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
    return inside / union - (area(hull) - union) / area(hull)


def test_rows_of_objects_are_those_the_teacher_is_sure_of():
    """More than half, by its softmax without background."""
    student, teacher = make('DETR', 0), make('DETR', 1)
    with torch.no_grad():
        teacher.bbox_head.fc_cls.weight *= 8
        # So much background that the median query is half sure.
        pair, _, _ = one_pass(QueryLogits(12), student, teacher)
        scores = pair.teacher.exp()
        wanted = 2 * scores[:, :3].amax(1) - scores[:, :3].sum(1)
        more = (wanted / scores[:, 3]).log().median()
        teacher.bbox_head.fc_cls.bias[3] += more
    pair, _, _ = one_pass(QueryLogits(12), student, teacher)
    sure = pair.teacher.softmax(1)[:, :3].amax(1) > 0.5
    assert torch.equal(pair.foreground, sure)
    assert sure.any() and not sure.all()
    loss = KLDivLoss(rows='foreground')
    value = loss.distill(DistillBatch(pair, student))
    expected = kl_div_loss(pair.student[sure], pair.teacher[sure])
    torch.testing.assert_close(value, expected)
    # Sure of nothing: zero, and attached.
    pair.foreground = pair.foreground & False
    value = loss.distill(DistillBatch(pair, student))
    assert value == 0 and value.requires_grad


def test_matching_by_hand():
    """DETR's costs and SciPy's assignment, one pair at a time."""
    student, teacher = make('DETR', 0), make('DETR', 1)
    pair, record, features = one_pass(QueryLogits(5), student, teacher)
    logits, boxes = decode(teacher, features, record.samples)
    rows = []
    for image in range(2):
        sure = logits[image].softmax(1)[:, :3].max(1).values
        top = sure.topk(5).indices
        classes = logits[image][top][:, :3].argmax(1)
        s_scores = record.logits[image].softmax(1)
        s, t = record.boxes[image], boxes[image][top]
        cost = np.zeros((12, 5))
        for q in range(12):
            for k in range(5):
                cost[q, k] = -s_scores[q, classes[k]].item()
                cost[q, k] += 5 * (s[q] - t[k]).abs().sum().item()
                cost[q, k] -= 2 * giou(
                    corners(s[q]).tolist(), corners(t[k]).tolist()
                )
        for q, k in zip(*linear_sum_assignment(cost)):
            rows.append((image, q, top[k].item(), classes[k].item()))
    assert len(rows) == len(pair.student) == 10
    for row, (image, q, k, label) in enumerate(rows):
        assert torch.equal(pair.student[row], record.logits[image, q])
        assert torch.allclose(pair.teacher[row], logits[image, k])
        assert pair.labels[row] == label
        expected = logits[image, k].softmax(0)[:3].max()
        assert pair.weight[row].item() == pytest.approx(expected.item())
    assert pair.avg_factor.item() == pytest.approx(pair.weight.sum().item())
    assert pair.student.requires_grad and not pair.teacher.requires_grad


def test_a_student_equal_to_its_teacher_matches_itself():
    model, teacher = make('DeformableDETR', 0), make('DeformableDETR', 0)
    # No dropout and no batch statistics: the two passes are the same.
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    model.backbone.norm_eval = True
    pair, *_ = one_pass(QueryLogits(6), model, teacher)
    assert torch.allclose(pair.student, pair.teacher, atol=1e-4)


@pytest.mark.parametrize('kind', list(KINDS))
def test_every_kind(kind):
    student, teacher = make(kind, 0), make(kind, 1)
    pair, record, _ = one_pass(QueryLogits(7), student, teacher)
    # Queries for denoising are left out.
    assert record.logits.shape[:2] == record.boxes.shape[:2] == (2, 12)
    assert len(pair.student) == len(pair.teacher) == 14
    pair.student.sum().backward()
    grads = [
        p.grad.abs().sum()
        for p in student.encoder.parameters()
        if p.grad is not None
    ]
    assert sum(grads) > 0 and torch.stack(grads).isfinite().all()
    assert 'loss' not in vars(student.bbox_head)
    logits = QueryLogits(4).held_out(student.eval(), teacher, raw_batch())
    assert logits[0].shape == logits[1].shape == (8, pair.student.shape[1])


def test_what_is_refused(project):
    student = make('DINO', 0)
    with pytest.raises(ValueError, match='queries must be positive'):
        QueryLogits(0)
    two_stage = build(Config.fromfile(project / 'student.py').model)
    with pytest.raises(TypeError, match='the teacher is a FasterRCNN'):
        QueryLogits().check(student, two_stage)
    with pytest.raises(TypeError, match='there is QueryLogits'):
        DenseLogits().check(student, student)
    with pytest.raises(ValueError, match='by sigmoid and the teacher by soft'):
        QueryLogits().check(student, make('DETR', 0))
    other = make('DINO', 0, **{'model.bbox_head.num_classes': 5})
    with pytest.raises(ValueError, match="class_map='names'"):
        QueryLogits().check(student, other)
    QueryLogits(class_map='names').check(student, other)
    other = make('DINO', 0, **{'model.data_preprocessor.pad_size_divisor': 32})
    with pytest.raises(ValueError, match='pad_size_divisor of the student'):
        QueryLogits().check(student, other)


def test_shared_classes(monkeypatch):
    student, teacher = make('DETR', 0), make('DETR', 1)
    hook = QueryLogits(12, class_map=dict(c='x', a='z'))
    hook.class_map.match(('a', 'b', 'c'), ('x', 'y', 'z'))
    decoded = []

    def listen(*args):
        decoded.append(decode(*args))
        return decoded[-1]

    # Two passes of a network may differ in the last digit.
    monkeypatch.setattr(query, 'decode', listen)
    pair, *_ = one_pass(hook, student, teacher)
    assert pair.student.shape[1] == pair.teacher.shape[1] == 3
    ((logits, _),) = decoded
    rows = logits.flatten(0, 1)
    # Only queries whose class is shared, with columns c and a, background.
    shared = rows[:, :3].argmax(1) != 1
    assert len(pair.teacher) == shared.sum()
    found = {tuple(r.tolist()) for r in pair.teacher}
    assert found <= {tuple(r.tolist()) for r in rows[:, [0, 2, 3]]}
    for row, label in zip(pair.teacher, pair.labels):
        assert row[:2].argmax() == label


@pytest.mark.parametrize('pairs', [None, dict(c='x', a='z')])
@torch.no_grad()
def test_held_out_rows_are_as_in_training(pairs):
    student, teacher = make('DETR', 0).eval(), make('DETR', 1).eval()
    hook = QueryLogits(12, class_map=pairs)
    if pairs:
        hook.class_map.match('abc', 'xyz')
    data = student.data_preprocessor(raw_batch(), False)
    with hook.record(student) as record:
        student(**data, mode='loss')
    features = teacher.extract_feat(data['inputs'])
    pair = hook.replay(teacher, features, record)
    found = hook.held_out(student, teacher, raw_batch())
    for x, y in zip(found, (pair.student, pair.teacher)):
        assert torch.allclose(x, y, atol=1e-4)


def test_train_resume_and_export(distill_cfg, tmp_path):
    teacher = config_of('DINO')
    path = tmp_path / 'dino.pth'
    torch.manual_seed(0)
    model = build(copy.deepcopy(teacher))  # DINO writes to its config
    torch.save(dict(state_dict=model.state_dict()), path)
    cfg = distill_cfg
    # At the detectors' 0.01 a DINO may diverge within two epochs.
    cfg.optim_wrapper.optimizer.lr = 1e-4
    cfg.model.student = config_of('DINO')
    cfg.model.teacher = dict(
        config=dict(model=teacher.to_dict()), checkpoint=str(path)
    )
    cfg.model.logits = dict(type='mmdet_rankkd.QueryLogits', queries=6)
    cfg.model.losses[0].type = 'mmdet_rankkd.BinaryKLDivLoss'
    runner = make_runner(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    for name in ('loss_binary_kd', 'loss_rank', 'kendall_tau'):
        values = scalars[f'train/{name}'].data[0]
        assert len(values) and np.isfinite(values).all()
    again = make_runner(cfg, resume=True, **{'train_cfg.max_epochs': 2})
    again.train()
    assert again.iter == 2 * runner.iter
    out = tmp_path / 'student.pth'
    export_student(str(tmp_path / 'work/epoch_2.pth'), str(out))
    weights = torch.load(out, weights_only=True)['state_dict']
    build(config_of('DINO')).load_state_dict(weights, strict=True)
