"""All files of a student at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mmdet_rankkd.checkpoint.export import ExportFacts, export_student
from mmdet_rankkd.checkpoint.write import refuse_to_overwrite

from .formats import (
    BOX_BOUND,
    SCORE_BOUND,
    Differences,
    write_onnx,
    write_safetensors,
)
from .graph import graph_of
from .student import Sample, Student, find_samples, read_student


@dataclass(frozen=True)
class Shipped:
    """What was written of a student.

    Attributes:
        student (Student): The student.
        samples (list[Sample]): The images that it was tried on.
        plain (ExportFacts): Facts of the plain checkpoint.
        verified (dict): A sentence for each other file, by its name.
    """

    student: Student
    samples: List[Sample]
    plain: ExportFacts
    verified: Dict[str, str] = field(default_factory=dict)


def ship_student(
    checkpoint: str,
    out: str,
    half: bool = False,
    force: bool = False,
    trust: bool = False,
    safetensors: Optional[str] = None,
    onnx: Optional[str] = None,
    images: Sequence[str] = (),
) -> Shipped:
    """Write the plain checkpoint of a student, and it in other formats.

    What cannot be written in one of the formats is refused before any file
    is.

    Args:
        checkpoint (str): Checkpoint of the training; see
            :func:`export_student`.
        out (str): The plain checkpoint.
        half (bool): Round the weights to float16. The ONNX graph computes in
            float32 with the rounded weights.
        force (bool): Overwrite what is there.
        trust (bool): Execute pickled code in the checkpoint.
        safetensors (str, optional): File of that format.
        onnx (str, optional): File of that format.
        images (Sequence[str]): Images to verify them on; by default four of
            the test set.

    Raises:
        FileExistsError: If a file exists and ``force`` is not set.
        TypeError: If there is no ONNX graph of this student.
        ValueError: If a file cannot be written, or does not give what the
            student gives.
    """
    for path in (out, safetensors, onnx):
        if path is not None:
            refuse_to_overwrite(path, force)
    student = read_student(checkpoint, half, trust)
    if onnx is not None:
        graph_of(student.model)
    samples = find_samples(student, images)
    shipped = Shipped(
        student, samples, export_student(checkpoint, out, half, force, trust)
    )
    if safetensors is not None:
        found = write_safetensors(student, safetensors, samples, force)
        shipped.verified[safetensors] = (
            f'{_size(safetensors)}; read again and run on {found["images"]} '
            'images, it gives the same to the last bit'
        )
    if onnx is not None:
        found = write_onnx(student, onnx, samples, force)
        shipped.verified[onnx] = f'{_size(onnx)}; {in_words(found)}'
    return shipped


def _size(path: str) -> str:
    return f'{Path(path).stat().st_size:,} bytes'


def in_words(found: Differences) -> str:
    """Differences between an ONNX file and PyTorch as a sentence."""
    on = f'ONNX Runtime against PyTorch on {found["images"]} images: '
    if 'boxes' not in found:
        return on + (
            f'logits differ by at most {found["scores"]:.1e} of the largest '
            f'(allowed: {SCORE_BOUND:g})'
        )
    return on + (
        f'at all locations scores differ by at most {found["scores"]:.1e} '
        f'(allowed: {SCORE_BOUND:g}) and boxes by {found["boxes"]:.1e} pixels '
        f'(allowed: {BOX_BOUND:g}); the {found["detections"]} detections are '
        f'the same, within {found["detected_scores"]:.1e} and '
        f'{found["detected_boxes"]:.1e} pixels'
    )
