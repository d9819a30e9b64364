from .classes import ClassMap
from .cls import ClsLogits, ClsRecord
from .dense import DenseLogits, DenseRecord
from .layers import LayerFeatures
from .pair import LogitPair
from .query import QueryLogits, QueryRecord
from .roi import RoILogits, RoIRecord

__all__ = [
    'ClassMap',
    'ClsLogits',
    'ClsRecord',
    'DenseLogits',
    'DenseRecord',
    'LayerFeatures',
    'LogitPair',
    'QueryLogits',
    'QueryRecord',
    'RoILogits',
    'RoIRecord',
]
