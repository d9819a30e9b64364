"""DistillClassifier through MMEngine's Runner."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from scipy.stats import kendalltau

from mmdet_rankkd.checkpoint.export import export_student, student_config
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.engine.check_teacher import check_teacher
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.losses import kendall_rank_loss, kl_div_loss
from mmdet_rankkd.models import CifarResNet, ClsDataSample, DistilledHead

from ..helpers import ROOT, build, make_runner, save_teacher, small_cls

NETWORKS = ROOT / 'configs/cifar100'


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher') / 'resnet20.pth'
    save_teacher(NETWORKS / 'resnet20_cifar100.py', path, epoch=1)
    return dict(
        config=str(NETWORKS / 'resnet20_cifar100.py'), checkpoint=str(path)
    )


@pytest.fixture
def config(cifar, teacher, tmp_path):
    """Function of a method: config of ResNet-20 to ResNet-8x4."""

    def make(method='kd+rank', losses=None, **settings):
        cell = compose(read_cells('cifar100'), 'resnet32x4_resnet8x4', method)
        cfg = small_cls(cell, cifar)
        cfg.work_dir = str(tmp_path / 'work')
        cfg.model.teacher = dict(teacher)
        if losses is not None:
            cfg.model.losses = losses
        cfg.merge_from_dict(settings)
        return cfg

    return make


def batch_of(cfg):
    runner = make_runner(cfg)
    return runner.model, next(iter(runner.train_dataloader))


def test_losses_are_those_of_the_logits(config):
    model, data = batch_of(config())
    model.train()
    data = model.data_preprocessor(data, True)
    torch.manual_seed(0)
    result = model(**data, mode='loss')
    images = data['inputs']
    student = model.student(images)
    teacher = model.teacher.model(images)
    torch.testing.assert_close(
        result['loss_kd'],
        0.9 * kl_div_loss(student, teacher, temperature=4),
    )
    torch.testing.assert_close(
        result['loss_rank'], 0.9 * kendall_rank_loss(student, teacher)
    )
    labels = torch.cat([s.gt_label for s in data['data_samples']])
    torch.testing.assert_close(
        result['loss_cls'],
        0.1 * torch.nn.functional.cross_entropy(student, labels),
    )
    assert set(result) == {
        'loss_cls',
        'acc',
        'loss_kd',
        'loss_rank',
        'kendall_tau',
    }


@pytest.mark.parametrize(
    'method',
    [
        *('alone', 'rank', 'kd', 'lskd', 'ctkd', 'dkd', 'dist', 'nkd'),
        *('mlkd', 'mlkd-lskd', 'mlkd+rank', 'dkd+rank', 'ctkd+rank'),
    ],
)
def test_every_method_trains_two_steps(config, cifar, method, tmp_path):
    if method == 'alone':
        cfg = small_cls(
            Config.fromfile(NETWORKS / 'resnet8x4_cifar100.py'), cifar
        )
        cfg.work_dir = str(tmp_path / 'work')
    else:
        cfg = config(method)
    runner = make_runner(cfg)
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    assert runner.iter == 2
    after = runner.model.state_dict()
    for name in ('backbone.conv1.weight', 'head.fc.weight'):
        assert after[name].isfinite().all()
        assert not torch.equal(before[name], after[name])
    info = runner.message_hub.runtime_info['best_metrics']
    assert set(info) == {'accuracy/top1', 'accuracy/top5'}
    scalars = runner.message_hub.log_scalars
    assert 'val/best/accuracy/top1' in scalars
    assert 'val/accuracy/top5' in scalars


def test_checkpoint_is_the_plain_students(config, tmp_path):
    cfg = config('ctkd+rank')
    runner = make_runner(cfg)
    runner.train()
    path = str(Path(cfg.work_dir) / 'epoch_1.pth')
    weights = read_checkpoint(path)['state_dict']
    plain = build(Config.fromfile(NETWORKS / 'resnet8x4_cifar100.py').model)
    own = {k for k in weights if k.startswith('distiller.')}
    assert own == {'distiller.loss_ctkd.theta'}
    assert set(weights) - own == set(plain.state_dict())
    out = tmp_path / 'student.pth'
    export_student(path, str(out))
    plain.load_state_dict(
        torch.load(out, weights_only=True)['state_dict'], strict=True
    )
    images = torch.randn(2, 3, 32, 32)
    runner.model.eval(), plain.eval()
    torch.testing.assert_close(
        runner.model(images, mode='tensor'), plain(images)
    )
    student = student_config(cfg)
    assert student.model.type == 'mmdet_rankkd.ImageClassifier'


def test_resume_continues_as_if_never_stopped(config, tmp_path):
    def run(folder, epochs, **settings):
        cfg = config('ctkd+rank', **settings)
        cfg.train_cfg.max_epochs = epochs
        cfg.default_hooks.checkpoint.max_keep_ckpts = -1
        # Random numbers of the transforms are not part of a checkpoint.
        cfg.train_dataloader.dataset.pipeline = cfg.test_pipeline
        cfg.work_dir = str(tmp_path / folder)
        runner = make_runner(cfg)
        runner.train()
        return runner

    whole = run('whole', 2)
    first = str(tmp_path / 'whole/epoch_1.pth')
    resumed = run('resumed', 2, load_from=first, resume=True)
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_test_and_predictions(config, cifar):
    """The tests of student and distiller are the same."""
    cfg = config()
    runner = make_runner(cfg)
    runner.train()
    cfg.load_from = str(Path(cfg.work_dir) / 'epoch_1.pth')
    ours = make_runner(cfg).test()
    plain = small_cls(
        Config.fromfile(NETWORKS / 'resnet8x4_cifar100.py'), cifar
    )
    plain.work_dir = cfg.work_dir
    plain.load_from = cfg.load_from
    assert make_runner(plain).test() == ours
    assert set(ours) == {'accuracy/top1', 'accuracy/top5'}


def test_views(config):
    """Weak, strong and both; the own losses are the sum over views."""
    rank = 'mmdet_rankkd.KendallRankLoss'
    losses = [
        dict(type=rank, view=view, loss_name=f'loss_{view}')
        for view in ('weak', 'strong', 'both')
    ]
    model, data = batch_of(config('mlkd', losses=losses))
    model.train()
    data = model.data_preprocessor(data, True)
    result = model(**data, mode='loss')
    strong = data['strong']['inputs']
    assert strong.shape == data['inputs'].shape
    assert not torch.equal(strong, data['inputs'])
    expected = {}
    for view, images in (('weak', data['inputs']), ('strong', strong)):
        logits = model.student(images), model.teacher.model(images)
        expected[view] = kendall_rank_loss(*logits)
        torch.testing.assert_close(result[f'loss_{view}'], expected[view])
    torch.testing.assert_close(
        result['loss_both'], expected['weak'] + expected['strong']
    )
    plain = [
        model.student(x, data['data_samples'], mode='loss')['loss_cls']
        for x in (data['inputs'], strong)
    ]
    torch.testing.assert_close(result['loss_cls'], sum(plain))


def test_mlkd_without_a_strong_view(config):
    losses = [dict(type='mmdet_rankkd.MLKDLoss')]
    model, data = batch_of(config('kd', losses=losses))
    data = model.data_preprocessor(data, True)
    with pytest.raises(ValueError, match='TwoViews'):
        model(**data, mode='loss')


def test_teacher_with_an_input_size_of_its_own(config, teacher):
    model, data = batch_of(config())
    model.teacher.input_size = 16
    data = model.data_preprocessor(data, True)
    result = model(**data, mode='loss')
    small = torch.nn.functional.interpolate(
        data['inputs'], (16, 16), mode='bilinear', align_corners=False
    )
    model.train()
    expected = 0.9 * kendall_rank_loss(
        model.student(data['inputs']), model.teacher.model(small)
    )
    torch.testing.assert_close(result['loss_rank'], expected)


def test_teacher_with_statistics_of_its_own(config):
    """It sees the images as its own config normalises them."""
    cfg = config()
    cfg.model.student.data_preprocessor.mean = [0.0] * 3
    model, data = batch_of(cfg)
    raw = data['inputs'].float()
    data = model.data_preprocessor(data, True)
    own = model.teacher.model.data_preprocessor
    expected = (raw - own.mean) / own.std
    torch.testing.assert_close(data['teacher_inputs'], expected)
    assert not torch.allclose(data['inputs'], expected)


@pytest.mark.parametrize('input_size', [None, 16])
def test_tau_on_held_out_images(config, input_size):
    """By the two networks themselves and SciPy."""
    cfg = config()
    cfg.model.teacher.input_size = input_size
    cfg.custom_hooks = [dict(type='mmdet_rankkd.TauHook')]
    runner = make_runner(cfg)
    runner.train()
    found = runner.message_hub.log_scalars['val/kendall_tau'].current()
    model = runner.model.eval()
    taus = []
    for data in runner.val_dataloader:
        images = model.data_preprocessor(data, False)['inputs']
        teacher_images = images
        if input_size:
            teacher_images = torch.nn.functional.interpolate(
                images, (16, 16), mode='bilinear', align_corners=False
            )
        with torch.no_grad():
            logits = model(images), model.teacher.model(teacher_images)
        taus += [kendalltau(x, y).statistic for x, y in zip(*logits)]
    assert len(taus) == len(runner.val_dataloader.dataset)
    assert found == pytest.approx(sum(taus) / len(taus), abs=1e-6)


def test_tau_of_a_student_alone(config, teacher):
    cfg = config()
    cfg.model = cfg.model.student
    logits = dict(type='mmdet_rankkd.ClsLogits')
    hook = dict(type='mmdet_rankkd.TauHook', teacher=teacher, logits=logits)
    cfg.custom_hooks = [hook]
    runner = make_runner(cfg)
    runner.train()
    found = runner.message_hub.log_scalars['val/kendall_tau'].current()
    assert -1 <= found <= 1


@torch.no_grad()
def test_held_out_logits_are_of_the_layer(config):
    """Also of one that predictions only average with another."""
    cfg = config()
    cfg.model.student.head.type = 'mmdet_rankkd.DistilledHead'
    cfg.model.logits = dict(type='mmdet_rankkd.ClsLogits', layer='head.fc')
    model, data = batch_of(cfg)
    student, head = model.student.eval(), model.student.head
    torch.nn.init.normal_(head.fc.weight)
    student.backbone.register_forward_hook(lambda *args: args[-1] * 2)
    logits, _ = model.logits.held_out(student, student, data)
    images = student.data_preprocessor(data, False)['inputs']
    (features, _) = student.extract_feat(images)
    torch.testing.assert_close(logits, head.fc(features))


def test_distillation_token(cifar, teacher, tmp_path):
    """The teacher acts on its layer, cross-entropy on the other."""
    cells = read_cells('cifar100_vit')
    cfg = compose(cells, 'resnet56_deit-tiny-distilled', 'rank')
    cfg = small_cls(cfg, cifar, batch_size=2)
    cfg.model.teacher.update(teacher)
    cfg.model.student.backbone.depth = 1
    cfg.work_dir = str(tmp_path)
    model, data = batch_of(cfg)
    model.train()
    data = model.data_preprocessor(data, True)
    # Both layers start at zero, where no gradient could tell them apart.
    torch.nn.init.normal_(model.student.head.fc_dist.weight)
    result = model(**data, mode='loss')
    result['loss_rank'].backward()
    head = model.student.head
    assert head.fc_dist.weight.grad.abs().sum() > 0
    assert head.fc.weight.grad is None


class Pretrained(torch.nn.Module):
    """Head with the methods and the arguments of MMPretrain's."""

    def __init__(self):
        super().__init__()
        self.num_classes = 100
        self.fc = torch.nn.Linear(256, 100)

    def pre_logits(self, feats):
        return feats[-1]

    def forward(self, feats):
        return self.fc(self.pre_logits(feats))

    def loss(self, feats, data_samples, **kwargs):
        target = torch.cat([s.gt_label for s in data_samples])
        logits = self(feats)
        return dict(loss=torch.nn.functional.cross_entropy(logits, target))


