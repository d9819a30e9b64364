"""What the settings and the data of a training tell without a step of it."""

from typing import Any, Dict, List, Optional, Sequence

from mmengine.config import Config

from .finding import NOTE, OK, PROBLEM, Finding

#: Learning rates per image of a step that MMDetection's recipes have.
USUAL_RATES = {'SGD': (0.01 / 16, 0.02 / 16), 'AdamW': (1e-4 / 16, 4e-3 / 256)}
FEW_IMAGES = 200
FEW_STEPS = 500
#: How many images of a set are looked at for their objects.
LOOKED_AT = 1000


def learning_rate(cfg: Config, gpus: int) -> Finding:
    """Whether the learning rate is that of the images in a step.

    Args:
        cfg (Config): Config of the training.
        gpus (int): How many processes train.
    """
    name = 'learning rate'
    optimizer: Any = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    rate = optimizer.get('lr')
    if rate is None:
        return Finding(name, NOTE, 'the config names none', '')
    each = cfg.train_dataloader.get('batch_size') or 1
    accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)
    images = each * gpus * accumulated
    scaling = cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    facts = dict(lr=rate, images=images, base_batch_size=base)
    said = (
        f'{rate:g} for {images} images a step ({each} a GPU, {gpus} '
        f'GPU{"s" * (gpus > 1)}'
        + (f', {accumulated} steps gathered)' if accumulated > 1 else ')')
    )
    if base is None:
        return Finding(
            name,
            NOTE,
            f'{said}; the config does not say which batch size its rate is '
            'for',
            'set auto_scale_lr=dict(base_batch_size=N), N being the images '
            'a step that the rate was chosen for',
            facts,
        )
    if scaling.get('enable'):
        return Finding(
            name,
            OK,
            f'{said}, scaled from {base} as auto_scale_lr says',
            '',
            facts,
        )
    low, high = USUAL_RATES.get(str(optimizer.get('type')), (None, None))
    if images == base:
        return Finding(name, OK, f'{said}, as it was chosen for', '', facts)
    if (
        low
        and high
        and min(low, high) / 2 <= rate / images <= 2 * max(low, high)
    ):
        return Finding(
            name,
            OK,
            f"{said}, per image as in MMDetection's recipes with "
            f'{optimizer.type}',
            '',
            facts,
        )
    scaled = rate * images / base
    facts['scaled'] = scaled
    return Finding(
        name,
        PROBLEM,
        f'{said}, but auto_scale_lr says that it is for {base}',
        f'set optim_wrapper.optimizer.lr={scaled:g}, or train with '
        f'--auto-scale-lr. If {rate:g} was chosen for {images}: '
        f'auto_scale_lr.base_batch_size={images}',
        facts,
    )


def warm_up(
    schedulers: Optional[Sequence[Any]],
    steps: int,
    epochs: int,
) -> Finding:
    """Whether the rate reaches its value before the training ends.

    Args:
        schedulers (list[dict], optional): ``param_scheduler`` of the config.
        steps (int): Steps of the whole training.
        epochs (int): Epochs of the whole training; 0 if it is not counted in
            them.
    """
    longest = 0.0
    if isinstance(schedulers, dict):
        schedulers = [schedulers]
    for each in schedulers or ():
        kind = str(each.get('type', ''))
        if not kind.startswith(('Linear', 'Constant')):
            continue
        end = each.get('end')
        whole = epochs if each.get('by_epoch', True) else steps
        if end and whole:
            longest = max(longest, end / whole)
    facts = dict(steps=steps, warm_up=longest)
    said = f'{steps} steps in all'
    if longest > 0.5:
        return Finding(
            'length',
            PROBLEM,
            f'{said}, and warm-up is {min(longest, 1):.0%} of it: the '
            'learning rate is at its value too late',
            'shorten the warm-up (end= of the LinearLR in param_scheduler) '
            'to a tenth of the steps, or train longer',
            facts,
        )
    if steps < FEW_STEPS:
        return Finding(
            'length',
            NOTE,
            f'{said}, which is few: detectors of MMDetection train 90,000',
            'raise train_cfg.max_epochs; a set of few images needs more '
            'epochs',
            facts,
        )
    warming = f', warm-up {longest:.0%} of it' if longest else ''
    return Finding('length', OK, said + warming, '', facts)


