"""Recorder of detectors with queries: class logits of matched queries."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

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
from mmdet.models.task_modules import BaseAssigner
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import (
    LogitPair,
    confidence,
    mean_over_processes,
)

from .base import FeatureMaps, LogitRecorder, Model
from .classes import ClassMap, ClassMapConfig
from .dense import columns_of, compare_heads, softmax
from .listening import listening
from .shared import check_ran, shared_columns

DETECTORS = (DETR, ConditionalDETR, DABDETR, DeformableDETR, DINO)
OTHERS = (DDQDETR, GroundingDINO)


@dataclass
class QueryRecord:
    """What the student's decoder gave in one training pass.

    Attributes:
        logits (Tensor): Logits of the last layer, shape (B, Q, C), without
            queries for denoising.
        boxes (Tensor): Shape (B, Q, 4): centre, width and height as parts of
            the image.
        samples (list): Data samples of the batch.
        assigner (HungarianAssigner): The student's.
    """

    logits: Optional[Tensor] = None
    boxes: Optional[Tensor] = None
    samples: List[DetDataSample] = field(default_factory=list)
    assigner: Optional[BaseAssigner] = None


@MODELS.register_module()
class QueryLogits(LogitRecorder[QueryRecord]):
    """Class logits of queries that are about the same object.

    Which object a query answers for is decided anew in each network and
    image, so queries are matched first: the most confident queries of the
    teacher, with their class and box, take the part of the ground truth in the
    student's own Hungarian assigner. Matched queries of the last decoder
    layer are compared, weighted by the teacher's confidence (the highest
    class probability), with the mean over all processes. Queries of the
    student for denoising take no part. The rows' labels are the teacher's
    classes, and for losses with ``rows='foreground'`` those rows are of an
    object whose confidence is above 0.5; a teacher that is never so sure
    leaves them none.

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

    labels_of_teacher = True

    def __init__(
        self, queries: int = 50, class_map: Optional[ClassMapConfig] = None
    ) -> None:
        if queries < 1:
            raise ValueError(f'queries must be positive, got {queries}')
        self.queries = queries
        self.class_map = None if class_map is None else ClassMap(class_map)

    def check(self, student: Model, teacher: Model) -> None:
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

    def columns(self, student: Model) -> int:
        """How many columns are compared."""
        return columns_of(student.bbox_head, self.class_map)

    def sigmoid(self, student: Model) -> bool:
        """Whether the heads take each column by itself."""
        return not softmax(student.bbox_head)

    def describe(self) -> str:
        """Which rows and columns count, for the log."""
        return (
            f"QueryLogits, the teacher's {self.queries} most confident "
            "queries of an image, matched with the student's, weighted by its "
            'confidence'
        )

    @contextmanager
    def record(self, student: Model) -> Iterator[QueryRecord]:
        """Record the one training pass of the student inside the context."""
        head = student.bbox_head
        record = QueryRecord(assigner=head.assigner)
        layers: List[Sequence[Tensor]] = []

        def note_outputs(
            output: Sequence, *args: object, **kwargs: object
        ) -> None:
            layers[:] = output[:2]

        def note_loss(
            losses: dict,
            *args: object,
            batch_data_samples: List[DetDataSample],
            dn_meta: Optional[Dict[str, int]] = None,
            **kwargs: object,
        ) -> None:
            first = (dn_meta or {}).get('num_denoising_queries', 0)
            record.samples = batch_data_samples
            record.logits, record.boxes = (x[-1][:, first:] for x in layers)

        with (
            listening(head, 'forward', note_outputs),
            listening(head, 'loss', note_loss),
        ):
            yield record
        check_ran(record.logits, head)

    def replay(
        self, teacher: Model, features: FeatureMaps, record: QueryRecord
    ) -> LogitPair:
        """Have the teacher decode the images; match its queries.

        Args:
            teacher (nn.Module): The teacher.
            features (Sequence[Tensor]): Its features of the same images.
            record (QueryRecord): What the student did.
        """
        assert record.logits is not None and record.boxes is not None
        background = softmax(teacher.bbox_head)
        rows, target, labels = self._match(
            (record.logits, record.boxes),
            decode(teacher, features, record.samples),
            record.samples,
            background,
            record.assigner,
        )
        weight = confidence(target, background)
        rows, target = shared_columns(self.class_map, rows, target, background)
        return LogitPair(
            rows,
            target,
            labels,
            weight,
            mean_over_processes(weight.sum()),
            foreground=weight > 0.5,
            background=background,
        )

    def _match(
        self,
        student: Tuple[Tensor, Tensor],
        teacher: Tuple[Tensor, Tensor],
        samples: Sequence[DetDataSample],
        background: bool,
        assigner: BaseAssigner,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Matched rows of logits, and the teacher's class of each."""
        rows: Dict[str, List[Tensor]] = dict(student=[], teacher=[], labels=[])
        for image, sample in enumerate(samples):
            height, width = sample.img_shape[:2]
            scale = student[1].new_tensor([width, height, width, height])
            own, target = student[0][image], teacher[0][image]
            sure = confidence(target, background)
            top = sure.topk(min(self.queries, len(sure))).indices
            target = target[top]
            classes = target[:, :-1] if background else target
            labels = classes.argmax(1)
            # The assigner's costs are of the student's classes.
            columns = labels
            if self.class_map is not None:
                shared = self.class_map.from_teacher(labels)
                keep = shared >= 0
                top, target, columns = top[keep], target[keep], shared[keep]
                labels = self.class_map.relabel(columns)
            result = assigner.assign(
                InstanceData(
                    scores=own.detach().float(),
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
            rows['student'].append(own[matched])
            rows['teacher'].append(target[chosen])
            rows['labels'].append(labels[chosen])
        found = [torch.cat(rows[k]) for k in ('student', 'teacher', 'labels')]
        return found[0], found[1], found[2]

    def held_out(
        self, student: Model, teacher: Model, data: dict
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
        rows, target, _ = self._match(
            outputs[0],
            outputs[1],
            batch['data_samples'],
            background,
            student.bbox_head.assigner,
        )
        return shared_columns(self.class_map, rows, target, background)


def decode(
    model: Model, features: FeatureMaps, samples: Sequence[DetDataSample]
) -> Tuple[Tensor, Tensor]:
    """Logits (B, Q, C) and boxes (B, Q, 4) of the last decoder layer."""
    inputs = model.forward_transformer(tuple(features), samples)
    logits, boxes = model.bbox_head(**inputs)[:2]
    return logits[-1], boxes[-1]
