from .base import BaseDistiller
from .classifier import DistillClassifier
from .detector import DistillDetector
from .preprocessor import DistillDataPreprocessor
from .teacher import Teacher

__all__ = [
    'BaseDistiller',
    'DistillClassifier',
    'DistillDataPreprocessor',
    'DistillDetector',
    'Teacher',
]
