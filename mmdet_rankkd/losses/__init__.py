from .base import LogitLoss, prepare_pair, reduce_rows
from .kendall import (
    KendallRankLoss,
    kendall_rank_loss,
    kendall_tau,
    standardize,
)
from .kl_div import KLDivLoss, kl_div_loss

__all__ = [
    'KLDivLoss',
    'KendallRankLoss',
    'LogitLoss',
    'kendall_rank_loss',
    'kendall_tau',
    'kl_div_loss',
    'prepare_pair',
    'reduce_rows',
    'standardize',
]
