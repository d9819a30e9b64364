"""The demo's report: one HTML file with everything in it."""

import base64
import html
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import cv2
import matplotlib
import numpy as np
import torch
from mmcv.ops import nms
from mmengine.config import Config

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

COLORS = (
    '#4a4a4a',
    '#2f6fb4',
    '#c8553d',
    '#3a8f5c',
    '#8a5fb0',
    '#c79a2b',
    '#3d9db3',
    '#b3557f',
    '#7a8a3a',
)
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62em;
       margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .3em .9em; text-align: right; }
th:first-child, td:first-child { text-align: left }
thead th { border-bottom: 2px solid #222 }
tbody tr:nth-child(even) { background: #f4f4f4 }
img { max-width: 100% } .side { display: flex; gap: 3em; flex-wrap: wrap }
details { margin: .4em 0 } pre { background: #f4f4f4; padding: 1em;
  overflow-x: auto; font-size: .8em } .note { color: #555 }
"""


def to_image(figure: Any, path: Path) -> str:
    """Save a figure to a file; also an ``img`` element with it inside."""
    figure.savefig(path, dpi=110, bbox_inches='tight')
    plt.close(figure)
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="">'


def to_table(rows: List[List[str]]) -> str:
    """An HTML table; the first row is the header."""

    def cells(row: List[str], tag: str) -> str:
        return (
            '<tr>'
            + ''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in row)
            + '</tr>'
        )

    return (
        '<table><thead>'
        + cells(rows[0], 'th')
        + '</thead><tbody>'
        + ''.join(cells(r, 'td') for r in rows[1:])
        + '</tbody></table>'
    )


def color_of(run: Any, runs: Sequence[Any]) -> str:
    """One colour per method."""
    labels = list(dict.fromkeys(r.label for r in runs))
    return COLORS[labels.index(run.label) % len(COLORS)]


def draw_curves(runs: Sequence[Any]) -> Any:
    """AP, classification loss, tau in validation and tau in training."""
    panels = (
        ('ap', 'AP on the validation images'),
        ('tau', 'tau to the teacher, validation'),
        ('loss_cls', 'loss_cls, training'),
        ('train_tau', 'tau to the teacher, training'),
    )
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.6))
    teacher = runs[0]
    for axis, (name, title) in zip(axes.flat, panels):
        named = set()
        for run in runs[1:]:
            curve = run.result['curves'][name]
            if not curve:
                continue
            label = None if run.label in named else run.label
            named.add(run.label)
            axis.plot(
                *zip(*curve),
                color=color_of(run, runs),
                label=label,
                lw=1.6,
                marker='o' if len(curve) < 12 else None,
                markersize=4,
            )
        if name == 'ap':
            axis.axhline(
                teacher.result['bbox_mAP'],
                ls='--',
                lw=1.2,
                color=color_of(teacher, runs),
                label='teacher',
            )
            axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize=11)
        axis.set_xlim(left=0)
        axis.set_xlabel('iteration')
        axis.grid(alpha=0.25)
        if named:
            axis.legend(fontsize=9)
        for side in ('top', 'right'):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    return figure


def load_detector(run: Any) -> Any:
    """The detector of a run, from its newest checkpoint."""
    from mmdet_rankkd.checkpoint.build import build_model
    from mmdet_rankkd.checkpoint.export import student_config, student_weights
    from mmdet_rankkd.checkpoint.load import load_weights
    from mmdet_rankkd.checkpoint.read import read_checkpoint

    path = run.checkpoint
    if path is None:
        path = Path((run.work_dir / 'last_checkpoint').read_text().strip())
    config = student_config(Config.fromfile(run.config))
    model = build_model(config)
    weights, _ = student_weights(read_checkpoint(str(path))['state_dict'])
    load_weights(model, weights, str(path))
    return model.eval()


@torch.no_grad()
def detect(model: Any, image: np.ndarray) -> Any:
    """Detections of one BGR image of the network's own size."""
    from mmdet.structures import DetDataSample

    sample = DetDataSample(
        metainfo=dict(
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            scale_factor=(1.0, 1.0),
        )
    )
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
    data = dict(inputs=[pixels], data_samples=[sample])
    return model.test_step(data)[0].pred_instances


def draw_boxes(
    axis: Any,
    image: np.ndarray,
    boxes: Any,
    labels: Any,
    truth: Optional[Sequence[str]] = None,
) -> None:
    """An image with boxes; wrong classes are dashed."""
    axis.imshow(image[:, :, ::-1], interpolation='nearest')
    for box, label in zip(boxes, labels):
        x1, y1, x2, y2 = (float(v) for v in box)
        right = truth is None or label.rsplit(' ', 1)[0] in truth
        axis.add_patch(
            plt.Rectangle(
                (x1, y1),
                x2 - x1,
                y2 - y1,
                fill=False,
                lw=1.3,
                ec='white' if right else '#ffb000',
                ls='-' if right else '--',
            )
        )
        axis.text(
            x1,
            y1 - 1.5,
            label,
            fontsize=6.5,
            color='white',
            bbox=dict(facecolor='black', alpha=0.6, pad=0.8, lw=0),
        )
    axis.set_xticks([])
    axis.set_yticks([])


def draw_detections(
    runs: Sequence[Any], threshold: float, count: int = 4
) -> Any:
    """The same validation images by every model, the truth at the left."""
    import json

    from mmdet_rankkd.datasets.digits import CLASSES

    root = Path('data/digits')
    annotations = json.loads((root / 'val.json').read_text())
    columns: Dict[str, Any] = {'ground truth': None}
    for run in runs:
        columns.setdefault(run.label, load_detector(run))
    figure, axes = plt.subplots(
        count,
        len(columns),
        figsize=(2.6 * len(columns), 2.6 * count),
        squeeze=False,
    )
    images = annotations['images'][:count]
    for row, info in zip(axes, images):
        image = cv2.imread(str(root / 'val' / info['file_name']))
        objects = [
            a
            for a in annotations['annotations']
            if a['image_id'] == info['id']
        ]
        names = [CLASSES[a['category_id'] - 1] for a in objects]
        for axis, (label, model) in zip(row, columns.items()):
            if model is None:
                boxes: Any = [
                    (x, y, x + w, y + h)
                    for x, y, w, h in (a['bbox'] for a in objects)
                ]
                draw_boxes(axis, image, boxes, names)
            else:
                found = detect(model, image)
                found = found[found.scores > threshold]
                # Dense heads give several classes at one place.
                _, keep = nms(found.bboxes, found.scores, iou_threshold=0.5)
                texts = [
                    f'{CLASSES[i]} {s:.2f}'.replace('0.', '.')
                    for i, s in zip(
                        found.labels[keep].tolist(),
                        found.scores[keep].tolist(),
                    )
                ]
                draw_boxes(
                    axis, image, found.bboxes[keep].tolist(), texts, names
                )
            if axis in axes[0]:
                axis.set_title(label, fontsize=10)
    figure.tight_layout()
    return figure


def write_report(
    runs: List[Any], rows: List[List[str]], path: Path, detector: str
) -> Path:
    """Write the report of finished runs, whose first is the teacher."""
    from .demo import DETECTORS, paper_rows, verdict

    two_stage = detector == 'faster-rcnn'
    # Scores of dense heads are lower.
    threshold = 0.3 if two_stage else 0.15
    beside = f'<div>{to_table(paper_rows())}</div>' if two_stage else ''
    places = (
        'on the ground-truth boxes of the validation images'
        if two_stage
        else 'at the ten locations of each validation image where the teacher '
        'is surest'
    )

    configs = ''.join(
        f'<details><summary>{html.escape(run.work_dir.name)}: '
        f'{html.escape(run.config.name)}</summary><pre>'
        f'{html.escape(Config.fromfile(run.config).pretty_text)}'
        '</pre></details>'
        for run in runs
    )
    notes = '<br>'.join(html.escape(verdict(runs)).splitlines())
    curves = to_image(draw_curves(runs), path.with_name('curves.png'))
    detections = to_image(
        draw_detections(runs, threshold), path.with_name('detections.png')
    )
    path.write_text(f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>mmdet_rankkd demo</title><style>{STYLE}</style>
<h1>Distilling a ResNet-50 {DETECTORS[detector]} into a MobileNetV2 one</h1>
<p>80 classes of handwritten digits (10 digits in 8 colours), trained from
scratch through MMEngine's Runner, evaluated by COCOeval. The teacher is
ResNet-50 in depth and a quarter of it in width, the student MobileNetV2 at
half width; all students have the same seed, data order and budget. tau is
Kendall's coefficient between the class logits of student and teacher
{places}.</p>
<div class="side"><div>{to_table(rows)}</div>
{beside}</div>
<p class="note">{notes}</p>
<h2>Curves</h2>{curves}
<h2>Detections on the same images</h2>
<p class="note">Scores above {threshold}; of overlapping boxes the surest.
Dashed: a class that is not in the image.</p>{detections}
<h2>Configs</h2>{configs}</html>
""")
    return path
