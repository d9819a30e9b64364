"""The exported student as safetensors and as ONNX, each verified."""

import importlib
import inspect
import io
import json
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List, Sequence, TypedDict, cast

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmdet_rankkd.checkpoint.diagnose import first_line
from mmdet_rankkd.checkpoint.load import load_weights
from mmdet_rankkd.checkpoint.read import PathLike
from mmdet_rankkd.checkpoint.student import without_stand_ins
from mmdet_rankkd.checkpoint.write import new_file
from mmdet_rankkd.version import __version__

from .graph import ClassifierGraph, DenseGraph, Graph, graph_of
from .student import Sample, Student, preprocessing

#: Of ONNX's operators; read by ONNX Runtime from version 1.14 on.
OPSET = 17
#: Largest differences from PyTorch that a file is written with: of scores
#: and logits, relative to their size where that is above 1, and of the sides
#: of boxes within the image, in pixels.
SCORE_BOUND = 1e-4
BOX_BOUND = 0.05
INSTALL = 'pip install onnx onnxruntime safetensors'


class Differences(TypedDict, total=False):
    """Largest differences between a file and the PyTorch student.

    Attributes:
        images (int): How many images were compared.
        scores (float): Difference of class scores or logits, at all locations.
        boxes (float): Difference of sides of boxes at all locations, in
            pixels of the network's input.
        detections (int): Detections of the PyTorch student, all of which the
            file found.
        detected_scores (float): Difference of the scores of those.
        detected_boxes (float): Difference of their boxes, in pixels of the
            image.
    """

    images: int
    scores: float
    boxes: float
    detections: int
    detected_scores: float
    detected_boxes: float