def test_heads_as_mmpretrain_has_them(config):
    model, data = batch_of(config())
    model.student.head = Pretrained()
    data = model.data_preprocessor(data, True)
    result = model(**data, mode='loss')
    assert result['loss_rank'].isfinite()
    assert 'loss' in result


@pytest.mark.parametrize(
    'change, error, message',
    [
        (dict(logits=dict(layer='head.other')), ValueError, 'head.fc'),
        (dict(student=dict(head=dict(num_classes=7))), ValueError, '7 cla'),
        (dict(logits=dict(layer='backbone')), RuntimeError, 'no logits'),
        (dict(teacher=dict(checkpoint='none.pth')), FileNotFoundError, 'none'),
    ],
)
def test_bad_settings(config, change, error, message):
    cfg = config()
    cfg.model.logits = dict(type='mmdet_rankkd.ClsLogits')
    cfg.merge_from_dict(dict(model=change))
    model, data = batch_of(cfg)
    with pytest.raises(error, match=message):
        model(**model.data_preprocessor(data, True), mode='loss')


def test_detector_as_teacher(config, project):
    cfg = config()
    cfg.model.teacher = dict(
        config=str(project / 'teacher.py'),
        checkpoint=str(project / 'teacher.pth'),
    )
    model, data = batch_of(cfg)
    with pytest.raises(TypeError, match='needs a classifier'):
        model.data_preprocessor(data, True)


