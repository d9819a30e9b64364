from .base import BaseDistiller, DistillDataPreprocessor
from .classifier import DistillClassifier
from .detector import DistillDetector
from .teacher import Teacher

__all__ = [
    'BaseDistiller',
    'DistillClassifier',
    'DistillDataPreprocessor',
    'DistillDetector',
    'Teacher',
]
