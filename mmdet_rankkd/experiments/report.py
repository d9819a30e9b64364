"""A report on a table: one HTML file with everything in it."""

import base64
import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple
from urllib.parse import quote

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config

from .result import Result
from .summary import Grid, to_html

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

STYLE = """
:root { color-scheme: light dark; --text: #222; --soft: #555; --page: #fff;
        --shade: #f4f4f4 }
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --soft: #aaa; --page: #161616; --shade: #262626 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto;
       padding: 0 1em; color: var(--text); background: var(--page) }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em }
.side { display: flex; gap: 0 3em; flex-wrap: wrap }
.wide { max-width: 100%; overflow-x: auto }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .3em .7em; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal;
                                 min-width: 7em }
thead th { border-bottom: 2px solid var(--text) }
tbody tr:nth-child(even) { background: var(--shade) }
img { max-width: 100% }
@media (max-width: 45em) { img { max-width: none; width: 45em } }
details { margin: .4em 0 }
pre { background: var(--shade); padding: 1em; overflow-x: auto;
      font-size: .8em } .note { color: var(--soft) }
"""
TEACHER_COLOR = '#4a4a4a'


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        name (str): Name of its PNG file.
        title (str): Heading.
        figure (Figure): What matplotlib drew.
        caption (str): What is seen.
    """

    name: str
    title: str
    figure: Figure
    caption: str = ''


@dataclass(frozen=True)
class Panel:
    """A plot of curves of several trainings.

    Attributes:
        title (str): What it shows.
        curve (str): Name among the curves of a result.
        scale (float): What values are multiplied with.
        teacher (float, optional): The teacher's value, scaled already.
    """

    title: str
    curve: str
    scale: float = 1.0
    teacher: Optional[float] = None


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        title (str): Heading.
        text (str): What was trained on what.
        grids (list): Tables side by side.
        notes (str): Verdict, in lines.
        pictures (list): Pictures in their order.
        configs (dict): Configs by what they are called.
        links (list): Text and relative address of pages beside it.
    """

    title: str
    text: str
    grids: List[Grid]
    notes: str
    pictures: List[Picture]
    configs: Dict[str, Config] = field(default_factory=dict)
    links: List[Tuple[str, str]] = field(default_factory=list)

    def write(self, path: Path) -> Path:
        """Write the HTML file, and the pictures beside it."""
        tables = ''.join(map(wide, map(to_html, self.grids)))
        pictures = ''.join(
            f'<h2>{html.escape(p.title)}</h2>'
            f'<p class="note">{html.escape(p.caption)}</p>'
            + wide(embed(p, path.with_name(f'{p.name}.png')))
            for p in self.pictures
        )
        configs = ''.join(
            f'<details><summary>{html.escape(name)}</summary><pre>'
            f'{html.escape(config.pretty_text)}</pre></details>'
            for name, config in self.configs.items()
        )
        links = ''.join(
            f'<p><a href="{html.escape(quote(address))}">'
            f'{html.escape(text)}</a></p>'
            for text, address in self.links
        )
        notes = '<br>'.join(html.escape(self.notes).splitlines())
        path.write_text(f"""<!doctype html><html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(self.title)}</title><style>{STYLE}</style>
<h1>{html.escape(self.title)}</h1>
<p>{html.escape(self.text)}</p>
<div class="side">{tables}</div>
<p class="note">{notes}</p>
{links}
{pictures}
<h2>Configs</h2>{configs}</html>
""")
        return path


def wide(element: str) -> str:
    """An element that scrolls by itself where it is wider than the page."""
    return f'<div class="wide">{element}</div>'


def embed(picture: Picture, path: Path) -> str:
    """Save a picture to a file; also an ``img`` element with it inside."""
    picture.figure.savefig(path, dpi=110, bbox_inches='tight')
    plt.close(picture.figure)
    data = base64.b64encode(path.read_bytes()).decode()
    title = html.escape(picture.title)
    return f'<img src="data:image/png;base64,{data}" alt="{title}">'


def draw_curves(
    panels: Sequence[Panel], found: Dict[str, List[Result]]
) -> Figure:
    """Curves of rows: the mean over their seeds, and the range of these.

    Args:
        panels (Sequence[Panel]): Two in a line.
        found (dict): Results of the seeds of each row.
    """
    count = (len(panels) + 1) // 2
    figure, axes = plt.subplots(
        count, 2, figsize=(11.5, 3.7 * count), squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels):
        for index, (title, results) in enumerate(found.items()):
            curves = [
                r.curves[panel.curve]
                for r in results
                if panel.curve in r.curves
            ]
            if curves:
                draw_curve(axis, panel, curves, title, f'C{index}')
        if panel.teacher is not None:
            style = dict(ls='--', lw=1.2, color=TEACHER_COLOR)
            axis.axhline(panel.teacher, label='teacher', **style)
        axis.set_title(panel.title, fontsize=11)
        axis.set_xlim(left=0)
        axis.set_xlabel('iteration')
        axis.grid(alpha=0.25)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, ncol=2 if len(found) > 5 else 1)
        for side in ('top', 'right'):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    return figure


def draw_curve(
    axis: plt.Axes,
    panel: Panel,
    curves: Sequence[Sequence[Sequence[float]]],
    label: str,
    color: str,
) -> None:
    """The mean of curves over the iterations that all of them have."""
    points = [{x: panel.scale * y for x, y in curve} for curve in curves]
    steps = sorted(set.intersection(*(set(p) for p in points)))
    values = np.array([[p[x] for x in steps] for p in points])
    marker = 'o' if len(steps) < 12 else None
    axis.plot(
        steps,
        values.mean(0),
        color=color,
        label=label,
        lw=1.6,
        marker=marker,
        markersize=4,
    )
    if len(values) > 1:
        axis.fill_between(
            steps, values.min(0), values.max(0), color=color, alpha=0.12, lw=0
        )
