# %% [markdown]
# # Distil a detector
#
# Handwritten digits in 80 classes; a Faster R-CNN with ResNet-50 teaches one
# with MobileNetV2. About five minutes on two CPU cores, after the set-up.
#
# This notebook is made from `docs/notebooks/distil.py` by
# `docs/extensions/notebook.py`. A test executes it with fewer images; in
# Colab it was not run.

# %% [markdown]
# ## Set-up
#
# In Colab, upload a wheel of the project (`pip wheel --no-deps -w dist .` in a
# clone) and name it here. mmcv is compiled, which takes ten minutes on two
# cores. Where `mmdet_rankkd` is installed, this does nothing.

# %%
import importlib.util
import os
import subprocess
import sys

WHEEL = 'mmdet_rankkd-0.1.0-py3-none-any.whl'


def pip(*words):
    command = [sys.executable, '-m', 'pip', 'install', *words]
    env = dict(os.environ, MMCV_WITH_OPS='1', CFLAGS='-g0')
    subprocess.run(command, check=True, env=env)


if importlib.util.find_spec('mmdet_rankkd') is None:
    pip('setuptools<81', 'wheel', 'ninja')
    pip('--no-build-isolation', f'{WHEEL}[onedl,demo,export]')

# %% [markdown]
# ## How much of it

# %%
IMAGES = dict(train=2000, val=300)
EPOCHS = 3

# %% [markdown]
# ## The data
#
# A set in COCO's format. Yours goes in its place: see "Your own data" in the
# documentation.

# %%
from mmdet_rankkd.datasets.digits import make_digits

make_digits('data/digits', IMAGES)

# %% [markdown]
# ## The config
#
# `rankkd distill` chooses what is compared and by which losses, and says why.
# The teacher is trained already. In a notebook, the command is called like
# this; in a shell it is `rankkd distill ...`.

# %%


def rankkd(*words):
    """Run the command, and show its last lines."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'mmdet_rankkd', *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print('\n'.join(done.stdout.splitlines()[-25:]))
    assert done.returncode == 0, words


DIGITS = 'mmdet_rankkd::digits'
STUDENT = f'{DIGITS}/faster-rcnn_mobilenet-v2-half_fpn_digits.py'
TEACHER = f'{DIGITS}/faster-rcnn_r50-quarter_fpn_digits'
rankkd(
    *('distill', STUDENT, f'{TEACHER}.py', f'{TEACHER}.pth'),
    *('--method', 'kd+rank', '--out', 'my_distill.py', '--no-doctor'),
    '--force',
)

# %% [markdown]
# ## The student alone, and distilled

# %%
for config, folder in ((STUDENT, 'alone'), ('my_distill.py', 'distilled')):
    rankkd(
        *('train', config, '--work-dir', folder),
        *('--cfg-options', f'train_cfg.max_epochs={EPOCHS}'),
        *('randomness.seed=0', 'log_level=WARNING'),
    )

# %% [markdown]
# AP after each epoch. One seed of a small set is an example and no evidence.

# %%
from pathlib import Path

from mmdet_rankkd.experiments.curves import read_scalars, validations

for folder in ('alone', 'distilled'):
    found = [metrics for _, metrics in validations(read_scalars(Path(folder)))]
    # MMDetection logs no AP where nothing at all was found.
    each = [100 * metrics.get('coco/bbox_mAP', 0) for metrics in found]
    print(f'{folder:>10}', *(f'{ap:6.1f}' for ap in each))

# %% [markdown]
# ## What they find

# %%
from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.experiments.detections import draw_detections
from mmdet_rankkd.experiments.models import load_model

student = load_config(STUDENT)
models = {
    'teacher': load_model(load_config(f'{TEACHER}.py'), f'{TEACHER}.pth'),
    'alone': load_model(student, f'alone/epoch_{EPOCHS}.pth'),
    'distilled': load_model(student, f'distilled/epoch_{EPOCHS}.pth'),
}
figure = draw_detections(models, Path('data/digits'), threshold=0.3, count=2)

# %% [markdown]
# ## The student to ship, with its card

# %%
rankkd(
    *('export', f'distilled/epoch_{EPOCHS}.pth', 'student.pth', '--force'),
    *('--card', 'student.md'),
    *('--teacher', f'{TEACHER}.py', f'{TEACHER}.pth'),
)
print(Path('student.md').read_text())
