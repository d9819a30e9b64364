"""Logit hook of detectors with queries: class logits of matched queries."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from mmdet.models.detectors import (
    DABDETR,
    DDQDETR,
    DETR,
    DINO,
    ConditionalDETR,
    DeformableDETR,
    GroundingDINO,
)
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rankkd.registry import MODELS

from .classes import ClassMap, ClassMapConfig
from .dense import columns_of, compare_heads, confidence, softmax
from .pair import LogitPair
from .shared import check_ran, mean_over_processes, shared_columns

DETECTORS = (DETR, ConditionalDETR, DABDETR, DeformableDETR, DINO)
OTHERS = (DDQDETR, GroundingDINO)


@dataclass
class QueryRecord:
    """What the student's decoder gave in one training pass.

    Attributes:
        logits (Tensor): Of the last layer, shape (B, Q, C).
        boxes (Tensor): Shape (B, Q, 4): centre, width and height as parts of
            the image.
        samples (list): Data samples of the batch.
        assigner (HungarianAssigner): The student's.
        denoising (int): How many queries, the first, are left out.
    """

    logits: Optional[Tensor] = None
    boxes: Optional[Tensor] = None
    samples: List[Any] = field(default_factory=list)
    assigner: Any = None
    denoising: int = 0


@MODELS.register_module()
class QueryLogits:
    """Class logits of queries that are about the same object.

    Which object a query answers for is decided anew in each network and
    image, so queries are matched first: the surest queries of the teacher,
    with their class and box, take the part of the ground truth in the
    student's own Hungarian assigner. Matched queries of the last decoder
    layer are compared, weighted by the teacher's confidence (the highest
    class probability), with the mean over all processes. Queries of the
    student for denoising take no part. The rows' labels are the teacher's
    classes.

    For DETR, Conditional, DAB and Deformable DETR, and DINO. The matching
    follows the student's predictions, so that early in a training it is
    little more than chance; the teacher's weights decide what counts.

    Args:
        queries (int): So many of the teacher's queries of each image.
        class_map (str or dict, optional): Compare only the classes that
            student and teacher share; see :class:`ClassMap`.

    Raises:
        ValueError: If ``queries`` is not positive.
    """

    def __init__(
        self, queries: int = 50, class_map: Optional[ClassMapConfig] = None
    ) -> None:
        if queries < 1:
            raise ValueError(f'queries must be positive, got {queries}')
        self.queries = queries
        self.class_map = None if class_map is None else ClassMap(class_map)

    def check(self, student: Any, teacher: Any) -> None:
        """Raise where the two detectors cannot be compared.

        Raises:
            TypeError: If one is of another kind.
            ValueError: If their classes or kinds of classification differ, or
                their images are padded to different sizes.
        """
        for role, model in (('student', student), ('teacher', teacher)):
            if not isinstance(model, DETECTORS) or isinstance(model, OTHERS):
                raise TypeError(
                    'QueryLogits needs a DETR, Conditional DETR, DAB-DETR, '
                    f'Deformable DETR or DINO, but the {role} is a '
                    f'{type(model).__name__}'
                )
        compare_heads(student, teacher, self.class_map)
        divisors = [
            getattr(m.data_preprocessor, 'pad_size_divisor', 1)
            for m in (student, teacher)
        ]
        if divisors[0] != divisors[1]:
            raise ValueError(
                'detectors with queries mask the padding of a batch, which '
                'must be the same: pad_size_divisor of the student is '
                f'{divisors[0]}, that of the teacher {divisors[1]}'
            )

    def columns(self, student: Any) -> int:
        """How many columns are compared."""
        return columns_of(student.bbox_head, self.class_map)

    def sigmoid(self, student: Any) -> bool:
        """Whether the heads take each column by itself."""
        return not softmax(student.bbox_head)

    def describe(self) -> str:
        """Which rows and columns count, for the log."""
        return (
            f"QueryLogits, the teacher's {self.queries} surest queries of an "
            "image, matched with the student's, weighted by its confidence"
        )

    @contextmanager
    def record(self, student: Any) -> Iterator[QueryRecord]:
        """Record the one training pass of the student inside the context."""
        head = student.bbox_head
        record = QueryRecord(assigner=head.assigner)
        loss = head.loss

        def note_inputs(*args: Any, **kwargs: Any) -> Any:
            record.samples = kwargs['batch_data_samples']
            meta = kwargs.get('dn_meta') or {}
            record.denoising = meta.get('num_denoising_queries', 0)
            return loss(*args, **kwargs)

        def note_outputs(module: Any, inputs: Any, output: Any) -> None:
            record.logits, record.boxes = (
                x[-1][:, record.denoising :] for x in output[:2]
            )

        head.loss = note_inputs
        handle = head.register_forward_hook(note_outputs)
        try:
            yield record
        finally:
            handle.remove()
            del head.loss
        check_ran(record.logits, head)

    def replay(
        self, teacher: Any, features: Sequence[Tensor], record: QueryRecord
    ) -> LogitPair:
        """Have the teacher decode the images; match its queries.

        Args:
            teacher (nn.Module): The teacher.
            features (Sequence[Tensor]): Its features of the same images.
            record (QueryRecord): What the student did.
        """
        assert record.logits is not None and record.boxes is not None
        background = softmax(teacher.bbox_head)
        ours, theirs, labels = self._match(
            (record.logits, record.boxes),
            decode(teacher, features, record.samples),
            record.samples,
            background,
            record.assigner,
        )
        weight = confidence(theirs, background)
        ours, theirs = shared_columns(self.class_map, ours, theirs, background)
        return LogitPair(
            ours, theirs, labels, weight, mean_over_processes(weight.sum())
        )

    def _match(
        self,
        student: Tuple[Tensor, Tensor],
        teacher: Tuple[Tensor, Tensor],
        samples: Sequence[Any],
        background: bool,
        assigner: Any,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Matched rows of logits, and the teacher's class of each."""
        rows: Dict[str, List[Tensor]] = dict(ours=[], theirs=[], labels=[])
        for image, sample in enumerate(samples):
            height, width = sample.img_shape[:2]
            scale = student[1].new_tensor([width, height, width, height])
            ours, theirs = student[0][image], teacher[0][image]
            sure = confidence(theirs, background)
            top = sure.topk(min(self.queries, len(sure))).indices
            theirs = theirs[top]
            classes = theirs[:, :-1] if background else theirs
            labels = classes.argmax(1)
            # The assigner's costs are of the student's classes.
            columns = labels
            if self.class_map is not None:
                shared = self.class_map.from_teacher(labels)
                keep = shared >= 0
                top, theirs, columns = top[keep], theirs[keep], shared[keep]
                labels = self.class_map.relabel(columns)
            result = assigner.assign(
                InstanceData(
                    scores=ours.detach().float(),
                    bboxes=bbox_cxcywh_to_xyxy(
                        student[1][image].detach().float()
                    )
                    * scale,
                ),
                InstanceData(
                    labels=columns,
                    bboxes=bbox_cxcywh_to_xyxy(teacher[1][image][top].float())
                    * scale,
                ),
                sample.metainfo,
            )
            matched = result.gt_inds > 0
            chosen = result.gt_inds[matched] - 1
            rows['ours'].append(ours[matched])
            rows['theirs'].append(theirs[chosen])
            rows['labels'].append(labels[chosen])
        found = [torch.cat(rows[k]) for k in ('ours', 'theirs', 'labels')]
        return found[0], found[1], found[2]

    @property
    def needs_boxes(self) -> bool:
        """Whether ``held_out`` needs ground truth to tell its rows."""
        return False

    def held_out(
        self, student: Any, teacher: Any, data: dict
    ) -> Tuple[Tensor, Tensor]:
        """Logits of matched queries, for tau on a validation set.

        Args:
            student (nn.Module): The student.
            teacher (nn.Module): The teacher.
            data (dict): A batch of a validation loader.
        """
        outputs = []
        for model in (student, teacher):
            batch = model.data_preprocessor(data, False)
            features = model.extract_feat(batch['inputs'])
            outputs.append(decode(model, features, batch['data_samples']))
        background = softmax(teacher.bbox_head)
        ours, theirs, _ = self._match(
            outputs[0],
            outputs[1],
            batch['data_samples'],
            background,
            student.bbox_head.assigner,
        )
        return shared_columns(self.class_map, ours, theirs, background)


def decode(
    model: Any, features: Sequence[Tensor], samples: Sequence[Any]
) -> Tuple[Tensor, Tensor]:
    """Logits (B, Q, C) and boxes (B, Q, 4) of the last decoder layer."""
    inputs = model.forward_transformer(tuple(features), samples)
    logits, boxes = model.bbox_head(**inputs)[:2]
    return logits[-1], boxes[-1]
