"""Images without annotations in the batch of a detector."""

import logging
from typing import Any, Dict, List, Sequence, Tuple

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

Losses = Dict[str, Any]


def split_images(
    samples: Sequence[BaseDataElement],
) -> Tuple[List[int], List[int]]:
    """Which images have annotations, and which do not.

    An image of an empty list of boxes has annotations. One without has no
    list of boxes, since no ``LoadAnnotations`` made one.

    Args:
        samples (Sequence): Data samples of a batch.

    Returns:
        tuple[list[int], list[int]]: Indices of the two.
    """
    known: List[int] = []
    blank: List[int] = []
    for index, sample in enumerate(samples):
        objects = sample.get('gt_instances')
        labelled = objects is not None and 'bboxes' in objects
        (known if labelled else blank).append(index)
    return known, blank


def without_objects(
    sample: BaseDataElement, device: torch.device
) -> BaseDataElement:
    """A copy of a data sample with an empty list of objects.

    Args:
        sample (DetDataSample): Sample of an image without annotations.
        device (torch.device): Device of the list.
    """
    sample = sample.new()
    for name in ('gt_instances', 'ignored_instances'):
        objects = InstanceData(
            bboxes=torch.zeros(0, 4, device=device),
            labels=torch.zeros(0, dtype=torch.long, device=device),
        )
        setattr(sample, name, objects)
    return sample


def compare_processes(known: bool, blank: bool, device: torch.device) -> None:
    """Raise unless all processes have the same kinds of images.

    Each kind is a pass of its own, in which the processes wait for each other.

    Args:
        known (bool): Whether this one has images with annotations.
        blank (bool): Whether it has some without.
        device (torch.device): Device of the tensors that are exchanged.

    Raises:
        ValueError: In all processes, if they have not.
    """
    count = get_world_size()
    if count == 1:
        return
    totals = torch.tensor([known, blank], dtype=torch.float32, device=device)
    all_reduce(totals)
    if any(x not in (0, count) for x in totals.tolist()):
        raise ValueError(
            'some processes have images with annotations, or without, and '
            'others have none in this step. With several processes, each '
            "batch needs both: sampler=dict(type='mmdet.MultiSourceSampler', "
            'batch_size=..., source_ratio=[...]) and batch_sampler=None'
        )


class AnnotatedShare:
    """Warns once if few images of the first steps have annotations.

    Attributes:
        STEPS (int): Number of steps that are counted.
        LEAST (float): Share of the images that should have annotations.
    """

    STEPS = 50
    LEAST = 1 / 3

    def __init__(self) -> None:
        self.steps = self.known = self.blank = 0

    def count(self, known: int, blank: int) -> None:
        """Count the images of a step, and warn after the last one.

        Args:
            known (int): Number of images with annotations.
            blank (int): Number of those without.
        """
        if self.steps == self.STEPS:
            return
        self.steps += 1
        self.known += known
        self.blank += blank
        total = self.known + self.blank
        if self.steps == self.STEPS and self.known < self.LEAST * total:
            print_log(
                f'unlabelled=True: {self.known} of the {total} images of the '
                f'first {self.STEPS} steps have annotations, and the '
                "student's own losses are those of these alone. Give a batch "
                'as many of them as the student trains with by itself, and '
                'the others on top; see docs/unlabelled-images.md',
                logger='current',
                level=logging.WARNING,
            )


def zeros_of(losses: Losses) -> Losses:
    """Zero times each loss, so that each parameter has a gradient."""
    result: Losses = {}
    for name, value in losses.items():
        if 'loss' in name:
            values = [value] if isinstance(value, Tensor) else value
            result[name] = torch.stack([0 * x.sum() for x in values]).sum()
    return result
