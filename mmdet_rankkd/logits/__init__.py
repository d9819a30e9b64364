from .cls import ClsLogits, ClsRecord
from .layers import LayerFeatures
from .pair import LogitPair
from .roi import RoILogits, RoIRecord

__all__ = [
    'ClsLogits',
    'ClsRecord',
    'LayerFeatures',
    'LogitPair',
    'RoILogits',
    'RoIRecord',
]
