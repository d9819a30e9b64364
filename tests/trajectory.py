"""Does a change of the code change what is trained, to the last bit?

    python tests/trajectory.py --against COMMIT

trains the set-ups below for a few seeded steps with the package as it was at
a commit of git and as it is here, in two processes on this machine, and
compares losses, weights and averages. They are given by configs, so that
code may move between the two; a change of results on purpose shows.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Behind the package that PYTHONPATH names.
sys.path.append(str(ROOT))

KD = dict(type='mmdet_rankkd.KLDivLoss', temperature=2.0)
BINARY = dict(type='mmdet_rankkd.BinaryKLDivLoss')
RANK = dict(type='mmdet_rankkd.KendallRankLoss')
#: Name: set-up, names or configs of losses, and settings of the run.
RUNS = {
    'roi-kd-rank': ('faster-rcnn', [KD, RANK], {}),
    'roi-rows': (
        'faster-rcnn',
        [KD, RANK],
        dict(logits=dict(positives_only=True, background=False)),
    ),
    'roi-class-map': ('faster-rcnn', [KD, RANK], dict(class_map=True)),
    'roi-labels': ('faster-rcnn', ['DKDLoss', 'NKDLoss', 'CTKDLoss'], {}),
    'roi-features': (
        'faster-rcnn',
        ['FitNetLoss', 'FGFILoss', 'ATLoss', 'ReviewKDLoss', RANK],
        {},
    ),
    'roi-schedule': (
        'faster-rcnn',
        [dict(KD, schedule=dict(begin=1, warmup=2)), 'FitNetLoss'],
        {},
    ),
    'roi-ema': ('faster-rcnn', [KD, RANK], dict(ema=True)),
    'roi-accumulation': ('faster-rcnn', [KD, RANK], dict(accumulate=3)),
    'cascade': ('cascade-rcnn', [KD, RANK], {}),
    'retinanet': ('retinanet', [BINARY, RANK, 'FGFILoss'], {}),
    'retinanet-positives': (
        'retinanet',
        [BINARY, RANK],
        dict(logits=dict(locations='positives')),
    ),
    'fcos': ('fcos', [BINARY, RANK], dict(logits=dict(locations='all'))),
    'atss': ('atss', [BINARY, RANK], {}),
    'gfl': ('gfl', [BINARY, RANK], {}),
    'gfl-boxes': ('gfl', ['LDLoss', 'CrossKDLoss', BINARY], {}),
    'rtmdet': ('rtmdet', [BINARY, RANK], {}),
    'masks': ('mask-rcnn', [KD, 'MaskKDLoss'], {}),
    'detr': ('detr', [KD, RANK], {}),
    'dino': ('dino', [BINARY, RANK], {}),
    'classifier': (
        'classifier',
        [KD, RANK, 'CTKDLoss', 'DISTLoss'],
        dict(views=1),
    ),
    'classifier-labels': (
        'classifier',
        ['DKDLoss', 'NKDLoss', 'OFDLoss'],
        dict(views=1),
    ),
    'classifier-views': (
        'classifier',
        [dict(KD, view='both'), dict(RANK, view='strong'), 'MLKDLoss'],
        {},
    ),
    'classifier-crd': (
        'classifier',
        ['CRDLoss', 'ReviewKDLoss', 'FitNetLoss', 'ATLoss'],
        dict(views=1, ema=True),
    ),
}
CLASSES = ('bolt', 'nut', 'washer')


def run(name, steps, folder):
    """Losses of each step, and digests of all weights, of one set-up."""
    import torch
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.model import ExponentialMovingAverage
    from mmengine.optim import build_optim_wrapper
    from mmengine.visualization import Visualizer

    from tests import setups

    key, losses, options = RUNS[name]
    setup = setups.SETUPS[key]()
    checkpoint = folder / f'{key}.pth'
    if not checkpoint.is_file():
        setups.save_teacher(setup, checkpoint)
    losses = [setup.loss(x) if isinstance(x, str) else x for x in losses]
    config = setups.distiller_config(setup, checkpoint, losses)
    config['logits'].update(options.get('logits', {}))
    if options.get('class_map'):
        Visualizer.get_instance(name).dataset_meta = dict(classes=CLASSES)
        config['logits']['class_map'] = dict(bolt='nut', washer='washer')
        config['teacher']['classes'] = CLASSES
    MMLogger.get_instance('trajectory', log_level='ERROR')
    hub = MessageHub.get_instance(f'trajectory-{name}')
    torch.manual_seed(0)
    model = setups.build_model(config)
    model.init_weights()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
            accumulative_counts=options.get('accumulate', 1),
            clip_grad=dict(max_norm=5.0),
        ),
    )
    average = ExponentialMovingAverage(model, 0.1)
    found = []
    for step in range(steps):
        hub.update_info('epoch', step // 5)
        hub.update_info('iter', step)
        data = setups.batch_of(setup, step % 4)
        if options.get('views') == 1:
            data.pop('strong_inputs')
        logs = model.train().train_step(data, wrapper)
        found.append({k: float(v) for k, v in logs.items()})
        if options.get('ema'):
            average.update_parameters(model)
    return dict(
        steps=found,
        weights=digest(model.state_dict()),
        average=digest(average.state_dict()),
    )


def digest(state_dict):
    """Digest of each tensor by its name."""
    return {
        key: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        for key, value in state_dict.items()
    }


def record(out, steps, names):
    """Run set-ups and write what came out."""
    import torch

    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            results[name] = run(name, steps, Path(folder))
            print(f'  {name}', flush=True)
    Path(out).write_text(json.dumps(results))


def differences(before, after):
    """Names of what differs in one set-up, in the order of the training."""
    found = []
    for step, (a, b) in enumerate(zip(before['steps'], after['steps'])):
        # A NaN is equal to itself here.
        changed = [k for k in {**a, **b} if repr(a.get(k)) != repr(b.get(k))]
        found += [f'step {step}: {k}' for k in changed]
    for part in ('weights', 'average'):
        a, b = before[part], after[part]
        found += [f'{part}: {k}' for k in {**a, **b} if a.get(k) != b.get(k)]
    return found


def recorded(package, out, steps, names):
    """What is trained with the package in a folder, in another process."""
    print(f'with the package in {package}', flush=True)
    command = [sys.executable, str(Path(__file__).resolve())]
    command += ['--record', str(out), '--steps', str(steps), *names]
    env = dict(os.environ, PYTHONPATH=str(package), OMP_NUM_THREADS='1')
    subprocess.run(command, check=True, env=env)
    return json.loads(Path(out).read_text())


def main():
    """Parse, record and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('names', nargs='*', metavar='SET-UP', help='all')
    parser.add_argument('--against', metavar='COMMIT', default='HEAD')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--record', metavar='FILE', help=argparse.SUPPRESS)
    args = parser.parse_args()
    names = args.names or list(RUNS)
    if args.record:
        record(args.record, args.steps, names)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = subprocess.run(
            ['git', 'archive', args.against, 'mmdet_rankkd', 'configs'],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        subprocess.run(['tar', '-x', '-C', name], input=archive, check=True)
        before = recorded(folder, folder / 'before.json', args.steps, names)
        after = recorded(ROOT, folder / 'after.json', args.steps, names)
    changed = {n: differences(before[n], after[n]) for n in names}
    for key, found in changed.items():
        print(f'{key:>22}  ' + ('equal' if not found else found[0]))
    if any(changed.values()):
        sys.exit('results changed')


if __name__ == '__main__':
    main()