def test_check_teacher(config, cifar):
    """Accuracy of the teacher, on the images as it sees them."""
    cfg = config()
    facts = check_teacher(cfg)
    assert facts['teacher'] == 'ImageClassifier'
    assert facts['parameters'] == 278324
    assert 0 <= facts['accuracy/top5'] <= 100
    cfg.model.teacher.input_size = 8
    sizes = []
    forward = CifarResNet.features

    def note(self, x):
        sizes.append(tuple(x.shape[2:]))
        return forward(self, x)

    CifarResNet.features = note
    try:
        check_teacher(cfg)
    finally:
        CifarResNet.features = forward
    assert set(sizes) == {(8, 8)}


def test_a_plain_distilled_head_lacks_no_gradient():
    """Its second layer has one of zero where nothing distils."""
    torch.manual_seed(0)
    head = DistilledHead(num_classes=5, in_channels=8)
    for layer in (head.fc, head.fc_dist):
        torch.nn.init.normal_(layer.weight)
    feats = torch.randn(2, 3, 8)
    samples = [ClsDataSample().set_gt_label(i) for i in (0, 3, 4)]
    losses = head.loss(feats, samples)
    expected = torch.nn.functional.cross_entropy(
        head.fc(feats[0]), torch.tensor([0, 3, 4])
    )
    assert torch.equal(losses['loss_cls'], expected)
    losses['loss_cls'].backward()
    assert head.fc.weight.grad.any()
    for parameter in head.fc_dist.parameters():
        assert parameter.grad is not None and not parameter.grad.any()
