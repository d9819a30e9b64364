from .cls_data_sample import ClsDataSample
from .features import Features

__all__ = ['ClsDataSample', 'Features']