def need(module: str) -> Any:
    """Import a package that only exporting needs.

    Raises:
        ValueError: If it is not installed; the message says how.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f'{module.partition(".")[0]} is not installed: {INSTALL}'
        ) from error


def write_safetensors(
    student: Student,
    path: PathLike,
    samples: Sequence[Sample],
    force: bool = False,
) -> Differences:
    """Write weights, class names and config in the format of safetensors.

    The file is read again and run beside the student; both must agree to the
    last bit.

    Args:
        student (Student): Student to write.
        path (str or Path): File to write.
        samples (Sequence[Sample]): Images to verify it on.
        force (bool): Overwrite the file if it exists.

    Raises:
        FileExistsError: If it exists and ``force`` is not set.
        ValueError: If safetensors is not installed, or the file does not give
            what the student gives.
    """
    library = need('safetensors.torch')
    config = Config(cast(dict, without_stand_ins(student.config.to_dict())))
    about = dict(
        format='pt',
        classes=json.dumps(student.classes),
        config=config.pretty_text,
    )
    # Each on its own: names that share memory are refused.
    weights = {k: v.clone().contiguous() for k, v in student.weights.items()}
    content = library.save(weights, about)
    before = [_predict(student, x) for x in samples]
    again = library.load(content)
    load_weights(student.model, again, str(path))
    after = [_predict(student, x) for x in samples]
    same = all(
        torch.equal(old, new)
        for x, y in zip(before, after)
        for old, new in zip(x, y)
    )
    same = same and all(
        v.dtype == again[k].dtype and torch.equal(v, again[k])
        for k, v in student.weights.items()
    )
    if not same:
        raise ValueError(f'{path}: what was read again is not the student')
    with new_file(path, force) as file:
        file.write(content)
    return Differences(images=len(samples), scores=0.0)


@torch.no_grad()
def _predict(student: Student, sample: Sample) -> List[Tensor]:
    """Boxes, scores and labels of one image, or logits."""
    if student.is_classifier:
        return [graph_of(student.model)(_inputs(student, sample))[0]]
    (found,) = student.model.test_step(_copy(sample.data))
    found = found.pred_instances
    return [found.bboxes, found.scores, found.labels]


def _copy(data: Dict[str, Any]) -> Dict[str, Any]:
    """Data samples are written to by a test."""
    samples = [x.clone() for x in data['data_samples']]
    return dict(data, data_samples=samples)


def _inputs(student: Student, sample: Sample) -> Tensor:
    preprocessor = student.model.data_preprocessor
    return preprocessor(_copy(sample.data), False)['inputs']


def write_onnx(
    student: Student,
    path: PathLike,
    samples: Sequence[Sample],
    force: bool = False,
) -> Differences:
    """Write the student as an ONNX graph in float32.

    The file also holds, as JSON under ``mmdet_rankkd``, what
    :mod:`mmdet_rankkd.deploy.runtime` needs to prepare images and to choose
    detections. It is run by ONNX Runtime on images beside the student, and is
    written only if both agree within ``SCORE_BOUND`` and ``BOX_BOUND``.

    Args:
        student (Student): Student to write.
        path (str or Path): File to write.
        samples (Sequence[Sample]): Images to verify it on, one at least.
        force (bool): Overwrite the file if it exists.

    Raises:
        FileExistsError: If it exists and ``force`` is not set.
        TypeError: If there is no graph of this student.
        ValueError: If a package is not installed, PyTorch cannot trace the
            student, or the file does not give what the student gives.
    """
    onnx = need('onnx')
    need('onnxruntime')
    graph = graph_of(student.model).eval()
    settings = _settings(student, graph)
    model = onnx.load_from_string(trace(graph, _inputs(student, samples[0])))
    entry = model.metadata_props.add()
    entry.key, entry.value = 'mmdet_rankkd', json.dumps(settings)
    onnx.checker.check_model(model)
    with new_file(path, force) as file:
        # Verified before it has its name: a file that differs never appears.
        file.write(model.SerializeToString())
        file.flush()
        try:
            if isinstance(graph, DenseGraph):
                return verify_detector(student, graph, file.name, samples)
            return verify_classifier(student, graph, file.name, samples)
        except ValueError:
            raise
        except Exception as error:  # ONNX Runtime's have no class in common
            raise ValueError(
                'the ONNX file of this student does not run '
                f'({type(error).__name__}: {first_line(str(error))})'
            ) from error


def _settings(student: Student, graph: Graph) -> Dict[str, Any]:
    settings: Dict[str, Any] = dict(
        version=__version__, classes=student.classes
    )
    if isinstance(graph, ClassifierGraph):
        return dict(settings, task='classification')
    return dict(
        settings,
        task='detection',
        select=graph.rules(),
        **preprocessing(student),
    )


def trace(graph: Graph, images: Tensor) -> bytes:
    """The graph in ONNX, traced on preprocessed images.

    Raises:
        ValueError: If PyTorch has no operator of ONNX for something in it.
    """
    options: Dict[str, Any] = {}
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        # The other exporter needs onnxscript.
        options['dynamo'] = False
    with torch.no_grad():
        names = graph.names[: len(graph(images))]
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),  # the graph, where it fails
        TemporaryDirectory() as folder,
    ):
        file = Path(folder) / 'student.onnx'
        # Of Python's numbers in the graph; that it holds for other sizes is
        # verified on images.
        warnings.simplefilter('ignore')
        try:
            torch.onnx.export(
                graph,
                (images,),
                file,
                input_names=['images'],
                output_names=list(names),
                dynamic_axes={
                    'images': graph.input_axes,
                    **dict.fromkeys(names, graph.output_axes),
                },
                opset_version=OPSET,
                **options,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ValueError(
                'PyTorch cannot write this student as ONNX: '
                f'{first_line(str(error))}'
            ) from error
        return file.read_bytes()


def verify_classifier(
    student: Student,
    graph: ClassifierGraph,
    path: PathLike,
    samples: Sequence[Sample],
) -> Differences:
    """Compare the logits of a file with the student's, by the largest.

    Raises:
        ValueError: If they differ by more than ``SCORE_BOUND``.
    """
    session = need('onnxruntime').InferenceSession(
        str(path), providers=['CPUExecutionProvider']
    )
    # As one batch: the graph was traced on one image.
    images = torch.cat([_inputs(student, x) for x in samples])
    with torch.no_grad():
        (logits,) = graph(images)
    (found,) = session.run(['logits'], {'images': images.numpy()})
    largest = _relative(logits.numpy(), found)
    _hold('logits', largest, SCORE_BOUND)
    return Differences(images=len(samples), scores=largest)


def verify_detector(
    student: Student,
    graph: DenseGraph,
    path: PathLike,
    samples: Sequence[Sample],
) -> Differences:
    """Compare a file with the student, location by location and as a whole.

    Raises:
        ValueError: If the images that the two see differ, scores or boxes of
            any location do by more than the bounds, or the one has a
            detection that the other has not.
    """
    runtime = need('mmdet_rankkd.deploy.runtime')
    detector = runtime.Detector(str(path))
    found = Differences(
        images=len(samples),
        scores=0.0,
        boxes=0.0,
        detections=0,
        detected_scores=0.0,
        detected_boxes=0.0,
    )
    for sample in samples:
        images = _inputs(student, sample)
        pixels = cv2.imread(str(sample.file))
        prepared = runtime.prepare(pixels, detector.settings)
        if not np.array_equal(images.numpy(), prepared.images):
            raise ValueError(
                f'{sample.file} is prepared in another way than by the '
                "student's test pipeline"
            )
        with torch.no_grad():
            expected = dict(zip(graph.names, graph(images)))
        given = dict(
            zip(
                expected,
                detector.session.run([*expected], {'images': images.numpy()}),
            )
        )
        height, width = prepared.shape
        sides = runtime.sides(width, height)
        boxes = [
            np.clip(x, 0, sides)
            for x in (expected.pop('boxes').numpy(), given['boxes'])
        ]
        found['boxes'] = max(found['boxes'], _largest(*boxes))
        for name, old in expected.items():
            largest = _largest(old.numpy(), given[name])
            found['scores'] = max(found['scores'], largest)
        compare_detections(found, _predict(student, sample), detector(pixels))
    _hold('scores', found['scores'], SCORE_BOUND)
    _hold('boxes', found['boxes'], BOX_BOUND)
    return found


def compare_detections(
    found: Differences, expected: List[Tensor], given: Any
) -> None:
    """Pair the detections of both in one image.

    Raises:
        ValueError: If one has no partner within the bounds.
    """
    boxes, scores, labels = (x.numpy() for x in expected)
    free = list(range(len(given.scores)))
    for box, score, label in zip(boxes, scores, labels):
        near = [
            (
                float(np.abs(box - given.boxes[i]).max()),
                float(abs(score - given.scores[i])),
                i,
            )
            for i in free
            if label == given.labels[i]
        ]
        pair = min(near, default=(np.inf, np.inf, 0))
        if pair[0] > BOX_BOUND or pair[1] > SCORE_BOUND:
            raise ValueError(
                f'the ONNX file does not find the box {box.round(2).tolist()} '
                f'of class {label} and score {score:.4f} that PyTorch finds'
            )
        free.remove(pair[2])
        found['detections'] += 1
        found['detected_boxes'] = max(found['detected_boxes'], pair[0])
        found['detected_scores'] = max(found['detected_scores'], pair[1])
    if free:
        raise ValueError(
            f'the ONNX file finds {len(free)} boxes that PyTorch does not'
        )


def _largest(expected: np.ndarray, given: np.ndarray) -> float:
    return float(np.abs(expected - given).max())


def _relative(expected: np.ndarray, given: np.ndarray) -> float:
    return _largest(expected, given) / max(1.0, float(np.abs(expected).max()))


def _hold(what: str, value: float, bound: float) -> None:
    if not value <= bound:
        raise ValueError(
            f'{what} of the ONNX file differ from those of PyTorch by up to '
            f'{value:.3g}; {bound:g} is allowed'
        )
