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

__all__ = [
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
    'confidence',
    'mean_over_processes',
]
