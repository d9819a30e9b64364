"""Trainings by their work dirs: config, checkpoint, method and seed."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Collection, Dict, List, Optional, Sequence

from mmengine.config import Config

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.checkpoint.latest import NOTE, noted_checkpoint
from mmdet_rankkd.experiments.result import config_hash

#: Entries of a config in which the seeds of one method differ.
OF_A_RUN = (
    'experiment_name',
    'launcher',
    'load_from',
    'randomness',
    'resume',
    'visualizer',
    'work_dir',
)


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        method (str): Runs of one method are its seeds.
        seed (int): Seed of its config, or its number among those of the
            method.
        folder (Path): Its work dir.
        config (Path): File of its config.
        checkpoint (Path): File of its weights.
    """

    method: str
    seed: int
    folder: Path
    config: Path
    checkpoint: Path


def find_runs(places: Sequence[str], best: bool = False) -> List[Run]:
    """Find config and checkpoint in each work dir, and tell seeds of methods.

    Work dirs with the same config but for the seed are seeds of one method.
    It is called by the name of its first folder, or of the folder above where
    that is called by the seed.

    Args:
        places (Sequence[str]): Work dirs, or ``METHOD=WORK_DIR``, where those
            of one name are the seeds of one method.
        best (bool): Take ``best_*.pth`` in place of the last checkpoint.

    Raises:
        FileNotFoundError: If there is no such folder, or no config or
            checkpoint in it.
        ValueError: If a folder is named twice, or names fit to some only.
    """
    named = [_name(place) for place in places]
    if len({name is None for name, _ in named}) > 1:
        raise ValueError(
            'give METHOD=WORK_DIR for each of the work dirs, or for none'
        )
    folders = [folder.resolve() for _, folder in named]
    for number, folder in enumerate(folders):
        if folder in folders[:number]:
            raise ValueError(f'{folder} is named twice')
    runs: List[Run] = []
    methods: Dict[str, str] = {}
    seeds: Dict[str, List[int]] = {}
    for (name, _), folder in zip(named, folders):
        file = find_config(folder)
        config = load_config(str(file), what=f'config of {folder}')
        key = name or _digest(config)
        if key not in methods:
            methods[key] = name or _title(folder, methods.values())
        method = methods[key]
        known = seeds.setdefault(method, [])
        seed = (config.get('randomness') or {}).get('seed')
        if not isinstance(seed, int) or seed in known:
            seed = next(i for i in range(len(known) + 1) if i not in known)
        known.append(seed)
        checkpoint = find_checkpoint(folder, best)
        runs.append(Run(method, seed, folder, file, checkpoint))
    return runs


def _name(place: str) -> tuple[Optional[str], Path]:
    """Split ``METHOD=WORK_DIR``; a folder may have a ``=`` in its name."""
    name, equals, folder = place.partition('=')
    if equals and name and not Path(place).is_dir():
        return name, Path(folder)
    return None, Path(place)


def _title(folder: Path, known: Collection[str]) -> str:
    """A name for the method of a folder that is not taken."""
    is_seed = re.fullmatch(r'(seed)?[-_]?\d+', folder.name)
    title = folder.parent.name if is_seed else folder.name
    return str(folder) if title in known else title


def _digest(config: Config) -> str:
    """What runs of one method have in common."""
    values = {k: v for k, v in config.to_dict().items() if k not in OF_A_RUN}
    return config_hash(Config(values))


def find_config(folder: Path) -> Path:
    """The config that MMEngine wrote into a work dir; the newest of several.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no work dir {folder}')
    files = sorted(folder.glob('*.py'), key=lambda x: x.stat().st_mtime)
    if not files:
        raise FileNotFoundError(
            f'{folder} has no config (*.py): it is not the work dir of a '
            'training by MMDetection, or not all of it'
        )
    return files[-1]


def find_checkpoint(folder: Path, best: bool = False) -> Path:
    """The last checkpoint in a work dir, or the best one.

    The last is the one that MMEngine noted in ``last_checkpoint``, also where
    the folder has been moved since. Without a note, it is the file of that
    name with the highest number.

    Args:
        folder (Path): The work dir.
        best (bool): Take ``best_*.pth``, the newest of several.

    Raises:
        FileNotFoundError: If there is none.
    """
    if best:
        files = sorted(
            folder.glob('best_*.pth'), key=lambda x: x.stat().st_mtime
        )
        if not files:
            raise FileNotFoundError(
                f'{folder} has no best_*.pth, which MMEngine keeps with '
                "default_hooks.checkpoint.save_best='auto'; without --best, "
                'the last checkpoint is taken'
            )
        return files[-1]
    if (folder / NOTE).is_file():
        noted = Path(noted_checkpoint(folder))
        for file in (folder / noted.name, noted):
            if file.is_file():
                return file
    numbered = [
        (int(match[1]), file)
        for file in folder.glob('*.pth')
        if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)', file.stem))
    ]
    if not numbered:
        raise FileNotFoundError(
            f'{folder} has no checkpoint (last_checkpoint, epoch_*.pth or '
            'iter_*.pth)'
        )
    return max(numbered)[1]
