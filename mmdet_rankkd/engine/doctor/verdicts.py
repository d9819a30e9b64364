"""What measured steps mean, a finding each."""

from statistics import median
from typing import Any, Dict, List, Mapping, Sequence

import torch

from mmdet_rankkd.checkpoint.load import first_few
from mmdet_rankkd.distillers import BaseDistiller
from mmdet_rankkd.losses import DistillLoss

from .finding import NOTE, OK, PROBLEM, Finding
from .step import Step

#: A term whose gradient is this part of the student's own does nothing; one
#: of this many times is to know of, and of that many takes the training over.
#: PKD, with 30 to 80 times on the digits, has helped there most of all.
WEAK, MUCH, STRONG = 0.01, 10.0, 1000.0
#: The part that the proposed weight gives a term. A convention: before their
#: first step, the digits' terms have 1.0 (KD) and 0.5 (ranking). No comparison
#: of weights stands behind it.
WANTED = 0.5
#: Share of the weight of all rows that those of objects should have.
FEW_OBJECTS = 0.02


def own_step(steps: Sequence[Step]) -> Finding:
    """Whether distillation leaves the student's own step as it is."""
    name = 'weights 0'
    if not all(s.repeats for s in steps):
        return Finding(
            name,
            NOTE,
            'the plain student does not give the same twice here (a GPU adds '
            'in any order), so that nothing could be compared to the bit',
            '',
            dict(repeats=False),
        )
    same = all(s.same for s in steps)
    if same:
        return Finding(
            name,
            OK,
            "without the terms the step is the plain student's to the bit: "
            'losses, gradients, buffers',
            '',
            dict(same=True),
        )
    return Finding(
        name,
        PROBLEM,
        'with teacher and recorders at work, the losses, gradients or '
        "buffers of the student are not the plain student's",
        'something draws random numbers or changes the student: a loss or a '
        'recorder of your own, or one that says so in its docstring (MGDLoss '
        'draws its masks)',
        dict(same=False),
    )


def finite(steps: Sequence[Step]) -> Finding:
    """Whether losses, gradients and logits are finite."""
    broken = sorted({x for s in steps for x in s.broken})
    if not broken:
        return Finding(
            'finite',
            OK,
            'losses, gradients and logits',
            '',
            dict(not_finite=[]),
        )
    return Finding(
        'finite',
        PROBLEM,
        f'{len(broken)} are not: {first_few(broken)}',
        'train the student alone first: if it fails too, lower its learning '
        'rate or check its data; if not, it is the first term named here',
        dict(not_finite=broken),
    )


def unused(steps: Sequence[Step], finds: bool, gpus: int) -> Finding:
    """Whether each parameter has a gradient.

    Args:
        steps (list[Step]): What was measured.
        finds (bool): ``find_unused_parameters`` of the config.
        gpus (int): How many processes train.
    """
    names = [n for n in steps[0].unused if all(n in s.unused for s in steps)]
    facts = dict(unused=names)
    if not names:
        return Finding(
            'unused weights', OK, 'none: each has a gradient', '', facts
        )
    said = f'{len(names)} have no gradient (first: {first_few(names)})'
    if finds:
        return Finding(
            'unused weights',
            OK,
            f'{said}; find_unused_parameters is on',
            '',
            facts,
        )
    return Finding(
        'unused weights',
        PROBLEM if gpus > 1 else NOTE,
        f'{said}; several GPUs would wait for them',
        'set find_unused_parameters=True',
        facts,
    )


def terms(
    steps: Sequence[Step], losses: Mapping[str, DistillLoss]
) -> List[Finding]:
    """Gradient of each term against the student's own, and a weight.

    Args:
        steps (list[Step]): What was measured.
        losses (dict): The losses by their name.
    """
    result = []
    for name, loss in losses.items():
        norms = [s.norms.get(name, 0.0) for s in steps]
        owns = [s.norms['student'] for s in steps]
        ratios = [n / max(o, 1e-30) for n, o in zip(norms, owns)]
        norm, own, ratio = median(norms), median(owns), median(ratios)
        cosine = median(s.cosines.get(name, 0.0) for s in steps)
        facts = dict(
            norm=norm,
            student_norm=own,
            ratio=ratio,
            cosine=cosine,
            weight=loss.loss_weight,
        )
        said = (
            f"gradient {ratio:.2g} of the student's own at backbone and neck "
            f'({norm:.2g} to {own:.2g}, cosine {cosine:.2f}), with weight '
            f'{loss.loss_weight:g}'
        )
        if loss.schedule:
            said += f' ({loss.schedule})'
        if not norm > 0:
            result.append(
                Finding(
                    name,
                    PROBLEM,
                    'no gradient reaches backbone and neck',
                    'the term compares nothing: fewer than two classes, no '
                    'rows, or a recorder that detaches',
                    facts,
                )
            )
            continue
        weight = float(f'{loss.loss_weight * WANTED / ratio:.1g}')
        facts['proposed_weight'] = weight
        if ratio < WEAK or ratio > STRONG:
            does = (
                'it does next to nothing'
                if ratio < WEAK
                else "it drowns the student's own loss"
            )
            result.append(
                Finding(
                    name,
                    PROBLEM,
                    f'{said}: {does}',
                    f'try loss_weight={weight:g}, which makes it {WANTED} of '
                    'the own gradient now (a start, not an optimum)',
                    facts,
                )
            )
            continue
        said += f'; {weight:g} would make it {WANTED}'
        if ratio > MUCH:
            todo = (
                'usual of features that the student has not learnt yet; with '
                'other losses, or if its own losses stay up, try less'
            )
            result.append(Finding(name, NOTE, said, todo, facts))
        else:
            result.append(Finding(name, OK, said, '', facts))
    return result


