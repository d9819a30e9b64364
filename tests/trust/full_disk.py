"""What does a training do on a disk that is really full?

    python tests/trust/full_disk.py

trains in one go; then once more on a file system in memory that has room for
five checkpoints, keeping all, until one has no room; then removes all but the
newest and goes on from that. Prints a line of JSON: what was said of the full
disk, what was left, and the differences at the end. The file system is
mounted in a mount namespace of its own; where that is not allowed, the reason
is printed as ``skipped``.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from mmdet_rankkd.checkpoint.read import read_checkpoint  # noqa: E402
from tests.trust.kills import (  # noqa: E402
    CONFIG,
    differences,
    end_of,
    last_checkpoint,
    partials,
    start,
)

NAMESPACE = ['unshare', '--user', '--map-root-user', '--mount']
KEEP_ALL = 'default_hooks.checkpoint.max_keep_ckpts=-1'


def may_mount() -> str:
    """Why no file system can be mounted; empty if one can."""
    with tempfile.TemporaryDirectory() as folder:
        command = ['mount', '-t', 'tmpfs', 'tmpfs', folder]
        try:
            done = subprocess.run(
                [*NAMESPACE, *command], capture_output=True, text=True
            )
        except FileNotFoundError as error:
            return str(error)
    return done.stderr.strip() if done.returncode else ''


def measure() -> dict:
    """Train on a disk that becomes full, make room, and go on.

    Returns:
        dict: ``exit`` status and ``error`` of the training that met the full
        disk; how many ``checkpoints`` were there then, all of which were
        read, and whether a ``partial`` one; ``differences`` at the end from
        the training in one go.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, log = folder / 'full_disk_config.py', folder / 'output.log'
        config.write_text(CONFIG.format(root=ROOT, steps=100))
        straight, work = folder / 'straight', folder / 'small'
        end_of(start(config, straight), log)
        size = (straight / 'iter_100.pth').stat().st_size
        work.mkdir()
        mount = ['mount', '-t', 'tmpfs', '-o', f'size={5 * size + 500_000}']
        subprocess.run([*mount, 'tmpfs', str(work)], check=True)
        log.write_text('')
        process = start(config, work, '--cfg-options', KEEP_ALL)
        status = process.wait()
        said = [x for x in log.read_text().split('\n') if 'Error' in x]
        left = sorted(work.glob('*.pth'), key=lambda x: int(x.stem[5:]))
        for file in left:
            read_checkpoint(file)
        partial = bool(partials(work))
        for file in left[:-1]:
            file.unlink()
        end_of(start(config, work, '--resume'), log)
        found = list(
            differences(last_checkpoint(straight), last_checkpoint(work))
        )
        subprocess.run(['umount', str(work)], check=True)
    return dict(
        exit=status,
        error=said[-1] if said else '',
        checkpoints=len(left),
        partial=partial,
        differences=found,
    )


def main() -> None:
    """Measure in a namespace of its own and print."""
    if sys.argv[1:] == ['--inside']:
        print(json.dumps(measure()))
        return
    reason = may_mount()
    if reason:
        print(json.dumps(dict(skipped=reason)))
        return
    script = str(Path(__file__).resolve())
    command = [*NAMESPACE, sys.executable, script, '--inside']
    sys.exit(subprocess.run(command).returncode)


if __name__ == '__main__':
    main()
