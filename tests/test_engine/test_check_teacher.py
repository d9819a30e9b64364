"""The check of a teacher, against its own test by MMEngine's Runner."""

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from mmdet_rankkd.engine.check_teacher import check_teacher

from ..helpers import make_runner

OWN = dict(
    type='mmdet.DetDataPreprocessor',
    mean=[10.0, 20.0, 30.0],
    std=[200.0, 210.0, 220.0],
    bgr_to_rgb=False,
    pad_size_divisor=64,
)


@METRICS.register_module()
class SumOfScores(BaseMetric):
    """A figure that tells any two networks or normalisations apart."""

    def process(self, data_batch, data_samples):
        self.results += [
            s['pred_instances']['scores'].sum().item() for s in data_samples
        ]

    def compute_metrics(self, results):
        return dict(scores=sum(results))


@pytest.mark.parametrize('teachers', ['top', 'model'])
@pytest.mark.parametrize('students', ['top', 'model'])
def test_metrics_are_those_of_its_own_test(
    distill_cfg, project, tmp_path, teachers, students
):
    """Wherever the two configs have their data_preprocessor."""
    teacher = Config.fromfile(project / 'teacher.py')
    del teacher.model.data_preprocessor
    place = teacher if teachers == 'top' else teacher.model
    place.data_preprocessor = OWN
    cfg = distill_cfg
    if students == 'top':
        cfg.data_preprocessor = cfg.model.student.pop('data_preprocessor')
    for config in (teacher, cfg):
        config.test_evaluator = dict(type='mmengine.SumOfScores')
        config.work_dir = str(tmp_path / 'work')
    cfg.model.teacher.config = teacher.to_dict()
    facts = check_teacher(cfg)
    runner = make_runner(teacher)
    weights = torch.load(project / 'teacher.pth')['state_dict']
    runner.model.load_state_dict(weights)
    assert facts['scores'] == runner.test()['scores']


def test_an_evaluator_without_metrics(distill_cfg, tmp_path):
    distill_cfg.test_evaluator.update(
        format_only=True, outfile_prefix=str(tmp_path / 'out')
    )
    with pytest.raises(ValueError, match='format_only=True.*val_evaluator'):
        check_teacher(distill_cfg)
    assert not list(tmp_path.glob('out*'))


def test_it_is_tested_at_its_own_resolution(distill_cfg, project, tmp_path):
    """As by its own test with its own resize in place of the student's."""
    teacher = Config.fromfile(project / 'teacher.py')
    for config in (teacher, distill_cfg):
        config.test_evaluator = dict(type='mmengine.SumOfScores')
        config.work_dir = str(tmp_path / 'work')
    resize = dict(type='Resize', scale=(192, 160), keep_ratio=True)
    dataset = distill_cfg.test_dataloader.dataset
    at_students = check_teacher(distill_cfg)['scores']
    dataset.pipeline = [
        dict(
            type='mmdet_rankkd.TwoResolutions',
            pipeline=dataset.pipeline,
            teacher=resize,
        )
    ]
    facts = check_teacher(distill_cfg)
    teacher.test_dataloader.dataset.pipeline[1] = resize
    runner = make_runner(teacher)
    weights = torch.load(project / 'teacher.pth')['state_dict']
    runner.model.load_state_dict(weights)
    assert facts['scores'] == runner.test()['scores'] != at_students
    # The config that was checked still gives both images.
    assert 'teacher_only' not in dataset.pipeline[0]


def test_other_classes_where_no_logits_are_compared(distill_cfg):
    distill_cfg.model.teacher.classes = ['disc', 'screw', 'rod']
    with pytest.raises(ValueError, match="'bolt' in the training set"):
        check_teacher(distill_cfg)
    distill_cfg.model.logits = dict(type='mmdet_rankkd.NoLogits')
    facts = check_teacher(distill_cfg)
    assert facts['AP'].startswith('not taken: its classes are not those')
