"""Arithmetic on logits with PyTorch alone, and every trick with its compiler.

Nothing here knows of losses, detectors or MMEngine.
"""

from .boxes import box_iou, centre_distance, paired_iou
from .compiler import forget_compiled
from .pairwise import check_backend
from .ranking import RankSettings, exact_tau, soft_tau
from .roi_align import roi_align
from .standardize import check_min_std, standardize, standardize_pair

__all__ = [
    'RankSettings',
    'box_iou',
    'centre_distance',
    'check_backend',
    'check_min_std',
    'exact_tau',
    'forget_compiled',
    'paired_iou',
    'roi_align',
    'soft_tau',
    'standardize',
    'standardize_pair',
]
