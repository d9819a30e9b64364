from .base import LogitRecorder, Model, Recorder
from .boxes import BoxDistributions
from .classes import ClassMap
from .cls import ClsLogits, ClsRecord
from .crossed import CrossedHead, CrossedRecord
from .dense import DenseLogits, DenseRecord
from .features import FeatureRecord, LayerFeatures
from .listening import listening
from .masks import MaskLogits, MaskRecord
from .none import NoLogits
from .query import QueryLogits, QueryRecord
from .roi import RoILogits, RoIRecord

__all__ = [
    'BoxDistributions',
    'ClassMap',
    'ClsLogits',
    'ClsRecord',
    'CrossedHead',
    'CrossedRecord',
    'DenseLogits',
    'DenseRecord',
    'FeatureRecord',
    'LayerFeatures',
    'LogitRecorder',
    'MaskLogits',
    'MaskRecord',
    'Model',
    'NoLogits',
    'QueryLogits',
    'QueryRecord',
    'Recorder',
    'RoILogits',
    'RoIRecord',
    'listening',
]
