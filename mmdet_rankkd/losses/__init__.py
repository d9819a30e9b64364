from .base import LogitLoss, Schedule, prepare_pair, reduce_rows
from .ctkd import CTKDLoss, ctkd_loss
from .dist import DISTLoss, dist_loss
from .dkd import DKDLoss, dkd_loss
from .kendall import (
    KendallRankLoss,
    kendall_rank_loss,
    kendall_tau,
    standardize,
)
from .kl_div import KLDivLoss, kl_div_loss
from .mlkd import MLKDLoss, mlkd_loss
from .nkd import NKDLoss, nkd_loss

__all__ = [
    'CTKDLoss',
    'DISTLoss',
    'DKDLoss',
    'KLDivLoss',
    'KendallRankLoss',
    'LogitLoss',
    'MLKDLoss',
    'NKDLoss',
    'Schedule',
    'ctkd_loss',
    'dist_loss',
    'dkd_loss',
    'kendall_rank_loss',
    'kendall_tau',
    'kl_div_loss',
    'mlkd_loss',
    'nkd_loss',
    'prepare_pair',
    'reduce_rows',
    'standardize',
]
