"""What a file is that cannot be read as a checkpoint, and what to do."""

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Optional

HEAD = 4096
AGAIN = 'Download or copy it again.'
#: How files of ``torch.save`` begin: a zip archive, and the number that old
#: versions of torch write first.
ZIP = b'PK\x03\x04'
LEGACY = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
#: How other files begin.
MAGIC = (
    (b'\x1f\x8b', 'a gzip archive', 'Unpack it.'),
    (b'BZh', 'a bzip2 archive', 'Unpack it.'),
    (b'\xfd7zXZ\x00', 'an xz archive', 'Unpack it.'),
    (b"7z\xbc\xaf'\x1c", 'a 7z archive', 'Unpack it.'),
    (b'Rar!', 'a rar archive', 'Unpack it.'),
    (b'\x89HDF', 'an HDF5 file', 'torch does not read it.'),
    (b'\x93NUMPY', 'a NumPy array', 'torch does not read it.'),
    (b'\xff\xd8\xff', 'a JPEG image', AGAIN),
    (b'\x89PNG', 'a PNG image', AGAIN),
    (b'%PDF', 'a PDF document', AGAIN),
)

#: What asks for pickled code, and what it usually is.
USUAL = (
    (r'argparse\.', 'the command line of the script that trained it'),
    (r'collections\.', 'a plain container among the entries'),
    (r'numpy\.', 'a NumPy object among the entries'),
    (r'pathlib\.', 'a path among the entries'),
    (r'datetime\.|time\.', 'a time among the entries'),
    (
        r'(mmengine|mmcv)\.|omegaconf\.|yacs\.|easydict\.|addict\.',
        'the settings of the project that trained it',
    ),
    (
        r'torch\.(nn|fx|optim|cuda)|torchvision\.|timm\.|models?\.|ultralytics',
        'a whole object in place of its weights, as torch.save(model) '
        'writes it',
    ),
)
COMMANDS = re.compile(
    r'(os|posix|nt|sys|subprocess|shutil|socket|runpy|importlib|ctypes|pty'
    r'|webbrowser|commands|pickle|marshal|code)\.'
    r'|(eval|exec|compile|open|input|getattr|setattr|breakpoint|__import__'
    r'|apply|execfile)$'
)


def problem_of(path: Path) -> Optional[str]:
    """Say why a file cannot be one of ``torch.save``, judged by its bytes.

    Args:
        path (Path): A file that exists.

    Returns:
        str, optional: What the file is and what to do, to be read after its
        name; None if it begins, and if it is a zip archive also ends, as
        ``torch.save`` writes a file.
    """
    with path.open('rb') as file:
        head = file.read(HEAD)
    if not head:
        return (
            'is empty (0 bytes): its download, copy or training stopped '
            f'before anything was written. {AGAIN}'
        )
    if head.startswith(ZIP):
        return _problem_of_zip(path)
    if LEGACY in head[:32]:
        return None if _has_all_pickles(path) else _cut_off(path)
    if head.startswith(b'version https://git-lfs'):
        return (
            'is a git-lfs pointer, which stands for a file that was not '
            'fetched. Run "git lfs pull" in its repository.'
        )
    for magic, name, advice in MAGIC:
        if head.startswith(magic):
            return f'is {name}, not a checkpoint. {advice}'
    if head[257:262] == b'ustar':
        return 'is a tar archive, not a checkpoint. Unpack it.'
    if head[8:9] == b'{' and head[:8].endswith(b'\0\0\0'):
        return (
            'is a safetensors file. Read it with safetensors.torch.load_file '
            'and write the weights with torch.save.'
        )
    if re.match(rb'\x80[\x02-\x05]', head):
        return (
            'is a pickle that torch.save did not write (Detectron2 has such '
            'files). Load it where it comes from and write its weights with '
            'torch.save.'
        )
    text = _text(head)
    if text is None:
        return (
            f'does not begin as torch.save writes a file (its first bytes: '
            f'{head[:8].hex(" ")}). {AGAIN}'
        )
    return _problem_of_text(text)


def _problem_of_zip(path: Path) -> Optional[str]:
    if not zipfile.is_zipfile(path):
        return _cut_off(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    entries = {name.partition('/')[2] for name in names}
    if 'constants.pkl' in entries:
        return (
            'is a TorchScript program. Load it with torch.jit.load and write '
            'its state_dict() with torch.save.'
        )
    if 'data.pkl' not in entries:
        first = f' (first: {names[0]})' if names else ''
        return (
            f'is a zip archive of other files{first}, not a checkpoint. '
            'Unpack it.'
        )
    return None


def _has_all_pickles(path: Path) -> bool:
    """Tell whether the four pickles that begin an old file are complete."""
    with path.open('rb') as file:
        try:
            for _ in range(4):
                for _ in pickletools.genops(file):
                    pass
        except ValueError:
            return False
    return True


def _cut_off(path: Path) -> str:
    return (
        f'is cut off: its end is missing, {path.stat().st_size:,} bytes are '
        'there. Its download, copy or training stopped while it was written. '
        f'{AGAIN}'
    )


def _text(head: bytes) -> Optional[str]:
    """Decode bytes, or return None if they are not text."""
    # A character may be cut at the end of what was read.
    text = head.decode('utf-8', errors='replace')
    inner = text[:-1] if len(head) == HEAD else text
    if '\ufffd' in inner or re.search(r'[\x00-\x08\x0e-\x1a]', text):
        return None
    return text


def _problem_of_text(text: str) -> str:
    start = text.lstrip('\ufeff \t\r\n')
    if re.match(r'<(!doctype html|html|head|body|script|!--)', start, re.I):
        title = re.search(r'<title[^>]*>\s*(.*?)\s*</title', text, re.I | re.S)
        named = f' (its title: {title[1][:60]!r})' if title else ''
        return (
            f'is an HTML page{named}, not a checkpoint: the address that it '
            'was downloaded from answers with a page. Download it again from '
            'the address of the file itself, signed in if that is needed.'
        )
    kind = 'plain text'
    if start.startswith('<'):
        kind = 'XML text'
    elif start.startswith(('{', '[')):
        kind = 'JSON text'
    line = start.splitlines()[0][:60] if start.splitlines() else ''
    return (
        f'is {kind}, not a checkpoint; it begins with {line!r}. Download it '
        'again from the address of the file itself.'
    )


def refusal_of(reason: str) -> str:
    """Say what ``torch.load`` refused without pickled code.

    Args:
        reason (str): Text of the error that it raised.

    Returns:
        str: The global that the file asks for, what it usually is, and what
        to do; to be read after the name of the file.
    """
    found = re.search(r'GLOBAL (\S+)', reason)
    if found is None:
        last = reason.partition('WeightsUnpickler error: ')[2] or reason
        return (
            'is damaged, or asks for more than weights and plain values: '
            f'{first_line(last)} {AGAIN}'
        )
    name = found[1]
    if COMMANDS.match(name):
        return (
            f'asks for {name}, with which a file can run commands. No '
            'checkpoint needs that. Do not trust it; take the file from '
            'another place.'
        )
    usual = next((u for p, u in USUAL if re.match(p, name)), None)
    what = f' (usually {usual})' if usual else ''
    return (
        f'cannot be read without executing pickled code: it asks for '
        f'{name}{what}. If you trust its origin, allow it: '
        "teacher=dict(..., trust_checkpoint=True), or the tools' --trust."
    )


def first_line(text: str) -> str:
    """Return the first line of a text, as a sentence."""
    line = text.strip().split('\n')[0].strip()
    return line if line.endswith('.') else line + '.'
