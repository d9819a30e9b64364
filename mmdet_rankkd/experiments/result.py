"""What a training leaves: one ``result.json``, the same for every task."""

import hashlib
import importlib
import json
import platform
import subprocess
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import torch
from mmengine.config import Config

import mmdet_rankkd
from mmdet_rankkd.checkpoint.write import write_whole

from .curves import Curve, all_curves, read_scalars, validations

FILE = 'result.json'
VERSIONED = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmdet_rankkd')


@dataclass(frozen=True)
class Result:
    """A finished training, or the test of a checkpoint.

    Attributes:
        name (str): Name of the cell.
        seed (int): Seed of the training.
        last (dict): Metrics of the last validation, as they were logged.
        best (dict): Those of the validation at which the task's own metric
            was highest; the first of several.
        curves (dict): Points ``[iteration, value]`` of ``'val/<metric>'`` and
            ``'train/<loss>'``, at most about 200 each.
        minutes (float): Minutes of the process that finished it.
        cpu_minutes (float): The same, of processor time.
        resumed (bool): Whether that process went on from a checkpoint.
        options (list): ``KEY=VALUE`` items of the command.
        config_hash (str): SHA-256 of the resolved config with the options,
            as JSON with sorted keys, without seed and work dir.
        versions (dict): Versions of the libraries.
        commit (str, optional): Commit of the repository that this package is
            in, with ``-dirty`` behind it if tracked files were changed.
        device (str): That it ran on.
    """

    name: str
    seed: int
    last: Dict[str, float]
    best: Dict[str, float]
    curves: Dict[str, Curve]
    minutes: float
    cpu_minutes: float
    resumed: bool
    options: List[str]
    config_hash: str
    versions: Dict[str, str]
    commit: Optional[str]
    device: str

    def write(self, folder: Path) -> None:
        """Write ``result.json``, whole or not at all."""
        text = json.dumps(asdict(self), indent=1)
        write_whole(folder / FILE, text.encode())


#: Results by name of the cell and by seed.
Results = Dict[str, Dict[int, Result]]


def read_result(file: Path) -> Result:
    """Read a ``result.json``.

    Raises:
        ValueError: If it is none of this format.
    """
    try:
        return Result(**json.loads(file.read_text()))
    except (TypeError, json.JSONDecodeError) as error:
        names = ', '.join(f.name for f in fields(Result))
        raise ValueError(
            f'{file} is not a result of this version ({error}); expected '
            f'{names}. Move it away, or choose another folder with --out'
        ) from error


def read_results(out: Path) -> Results:
    """All results below a folder, ``<cell>/seed<n>/result.json``."""
    found: Results = {}
    for file in sorted(Path(out).glob(f'*/seed*/{FILE}')):
        result = read_result(file)
        found.setdefault(result.name, {})[result.seed] = result
    return found


def training_metrics(
    folder: Path, key: str
) -> Tuple[Dict[str, float], Dict[str, float], Dict[str, Curve]]:
    """Last metrics, best metrics and curves of the logs of a training.

    Args:
        folder (Path): Its work dir.
        key (str): The metric that is highest at the best validation.

    Raises:
        ValueError: If no validation was logged.
    """
    entries = read_scalars(folder)
    found = validations(entries)
    if not found:
        raise ValueError(f'the training logged no validation in {folder}')
    last = found[-1][1]
    rated = [metrics for _, metrics in found if key in metrics]
    best = max(rated, key=lambda m: m[key]) if rated else last
    return last, best, all_curves(entries)


def config_hash(cfg: Config) -> str:
    """SHA-256 of a resolved config, as JSON with sorted keys."""
    text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> Dict[str, str]:
    """Of the libraries that decide what a training gives."""
    found = {
        name: importlib.import_module(name).__version__ for name in VERSIONED
    }
    return dict(found, python=platform.python_version())


def commit() -> Optional[str]:
    """Commit of the clone that this package is in, if it is in one."""
    root = Path(mmdet_rankkd.__file__).parent.parent
    if not (root / '.git').exists():
        return None
    command = 'git describe --always --dirty --abbrev=40 --exclude=*'
    try:
        done = subprocess.run(
            command.split(), cwd=root, capture_output=True, text=True
        )
    except OSError:  # no git here
        return None
    return done.stdout.strip() or None


def device() -> str:
    """Name of the GPU, or of the processor where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [x.split(':')[1].strip() for x in lines if 'model name' in x]
    return names[0] if names else platform.machine()
