from .cls import ClsLogits, ClsRecord
from .pair import LogitPair
from .roi import RoILogits, RoIRecord

__all__ = ['ClsLogits', 'ClsRecord', 'LogitPair', 'RoILogits', 'RoIRecord']
