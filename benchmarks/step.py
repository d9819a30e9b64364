"""A distillation step of Faster R-CNN, ResNet-50 to MobileNetV2.

The detectors are those of ``configs/coco`` with random weights, on random
images with random boxes.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch
from measure import Record, alternate
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet_rankkd.checkpoint.build import build_model, load_config
from mmdet_rankkd.engine.pooling import pool_fast
from mmdet_rankkd.losses import (
    KendallRankLoss,
    KLDivLoss,
    LogitLoss,
    kendall_tau,
)
from mmdet_rankkd.utils import register_all_modules

ROOT = Path(__file__).parents[1]
PAIR = 'coco/rankkd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_1x_coco.py'

#: Options of the teacher that change nothing but rounding, and with bf16.
EXACT = dict(fold_norms=True, channels_last=True)
BF16 = dict(EXACT, dtype='bf16')
#: A step of KD and ranking by what makes it faster on a processor: options of
#: the teacher.
FASTER = {
    'and KD, ranking, FastRoIAlignHook': dict(),
    'the same, teacher folded, channels_last': EXACT,
    'the same, teacher also bf16': BF16,
}


def batch(images, height, width, objects=8):
    """Raw images and annotations, as a data loader gives them."""
    inputs, samples = [], []
    for index in range(images):
        inputs.append(
            torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        )
        corner = torch.rand(objects, 2) * torch.tensor([width, height]) * 0.7
        size = torch.rand(objects, 2) * torch.tensor([width, height]) * 0.3
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_shape=(height, width),
                ori_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + size + 4], 1),
            labels=torch.randint(0, 80, (objects,)),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def build_distiller(device, prepare=None, pair=PAIR, losses=None, **options):
    """The distiller of a pair, its teacher with random weights.

    The pair is a config or the file of one. Options are those of the teacher;
    ``prepare`` may change its weights, and ``losses`` stand in place of the
    pair's own.
    """
    config = pair
    if isinstance(pair, str):
        config = Config.fromfile(ROOT / 'configs' / pair)
    teacher = load_config(config.model.teacher.config)
    for model in (teacher.model, config.model.student):
        model.backbone.init_cfg = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'teacher.pth'
        weights = build_model(teacher)
        if prepare is not None:
            prepare(weights)
        torch.save(dict(state_dict=weights.state_dict(), meta={}), path)
        config.model.teacher.config = dict(model=teacher.model)
        config.model.teacher.checkpoint = str(path)
        config.model.teacher.update(options)
        if losses is not None:
            config.model.losses = losses
        model = build_model(config).to(device)
        model.prepare()
    return model.train()


def build_fast(device, options):
    """The same student as in ``main``, both networks by FastRoIAlignHook."""
    torch.manual_seed(0)
    model = build_distiller(device, **options)
    model.log_tau = False
    pool_fast(model.student)
    pool_fast(model.teacher.model)
    return model


def one_step(model, data, network=None):
    """A step up to the gradients; the sum of its losses.

    ``network`` is what wraps the model, if something does.
    """
    model.zero_grad()
    torch.manual_seed(1)  # the same sampled boxes each time
    inputs = model.data_preprocessor(data, True)
    losses = (network or model)(**inputs, mode='loss')
    loss = model.parse_losses(losses)[0]
    loss.backward()
    return float(loss.detach())


class Nothing(LogitLoss):
    """Has the teacher run, and adds next to nothing."""

    loss_name = 'loss_nothing'

    def rows(self, student, teacher, labels):
        return 0 * student.sum(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--size', type=int, nargs=2, default=(256, 320))
    parser.add_argument('--seconds', type=float, default=120)
    parser.add_argument(
        '--profile', action='store_true', help='show where the time goes'
    )
    args = parser.parse_args()
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    register_all_modules()
    model = build_distiller(device)
    data = batch(args.images, *args.size)
    losses = dict(kd=KLDivLoss(), rank=KendallRankLoss(), nothing=Nothing())
    everything = model.losses

    def step(names, tau=False):
        model.zero_grad()
        torch.manual_seed(1)  # the same sampled boxes each time
        if names is None:
            inputs = model.data_preprocessor.student(data, True)
            result = model.student(**inputs, mode='loss')
        else:
            model.losses, model.log_tau = everything, tau
            inputs = model.data_preprocessor(data, True)
            model.losses = torch.nn.ModuleDict(
                {losses[n].loss_name: losses[n] for n in names or ['nothing']}
            )
            result = model(**inputs, mode='loss')
        model.parse_losses(result)[0].backward()

    methods = {
        'student alone': lambda: step(None),
        'and teacher forward': lambda: step([]),
        'and KD': lambda: step(['kd']),
        'and KD, ranking': lambda: step(['kd', 'rank']),
        'and KD, ranking, tau': lambda: step(['kd', 'rank'], True),
    }
    if args.profile:
        profile(methods['and KD, ranking, tau'])
        return
    if device == 'cpu':
        for name, options in FASTER.items():
            quick = build_fast(device, options)
            methods[name] = partial(one_step, quick, data)
    record = Record('step')
    times = alternate(methods, args.seconds)
    case = f'{args.images} images of {args.size[0]} x {args.size[1]}'
    record.add(case, times, 'and teacher forward')
    # Two whole steps differ by less than the noise between them, so the
    # terms are also taken by themselves, on logits of the step's shape.
    logits = torch.randn(2, 512 * args.images, 81, device=device)
    student = logits[0].clone().requires_grad_()

    def term(function):
        student.grad = None
        function(student, logits[1]).backward()

    terms = {n: partial(term, loss) for n, loss in losses.items()}
    terms = {'KD term': terms['kd'], 'ranking term': terms['rank']}
    times = {'and KD': times['and KD'], **alternate(terms, 10)}
    times['exact tau'] = alternate(
        {'exact tau': lambda: kendall_tau(student, logits[1])}, 2
    )['exact tau']
    record.add(f'terms, {len(student)} RoIs', times, 'and KD')
    record.save()


def profile(function):
    from torch.profiler import ProfilerActivity

    function()
    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]
    ) as p:
        for _ in range(3):
            function()
    table = p.key_averages().table('self_cpu_time_total', row_limit=25)
    print(table)


if __name__ == '__main__':
    main()
