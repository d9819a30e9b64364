"""A distillation step by the ways of other projects, and by this one.

Detectors of ``configs/`` with random weights, on random images with random
boxes. In a group all have the same images and the same networks:

- LD on GFL, R101 to R50: by MMDetection's own
  ``KnowledgeDistillationSingleStageDetector`` and by ``LDLoss``.
- KD on Faster R-CNN, R50 to MobileNetV2, on the boxes that the student's
  sampler takes: by mdistiller's way, whose detector scores them in the
  student's head a second time and prepares the teacher's images by itself
  (written anew: its own needs Detectron2), and by ``KLDivLoss``.

The sums of the losses are printed too: they are equal where the work is.
"""

import argparse
import os
import subprocess
import sys

import torch
from measure import Record, alternate, peak_memory
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from step import PAIR, ROOT, batch, build_distiller, one_step
from torch import nn

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.losses import KLDivLoss
from mmdet_rankkd.recorders import RoILogits
from mmdet_rankkd.utils import register_all_modules

LD = 'coco_detection_kd/ld_gfl_r101_gfl_r50_fpn_1x_coco.py'


class TwoPasses(nn.Module):
    """KD in mdistiller's way, of a distiller's student and teacher."""

    def __init__(self, distiller):
        super().__init__()
        self.student = distiller.student
        self.teacher = [distiller.teacher.model]
        self.parse_losses = self.student.parse_losses
        self.recorder, self.loss = RoILogits(), KLDivLoss()

    def data_preprocessor(self, data, training):
        """The student's, and the images as they were loaded."""
        found = self.student.data_preprocessor(data, training)
        return dict(found, raw=data['inputs'])

    def forward(self, inputs, data_samples, mode, raw):
        features = []
        hook = self.student.neck.register_forward_hook(
            lambda module, args, output: features.append(output)
        )
        # The recorder tells which boxes were sampled, and no more.
        with self.recorder.record(self.student) as record:
            losses = self.student(inputs, data_samples, mode=mode)
        hook.remove()
        rois, (teacher,) = record[0].rois, self.teacher
        images = teacher.data_preprocessor(dict(inputs=raw), False)['inputs']
        with torch.no_grad():
            seen = teacher.extract_feat(images)
            target = teacher.roi_head._bbox_forward(seen, rois)
        again = self.student.roi_head._bbox_forward(features[0], rois)
        losses['loss_kd'] = self.loss(again['cls_score'], target['cls_score'])
        return losses


def mmdetections_ld(distiller):
    """MMDetection's detector with the networks of a distiller."""
    config = Config.fromfile(ROOT / 'configs' / LD)
    model = config.model.student.to_dict()
    loss = dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)
    model.update(
        type='KnowledgeDistillationSingleStageDetector',
        teacher_config=dict(
            model=load_config(config.model.teacher.config).model
        ),
        bbox_head=dict(model['bbox_head'], type='LDHead', loss_ld=loss),
    )
    for part in (model, model['teacher_config']['model']):
        part['backbone']['init_cfg'] = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        peer = MODELS.build(model)
    peer.load_state_dict(distiller.student.state_dict())
    teacher = distiller.teacher.model
    peer.teacher_model.load_state_dict(teacher.state_dict())
    peer.teacher_model.requires_grad_(False)
    peer.to(next(distiller.student.parameters()).device)
    peer.train()
    return peer


def build(group, device):
    """Models of a group by name, the peer's first."""
    torch.manual_seed(0)
    distiller = build_distiller(device, pair=LD if group == 'LD' else PAIR)
    distiller.log_tau = False
    if group == 'LD':
        # MMDetection's LD is of the main region alone.
        distiller.losses['loss_ld'].valuable_weight = 0
        return {'MMDetection': mmdetections_ld(distiller), 'here': distiller}
    names = [n for n, x in distiller.losses.items() if type(x) is KLDivLoss]
    distiller.losses = nn.ModuleDict({n: distiller.losses[n] for n in names})
    return {'two passes': TwoPasses(distiller), 'here': distiller}


def memory(args, group, name):
    """Peak memory in a process whose allocator gives back what is freed."""
    size = map(str, args.size)
    output = subprocess.run(
        [sys.executable, '-W', 'ignore', __file__]
        + ['--memory-of', group, name, '--images', str(args.images)]
        + ['--size', *size],
        env=dict(os.environ, MALLOC_MMAP_THRESHOLD_='65536'),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(output.stdout.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--size', type=int, nargs=2, default=(256, 320))
    parser.add_argument('--seconds', type=float, default=60, help='a group')
    parser.add_argument('--memory-of', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    register_all_modules()
    torch.manual_seed(0)
    data = batch(args.images, *args.size)
    if args.memory_of:
        group, name = args.memory_of
        model = build(group, device)[name]
        one_step(model, data)
        print(peak_memory(lambda: one_step(model, data)))
        return
    record = Record('peers')
    for group in ('LD', 'KD'):
        models = build(group, device)
        for name, model in models.items():
            print(f'  {group}, {name}: losses of {one_step(model, data):.6g}')
        times = alternate(
            {n: lambda m=m: one_step(m, data) for n, m in models.items()},
            args.seconds,
        )
        peer = next(iter(models))
        del models
        peaks = {name: memory(args, group, name) for name in times}
        case = f'{group}, {args.images} images of {args.size[0]} x '
        record.add(case + str(args.size[1]), times, peer, peaks)
    record.save()


if __name__ == '__main__':
    main()
