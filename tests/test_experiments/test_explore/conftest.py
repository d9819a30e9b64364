"""Work dirs of detectors that were never trained."""

import pytest
import torch

from mmdet_rankkd.checkpoint.build import build_model, load_config


@pytest.fixture(scope='module')
def work_dirs(project, tmp_path_factory):
    """Two seeds of the student, one of a distilled student, and a teacher."""
    root = tmp_path_factory.mktemp('runs')
    for name, file, seed in (
        ('alone/seed0', 'student', 0),
        ('alone/seed1', 'student', 1),
        ('distilled', 'distill', 0),
        ('big', 'teacher', 0),
    ):
        config = load_config(str(project / f'{file}.py'))
        config.randomness = dict(seed=seed)
        config.work_dir = str(root / name)
        (root / name).mkdir(parents=True)
        config.dump(str(root / name / f'{file}.py'))
        torch.manual_seed(seed)
        model = build_model(config)
        # So that everything is found, if badly.
        state = dict(state_dict=model.state_dict())
        torch.save(state, root / name / 'epoch_1.pth')
        logs = root / name / '20260101_000000/vis_data'
        logs.mkdir(parents=True)
        (logs / 'scalars.json').write_text(
            '{"lr": 0.1, "loss": 3.5, "step": 1}\n'
            '{"lr": 0.1, "loss": NaN, "step": 2}\n'
            f'{{"coco/bbox_mAP": 0.{seed + 1}, "step": 1}}\n'
        )
    return root
