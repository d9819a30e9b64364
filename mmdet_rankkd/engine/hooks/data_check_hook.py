"""Detectors are not trained on a set without a box."""

from pathlib import Path
from typing import Any, Iterator, List

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_rankkd.datasets.check_coco import coco_problems
from mmdet_rankkd.registry import HOOKS


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Refuse a training set in which no image has a box, and say why.

    With a class misspelt in the config, other category numbers or boxes of
    no size, MMDetection leaves all boxes out and trains without a word. The
    set is looked through up to its first box. Sets that are not of boxes pass.
    ``rankkd train`` and the sweeps add it to every training; elsewhere a
    config names it::

        default_hooks = dict(data=dict(type='mmdet_rankkd.DataCheckHook'))

    Raises:
        ValueError: Before the first step, if there is no box, or the classes
            are no list.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Look for a box."""
        checked = []
        for dataset in innermost(runner.train_dataloader.dataset):
            if not hasattr(dataset, 'get_data_info'):
                return
            classes = dataset.metainfo.get('classes')
            if isinstance(classes, str):
                raise ValueError(
                    'metainfo of the training set: classes must be a list of '
                    f'names, got {classes!r}'
                )
            for index in range(len(dataset)):
                info = dataset.get_data_info(index)
                if 'instances' not in info:
                    return
                if any(not x.get('ignore_flag') for x in info['instances']):
                    return
            checked.append(dataset)
        if checked:
            raise ValueError(
                'the training set has no box to train on. '
                + '. '.join(map(explain, checked))
            )


def innermost(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers such as RepeatDataset."""
    inner: List[Any] = getattr(dataset, 'datasets', None) or []
    if hasattr(dataset, 'dataset'):
        inner = [dataset.dataset]
    if not inner:
        yield dataset
    for part in inner:
        yield from innermost(part)


def explain(dataset: Any) -> str:
    """What is wrong with a data set, as far as its file tells."""
    file = str(getattr(dataset, 'ann_file', ''))
    folder = (getattr(dataset, 'data_prefix', None) or {}).get('img')
    if not file.endswith('.json') or not Path(file).is_file():
        return f'{type(dataset).__name__} {file}: {len(dataset)} images'
    problems = coco_problems(file, dataset.metainfo['classes'], folder)
    if not problems:
        problems = ['all of its boxes are left out: crowds, or by filter_cfg']
    return f'{file}: {"; ".join(problems)}'
