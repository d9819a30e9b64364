"""Is this teacher what its config says, and is it any good on this data?"""

import copy
from pathlib import Path
from typing import Dict

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_rankkd.checkpoint.build import build_model, model_config
from mmdet_rankkd.checkpoint.load import first_few, load_weights
from mmdet_rankkd.datasets.two_resolutions import with_teachers_image
from mmdet_rankkd.distillers.teacher import (
    compare_classes,
    resize_inputs,
    teacher_from,
)
from mmdet_rankkd.recorders import ClassMap

from .launch import build_runner, innermost_config


def check_teacher(cfg: Config) -> Dict[str, object]:
    """Build the teacher of a distillation config and evaluate it once.

    The test set, its pipeline and its evaluator are those of the config;
    normalisation, padding and input size are the teacher's own, and the
    resolution too if the pipeline is ``TwoResolutions``. With a
    ``class_map`` the teacher has other classes than the set, as it may with
    ``NoLogits``, and no metrics are taken.

    Args:
        cfg (Config): A config with a ``model.teacher``.

    Returns:
        dict: ``weights`` found, ``unused`` entries of the checkpoint,
        ``parameters``, and the metrics of the evaluator or, with a
        ``class_map``, the shared classes; or why there are none.

    Raises:
        FileNotFoundError: If the teacher's config or checkpoint is not there.
        ValueError: As in training, see :class:`Teacher`; and if the evaluator
            gives no metrics, as with ``format_only=True``.
    """
    if 'teacher' not in cfg.model:
        raise ValueError('the config has no model.teacher')
    teacher = teacher_from(cfg.model.teacher)
    if cfg.filename is not None:
        teacher.folder = Path(cfg.filename).resolve().parent
    checkpoint = teacher.read_checkpoint()
    teacher_cfg = teacher.read_config()
    model = build_model(teacher_cfg)
    unused = load_weights(
        model,
        checkpoint['state_dict'],
        f'teacher checkpoint {teacher.checkpoint!r}',
    )
    facts: Dict[str, object] = dict(
        teacher=type(model).__name__,
        parameters=sum(p.numel() for p in model.parameters()),
        weights=f'all {len(model.state_dict())} found',
        unused=first_few(unused) if unused else 'none',
    )
    distiller = cfg.model
    cfg = cfg.copy()
    cfg.test_dataloader = copy.deepcopy(cfg.test_dataloader)
    dataset = innermost_config(cfg.test_dataloader.dataset)
    if 'pipeline' in dataset:
        dataset.pipeline = with_teachers_image(dataset.pipeline)
    # All of it: the Runner completes a model by what else the config has.
    cfg.model = model_config(teacher_cfg)
    cfg.model.setdefault('data_preprocessor', None)
    cfg.custom_hooks = []
    cfg.load_from, cfg.resume = None, False
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    runner = build_runner(cfg)
    runner.model.load_state_dict(model.state_dict())
    if teacher.input_size is not None:
        resize_inputs(runner.model, teacher.input_size)
    student = runner.test_loop.dataloader.dataset.metainfo['classes']
    names = teacher.class_names(checkpoint)
    logits = distiller.get('logits') or {}
    pairs = logits.get('class_map')
    if pairs is not None:
        class_map = ClassMap(pairs)
        class_map.match(student, names)
        facts['shared classes'] = ', '.join(class_map.names)
    differ = names is not None and list(names) != list(student)
    if pairs is not None or (differ and 'NoLogits' in str(logits.get('type'))):
        facts['AP'] = (
            'not taken: its classes are not those of this set. Test it by its '
            'own config.'
        )
        return facts
    if names is not None and teacher.check_classes:
        compare_classes(list(student), list(names))
    metrics = runner.test_evaluator.metrics
    if all(getattr(m, 'format_only', False) for m in metrics):
        raise ValueError(
            'the test_evaluator of the config only writes files '
            '(format_only=True) and gives no metrics. Evaluate on a set with '
            'annotations: test_dataloader=val_dataloader and '
            'test_evaluator=val_evaluator.'
        )
    found = runner.test()
    if not found:
        raise ValueError('the test_evaluator of the config gave no metrics')
    return {**facts, **found}
