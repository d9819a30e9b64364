"""Do two processes give the gradients of one with the same global batch?

    torchrun --standalone --nproc_per_node=2 tests/trust/processes.py

For each kind of recorder and normaliser, each of two gloo processes takes its
half of four images; the mean of the gradients of the distillation losses over
the processes is compared with the gradient of all four images at once. The
student's own losses, which are MMDetection's, are left out, and normalisation
over a batch and dropout are off. Prints a line of JSON a case.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

KL = dict(type='mmdet_rankkd.KLDivLoss')
BINARY = dict(type='mmdet_rankkd.BinaryKLDivLoss')
RANK = dict(type='mmdet_rankkd.KendallRankLoss')


def chosen(loss, *rows):
    """A loss with each choice of rows."""
    return [
        dict(loss, rows=choice, loss_name=f'loss_{choice}') for choice in rows
    ]


ALL = ('all', 'foreground', 'confidence')
#: Name: set-up, losses, settings of the recorder.
CASES = {
    'roi': ('faster-rcnn', [KL, RANK], {}),
    'roi, chosen rows': ('faster-rcnn', chosen(KL, *ALL), {}),
    'roi, positives': ('faster-rcnn', [KL, RANK], dict(positives_only=True)),
    'cascade': ('cascade-rcnn', [KL, RANK], {}),
    'cascade, chosen rows': ('cascade-rcnn', chosen(RANK, *ALL), {}),
    'retinanet': ('retinanet', [BINARY, RANK], {}),
    'retinanet, chosen rows': ('retinanet', chosen(BINARY, *ALL), {}),
    'retinanet, positives': (
        'retinanet',
        [BINARY, RANK],
        dict(locations='positives'),
    ),
    'fcos, all': ('fcos', [BINARY, RANK], dict(locations='all')),
    'atss': ('atss', [BINARY, RANK], {}),
    'gfl': ('gfl', [BINARY, RANK], {}),
    'rtmdet': ('rtmdet', [BINARY, RANK], {}),
    'detr': ('detr', [KL, RANK], {}),
    'dino': ('dino', [BINARY, RANK], {}),
    'classifier': ('classifier', ['KLDivLoss', RANK, 'NKDLoss'], {}),
    'features': ('faster-rcnn', ['FitNetLoss', 'CWDLoss', 'ATLoss'], {}),
    'fgd': ('retinanet', ['FGDLoss'], {}),
    'fgfi': ('retinanet', ['FGFILoss'], {}),
    'roi, two resolutions': ('faster-rcnn', [KL, RANK], {}),
    'retinanet, two resolutions': ('retinanet', [BINARY, RANK], {}),
}
#: So many times the student's pixels has the teacher in those.
SCALE = 2
#: Which of the four images have no object; the last two are of one process.
EMPTY = {'objects in all': (), 'one empty': (3,), 'a process without': (2, 3)}


def images(classifies, empty):
    """A raw batch of four images of one size."""
    from tests.helpers import raw_batch
    from tests.setups import cls_batch

    if classifies:
        batch = cls_batch(4)
        batch.pop('strong_inputs')
        return batch
    batch = raw_batch(4, sizes=((64, 64),))
    for index in empty:
        sample = batch['data_samples'][index]
        sample.gt_instances = sample.gt_instances[:0]
    return batch


def with_teachers(batch):
    """A raw batch with images of the teacher, each pixel several times."""
    from mmdet_rankkd.structures import TEACHER_SCALE

    batch['teacher_inputs'] = [
        x.repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2)
        for x in batch['inputs']
    ]
    for sample in batch['data_samples']:
        sample.set_metainfo({TEACHER_SCALE: (float(SCALE), float(SCALE))})
    return batch


def part(batch, indices):
    return {k: [v[i] for i in indices] for k, v in batch.items()}


def quiet(model):
    """No dropout and no statistics of a batch."""
    for module in model.modules():
        if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.Dropout)):
            module.eval()
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def gradients(model, batch):
    """Of the distillation losses, by all parameters, and their sum."""
    torch.manual_seed(0)
    model.zero_grad()
    data = model.data_preprocessor(batch, True)
    losses = model(**data, mode='loss')
    total = sum(losses[name].mean() for name in model.losses)
    total.backward()
    parts = [
        torch.zeros_like(p) if p.grad is None else p.grad
        for p in model.parameters()
    ]
    return torch.cat([total.detach().view(1), *(x.flatten() for x in parts)])


def compare(name, empty, folder):
    """Largest difference, as a part of the largest value."""
    from mmengine.logging import MMLogger

    from tests.setups import (
        SETUPS,
        build_model,
        distiller_config,
        save_teacher,
    )

    MMLogger.get_instance('processes', log_level='ERROR')
    key, losses, options = CASES[name]
    setup = SETUPS[key]()
    stages = setup.student.get('train_cfg', {}).get('rcnn') or []
    for stage in stages if isinstance(stages, list) else [stages]:
        # All proposals: else each process draws others than the one does.
        stage['sampler'].update(num=4000, pos_fraction=1.0)
    checkpoint = folder / f'{key}-{dist.get_rank()}.pth'
    if not checkpoint.is_file():
        save_teacher(setup, checkpoint)
    losses = [setup.loss(x) if isinstance(x, str) else x for x in losses]
    config = distiller_config(setup, checkpoint, losses)
    config['logits'].update(options)
    scaled = name.endswith('two resolutions')
    if scaled and setup.is_dense:
        config['teacher']['input_scale'] = SCALE
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    model.train()
    quiet(model)
    batch = images(setup.classifies, EMPTY[empty])
    batch = with_teachers(batch) if scaled else batch
    # Both processes have all images: means over processes change nothing.
    whole = gradients(model, batch)
    first = 2 * dist.get_rank()
    own = gradients(model, part(batch, (first, first + 1)))
    dist.all_reduce(own)
    own /= 2
    scale = float(whole[1:].abs().max())
    return dict(
        case=name,
        images=empty,
        loss=float(whole[0]),
        loss_difference=abs(float(own[0] - whole[0])),
        gradient=scale,
        difference=float((own - whole)[1:].abs().max()) / max(scale, 1e-12),
    )


def main():
    """Compare all cases."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    names = sys.argv[1:] or list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            classifies = CASES[name][0] == 'classifier'
            for empty in list(EMPTY)[: 1 if classifies else None]:
                found = compare(name, empty, Path(folder))
                if dist.get_rank() == 0:
                    print(json.dumps(found), flush=True)
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort a process that ends by itself


if __name__ == '__main__':
    main()
