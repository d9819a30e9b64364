from .base import BaseDistiller, DistillDataPreprocessor
from .detector import DistillDetector
from .teacher import Teacher

__all__ = [
    'BaseDistiller',
    'DistillDataPreprocessor',
    'DistillDetector',
    'Teacher',
]