def training_set(dataset: Any) -> List[Finding]:
    """Images, objects and classes of a training set.

    Args:
        dataset (Dataset): Dataset of MMEngine, or a wrapper of one.
    """
    images = len(dataset)
    classes = list((getattr(dataset, 'metainfo', {}) or {}).get('classes', ()))
    counts = count_objects(dataset)
    facts: Dict[str, Any] = dict(images=images, classes=len(classes))
    said = f'{images} images, {len(classes)} class{"es" * (len(classes) != 1)}'
    if counts is None:
        return [
            Finding(
                'training set', NOTE, f'{said}; objects not counted', '', facts
            )
        ]
    looked = min(images, LOOKED_AT)
    total = sum(counts.values())
    facts['objects'] = total
    said += f', {total} objects'
    if looked < images:
        said += f' in the first {looked}'
    if not total:
        return [
            Finding(
                'training set',
                PROBLEM,
                f'{said}: there is nothing to learn',
                'the names in metainfo.classes must be those of the '
                'annotation file, letter by letter; other objects are left '
                'out without a word',
                facts,
            )
        ]
    lacking = [c for i, c in enumerate(classes) if not counts.get(i)]
    facts['without_objects'] = lacking
    if lacking and looked == images:
        return [
            Finding(
                'training set',
                NOTE if knows_classes(dataset) else PROBLEM,
                f'{said}, and none of {", ".join(lacking[:5])}'
                + (f' and {len(lacking) - 5} more' if lacking[5:] else ''),
                'correct the spelling in metainfo.classes, or leave the '
                'class out',
                facts,
            )
        ]
    if images < FEW_IMAGES:
        return [
            Finding(
                'training set',
                NOTE,
                f'{said}, which is small: AP differs much between seeds',
                'compare means of several seeds; distillation has most to '
                'give here',
                facts,
            )
        ]
    return [Finding('training set', OK, said, '', facts)]


def knows_classes(dataset: Any) -> bool:
    """Whether the annotation file is known to have every class of a set.

    COCO's sets pass over names that their file does not have.
    """
    innermost = dataset
    while hasattr(innermost, 'dataset'):
        innermost = innermost.dataset
    found = getattr(innermost, 'cat_ids', None)
    return found is not None and len(found) >= len(
        innermost.metainfo['classes']
    )


def count_objects(dataset: Any) -> Optional[Dict[int, int]]:
    """Objects (or images) of each class, of the first images of a set."""
    if not hasattr(dataset, 'get_data_info'):
        return None
    counts: Dict[int, int] = {}
    for index in range(min(len(dataset), LOOKED_AT)):
        info = dataset.get_data_info(index)
        labels = [
            x['bbox_label']
            for x in info.get('instances', ())
            if not x.get('ignore_flag')
        ]
        if 'gt_label' in info:
            labels.append(info['gt_label'])
        for label in labels:
            counts[int(label)] = counts.get(int(label), 0) + 1
    return counts


def head_classes(
    classes: Sequence[str], counts: Dict[str, Optional[int]]
) -> Finding:
    """Whether the heads have as many classes as the data.

    Args:
        classes (Sequence[str]): Names in the training set.
        counts (dict): ``num_classes`` of the head of each network.
    """
    name = 'classes'
    wrong = {k: v for k, v in counts.items() if v not in (None, len(classes))}
    facts = dict(counts, data=len(classes))
    if 'student' in wrong:
        return Finding(
            name,
            PROBLEM,
            f'the training set has {len(classes)} and the head of the '
            f'student {wrong["student"]}',
            'set num_classes of the head in the config of the student',
            facts,
        )
    if len(classes) == 1:
        return Finding(
            name,
            NOTE,
            f'one class ({classes[0]}): logits tell objects from background '
            'and nothing else',
            'a feature loss (PKDLoss, FGDLoss) has more to give than losses '
            'of logits; ranking has nothing to order',
            facts,
        )
    return Finding(
        name, OK, f'{len(classes)}, as in the head of the student', '', facts
    )
