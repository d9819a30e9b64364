"""Packaging. `mmdet_rankkd/.mim` links to configs, tools and model-index.yml,
which makes `mmdet_rankkd::` bases and `mim` work from wheels and clones alike.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
version = re.search(
    r"'(.+)'", (root / 'mmdet_rankkd/version.py').read_text()
).group(1)

setup(
    name='mmdet_rankkd',
    version=version,
    description="Knowledge distillation for MMDetection with Kendall's tau "
    'ranking loss',
    long_description=(root / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmdet_rankkd', 'mmdet_rankkd.*']),
    package_data={
        'mmdet_rankkd': [
            '.mim/*.yml',
            '.mim/**/*',
            'experiments/*.html',
        ]
    },
    # Neither mmengine, mmcv and mmdet nor their onedl-* builds are named:
    # either family may be installed, and pip must not put one over the other.
    install_requires=[
        'torch>=2.0',
        'numpy',
        'pycocotools',
        'scipy',
        'matplotlib',
        'tqdm',
        'click>=8.2',
    ],
    entry_points={
        'console_scripts': ['rankkd=mmdet_rankkd.cli.main:main'],
    },
    extras_require={
        'onedl': [
            'onedl-mmengine>=0.10.12,<0.11',
            'onedl-mmcv>=2.3.6,<2.4',
            'onedl-mmdetection>=3.5.1,<3.6',
        ],
        'openmmlab': [
            'mmengine>=0.10.7,<0.11',
            'mmcv>=2.1.0,<2.2.0',
            'mmdet>=3.3.0,<3.4',
            'numpy<2',
            'setuptools<81',
        ],
        'demo': ['scikit-learn'],
        'ray': ['ray>=2.40'],
    },
    author='mmdet_rankkd contributors',
    keywords='knowledge distillation, object detection, MMDetection, '
    "image classification, ranking, Kendall's tau",
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
