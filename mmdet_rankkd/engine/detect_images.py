"""A detector run over many images, so that it can be stopped at any time."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple, Union

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from pycocotools import mask as coco_mask
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmdet_rankkd.checkpoint.build import build_model, load_config
from mmdet_rankkd.checkpoint.load import load_weights
from mmdet_rankkd.checkpoint.read import (
    checkpoint_classes,
    locate_file,
    read_checkpoint,
)
from mmdet_rankkd.compat import hide_note_on_faster_coco

from .launch import innermost_config

#: What is kept of an image: ``size`` (width, height), ``boxes`` (label,
#: score, x1, y1, x2, y2 each, highest score first) and, of detectors that
#: have them, ``masks`` in COCO's compressed form; or ``error``.
Line = Dict[str, Any]


class Detector:
    """A detector with its weights and the images as it wants them.

    Args:
        config (str): File or ``package::path``.
        checkpoint (str): File or address of its weights.
        trust (bool): Execute pickled code in the checkpoint.

    Raises:
        FileNotFoundError: If one of them is not there.
        ValueError: If the weights do not fit the config, or if neither of
            the two names the classes.
    """

    def __init__(self, config: str, checkpoint: str, trust: bool) -> None:
        cfg = load_config(config, what='teacher config')
        hide_note_on_faster_coco(cfg)
        init_default_scope(cfg.get('default_scope') or 'mmdet')
        what = f'teacher checkpoint {checkpoint!r}'
        weights = read_checkpoint(
            locate_file(checkpoint, 'teacher checkpoint'), trust
        )
        model = build_model(cfg)
        load_weights(model, weights['state_dict'], what)
        self.model: Any = model.eval().to(get_device())
        self.settings = repr(cfg.model)
        if 'test_dataloader' not in cfg:
            raise ValueError(
                f'teacher config {config!r} has no test_dataloader, whose '
                'pipeline says how it wants its images'
            )
        dataset = innermost_config(cfg.test_dataloader.dataset)
        self.pipeline: List[dict] = dataset.pipeline
        metainfo = dataset.get('metainfo') or {}
        classes = checkpoint_classes(weights) or metainfo.get('classes')
        if not classes:
            raise ValueError(
                f'neither {what} nor its config names its classes: set '
                'test_dataloader.dataset.metainfo=dict(classes=[...]) in '
                f'{config}'
            )
        self.classes: List[str] = list(classes)

    def digest(self) -> str:
        """Another one for other weights, classes, pipeline or settings.

        Settings of a test, such as the lowest score of a box, are among them.
        """
        settings = (self.classes, self.pipeline, self.settings)
        result = hashlib.sha256(repr(settings).encode())
        for name, tensor in self.model.state_dict().items():
            result.update(name.encode())
            flat = tensor.cpu().contiguous().reshape(-1)
            result.update(flat.view(torch.uint8).numpy().tobytes())
        return result.hexdigest()

    def detect(self, images: List[dict]) -> List[Line]:
        """What it sees in a batch of images of its pipeline."""
        with torch.no_grad():
            samples = self.model.test_step(pseudo_collate(images))
        return [as_line(sample) for sample in samples]


def as_line(sample: DetDataSample) -> Line:
    """What is kept of the detections of an image.

    Boxes are cut at the borders and rounded to hundredths of a pixel, scores
    to five digits; what is smaller than a pixel then is left out.
    """
    found = sample.pred_instances
    height, width = sample.ori_shape[:2]
    line: Line = dict(size=[width, height], boxes=[])
    if 'masks' in found:
        line['masks'] = []
    for index in found.scores.argsort(descending=True, stable=True).tolist():
        x1, y1, x2, y2 = found.bboxes[index].tolist()
        x1, x2 = (round(min(max(x, 0), width), 2) for x in (x1, x2))
        y1, y2 = (round(min(max(y, 0), height), 2) for y in (y1, y2))
        if x2 - x1 < 1 or y2 - y1 < 1:
            continue
        label, score = int(found.labels[index]), float(found.scores[index])
        line['boxes'].append([label, round(score, 5), x1, y1, x2, y2])
        if 'masks' in found:
            pixels = np.asarray(found.masks[index].cpu(), np.uint8, order='F')
            coded = coco_mask.encode(pixels)
            line['masks'].append(coded['counts'].decode())
    return line


class Images(Dataset):
    """Files through a test pipeline; a reason for one that cannot be read.

    Args:
        files (Sequence[Path]): The images.
        pipeline (list[dict]): What loads annotations is left out.
    """

    def __init__(self, files: Sequence[Path], pipeline: List[dict]) -> None:
        self.files = files
        steps = [x for x in pipeline if 'Annotations' not in str(x['type'])]
        self.load, self.rest = Compose(steps[:1]), Compose(steps[1:])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Union[dict, str]:
        info = dict(img_path=str(self.files[index]), img_id=index)
        try:
            image = self.load(info)
        except Exception as error:
            # Of a file that is no picture, mmcv and OpenCV say anything.
            return f'{type(error).__name__}: {error}'.split('\n')[0]
        return self.rest(image)


class Progress:
    """What was detected so far, kept in a file as it comes.

    A first line says what it is of; then there is one for each image. What a
    kill left of a line is cut off when the work goes on, and images are
    always taken in the same batches, so that the end is the same.

    Args:
        path (Path): The file; made if it is not there.
        digest (str): Digest of the detector.
        files (Sequence[Path]): The images, in order.
        batch_size (int): Images at a time.
        restart (bool): Begin anew where the file is of something else.

    Raises:
        ValueError: If it is of something else and ``restart`` is not set.
    """

    def __init__(
        self,
        path: Path,
        digest: str,
        files: Sequence[Path],
        batch_size: int,
        restart: bool,
    ) -> None:
        self.path = path
        names = b'\n'.join(map(os.fsencode, files))
        head: Line = dict(
            detector=digest,
            images=hashlib.sha256(names).hexdigest(),
            batch_size=batch_size,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        found, ends = self._read()
        if found and found[0] != head:
            differing = [k for k in head if found[0].get(k) != head[k]]
            if not restart:
                raise ValueError(
                    f'{path} was begun with another {", ".join(differing)}. '
                    'Give the same settings to go on, another name of the '
                    'result, or --force to begin anew'
                )
            found = []
        if not found:
            path.write_text(json.dumps(head) + '\n')
            self.done = 0
            return
        self.done = len(found) - 1
        if self.done < len(files):
            self.done -= self.done % batch_size
        with path.open('r+b') as file:
            file.truncate(ends[self.done])

    def _read(self) -> Tuple[List[Line], List[int]]:
        """The whole lines of the file, and where each ends."""
        found: List[Line] = []
        ends: List[int] = []
        if not self.path.exists():
            return found, ends
        end = 0
        for text in self.path.read_bytes().splitlines(keepends=True):
            try:
                line = json.loads(text) if text.endswith(b'\n') else None
            except ValueError:
                line = None
            if not isinstance(line, dict):
                break
            end += len(text)
            found.append(line)
            ends.append(end)
        return found, ends

    def add(self, lines: Sequence[Line]) -> None:
        """Add the images of a batch."""
        with self.path.open('a') as file:
            file.write(''.join(json.dumps(x) + '\n' for x in lines))
        self.done += len(lines)

    def lines(self, begin: int, end: int) -> Iterator[Line]:
        """Those of some of the images."""
        with self.path.open() as file:
            next(file)
            for index, text in enumerate(file):
                if begin <= index < end:
                    yield json.loads(text)


def detect_images(
    detector: Detector,
    files: Sequence[Path],
    progress: Progress,
    batch_size: int,
    workers: int,
) -> None:
    """Detect in the images that are not done yet.

    Args:
        detector (Detector): The detector.
        files (Sequence[Path]): All images.
        progress (Progress): What is done; what is found is added.
        batch_size (int): Images at a time.
        workers (int): Processes that load images.
    """
    loader = DataLoader(
        Images(files[progress.done :], detector.pipeline),
        batch_size,
        num_workers=workers,
        collate_fn=list,
    )
    with tqdm(
        total=len(files), initial=progress.done, unit='image', ncols=79
    ) as bar:
        for batch in loader:
            images = [x for x in batch if isinstance(x, dict)]
            found = iter(detector.detect(images) if images else [])
            progress.add(
                [
                    next(found) if isinstance(x, dict) else dict(error=x)
                    for x in batch
                ]
            )
            bar.update(len(batch))