def compared(steps: Sequence[Step], model: BaseDistiller) -> Finding:
    """What the losses were given: rows, columns, layers."""
    name = 'compared'
    batches = [s.batch for s in steps if s.batch is not None]
    if not batches:
        return Finding(name, PROBLEM, 'the losses were given nothing', '', {})
    rows = [len(b.logits.student) for b in batches]
    columns = batches[0].logits.student.shape[1]
    facts: Dict[str, Any] = dict(rows=rows, columns=columns)
    said = f'{spread(rows)} rows of {columns} columns a batch; ' + str(
        model.logits.describe()
    )
    features = batches[0].features
    if features is not None:
        pairs = list(zip(features.student.stages, features.teacher.stages))
        shapes = [[list(x.shape[1:]) for x in pair] for pair in pairs]
        facts['layers'] = shapes
        said += '; layers (student, teacher): ' + ', '.join(
            f'{size(s)} and {size(t)}' if s != t else size(s)
            for s, t in shapes
        )
    if model.logits.compares_logits and not max(rows):
        return Finding(
            name,
            PROBLEM,
            said,
            'no row is compared: check the classes that are shared, and '
            'that the images have objects',
            facts,
        )
    return Finding(name, OK, said, '', facts)


def size(shape: Sequence[int]) -> str:
    """A shape as people write it."""
    return 'x'.join(map(str, shape))


def spread(values: Sequence[int]) -> str:
    """Values from the least to the greatest."""
    low, high = min(values), max(values)
    return str(low) if low == high else f'{low} to {high}'


def background(steps: Sequence[Step]) -> Finding:
    """How much of what is compared is background."""
    name = 'background'
    rows, weights = [], []
    for step in steps:
        if step.batch is None or step.batch.logits.foreground is None:
            continue
        pair = step.batch.logits
        assert pair.foreground is not None
        objects = pair.foreground.float()
        weight = torch.ones_like(objects)
        if pair.weight is not None:
            weight = pair.weight.detach().float()
        rows.append(1 - objects.mean().item() if len(objects) else 1.0)
        total = weight.sum().clamp(min=1e-30)
        weights.append((objects * weight).sum().div(total).item())
    if not rows:
        return Finding(name, OK, 'each row is of an object', '', {})
    share, objects_weight = median(rows), median(weights)
    facts = dict(rows=share, weight=1 - objects_weight)
    said = (
        f'{share:.1%} of the rows; rows of objects have '
        f'{objects_weight:.1%} of the weight'
    )
    if objects_weight < FEW_OBJECTS:
        return Finding(
            name,
            PROBLEM,
            f'{said}: losses of logits teach little else than background',
            "set rows='foreground' or rows='confidence' on the losses of "
            'logits (losses that choose rows of their own already are not '
            'seen here)',
            facts,
        )
    return Finding(name, OK, said, '', facts)


def cost(
    steps: Sequence[Step],
    iterations: int,
    loading: float,
    waits_for_roi_align: bool = False,
) -> Finding:
    """Time and memory of a step, and the time of the whole training.

    Args:
        steps (list[Step]): What was measured.
        iterations (int): Iterations of the whole training.
        loading (float): Seconds until a batch was there.
        waits_for_roi_align (bool): Whether it could be faster by
            ``FastRoIAlignHook``.
    """
    names = dict.fromkeys(n for s in steps for n in s.seconds)
    # The first step also compiles and allocates.
    seconds = {
        n: min(s.seconds[n] for s in steps if n in s.seconds) for n in names
    }
    whole, student = seconds['step'], seconds['student']
    hours = whole * iterations / 3600
    length = f'{hours:.1f} h' if hours >= 1 else f'{60 * hours:.1f} min'
    facts: Dict[str, Any] = dict(
        seconds=seconds,
        loading=loading,
        iterations=iterations,
        hours=hours,
        memory={n: max(s.memory[n] for s in steps) for n in steps[0].memory},
        kept={n: max(s.kept[n] for s in steps) for n in steps[0].kept},
        teacher=steps[0].teacher,
    )
    ways = ', '.join(
        f'{n} {s:.2g} s back'
        for n, s in seconds.items()
        if n not in ('step', 'student', 'teacher')
    )
    said = (
        f'{whole:.2g} s a step ({whole / student:.1f} times the plain '
        f"student's {student:.2g} s; teacher {seconds.get('teacher', 0):.2g} "
        f's; {ways}); a batch is read in {loading:.2g} s; '
        f'{iterations} steps take about {length}, without reading and '
        'validation'
    )
    if steps[0].memory:
        gigabytes = {k: v / 2**30 for k, v in facts['memory'].items()}
        said += (
            f'; peak memory {gigabytes["step"]:.1f} GiB, the plain '
            f"student's {gigabytes['student']:.1f}"
        )
    if facts['kept']:
        parts = ', '.join(
            f'{n} {in_words(b)}' for n, b in facts['kept'].items()
        )
        said += (
            f'; memory kept for the way back: {parts}; the weights of the '
            f'teacher are {in_words(facts["teacher"])}'
        )
    ways_out = []
    if loading > whole:
        ways_out.append(
            'reading takes longer than a step: raise '
            'train_dataloader.num_workers'
        )
    if waits_for_roi_align:
        ways_out.append(
            'without a GPU, RoIAlign takes long where images are large: '
            "make it faster by custom_hooks=[dict(type='mmdet_rankkd."
            "FastRoIAlignHook')]"
        )
    level = NOTE if ways_out else OK
    return Finding('cost', level, said, '; '.join(ways_out), facts)


def in_words(count: int) -> str:
    """Bytes as a text."""
    if count < 2**30:
        return f'{count / 2**20:.3g} MiB'
    return f'{count / 2**30:.3g} GiB'
