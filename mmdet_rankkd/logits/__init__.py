from .pair import LogitPair
from .roi import RoILogits, RoIRecord

__all__ = ['LogitPair', 'RoILogits', 'RoIRecord']
