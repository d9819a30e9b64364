from .box_pair import BoxPair
from .cls_data_sample import ClsDataSample
from .crossing import Crossing, HeadMaps, Predictions
from .distill_batch import DistillBatch, Probe
from .features import FeaturePair, Features
from .logit_pair import (
    LogitPair,
    NoGroundTruth,
    confidence,
    mean_over_processes,
)
from .teacher_scale import TEACHER_SCALE, Scales, teacher_scales

__all__ = [
    'TEACHER_SCALE',
    'BoxPair',
    'ClsDataSample',
    'Crossing',
    'DistillBatch',
    'FeaturePair',
    'Features',
    'HeadMaps',
    'LogitPair',
    'NoGroundTruth',
    'Predictions',
    'Probe',
    'Scales',
    'confidence',
    'mean_over_processes',
    'teacher_scales',
]
