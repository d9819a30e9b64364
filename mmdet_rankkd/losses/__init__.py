from mmdet_rankkd.ops import RankSettings, standardize

from .at import ATLoss, at_loss
from .base import (
    DistillLoss,
    LogitLoss,
    Schedule,
    prepare_pair,
    reduce_rows,
)
from .crd import CRDLoss, crd_side
from .ctkd import CTKDLoss, ctkd_loss
from .dist import DISTLoss, dist_loss
from .dkd import DKDLoss, dkd_loss
from .feature import FeatureLoss
from .fgfi import FGFILoss, fgfi_loss
from .fitnet import FitNetLoss, fitnet_loss
from .kendall import (
    KendallRankLoss,
    kendall_rank_loss,
    kendall_tau,
)
from .kl_div import (
    BinaryKLDivLoss,
    KLDivLoss,
    binary_kl_div_loss,
    kl_div_loss,
)
from .mlkd import MLKDLoss, mlkd_loss
from .nkd import NKDLoss, nkd_loss
from .ofd import OFDLoss, ofd_loss
from .review_kd import ReviewKDLoss, hcl_loss

__all__ = [
    'ATLoss',
    'BinaryKLDivLoss',
    'CRDLoss',
    'CTKDLoss',
    'DISTLoss',
    'DKDLoss',
    'DistillLoss',
    'FGFILoss',
    'FeatureLoss',
    'FitNetLoss',
    'KLDivLoss',
    'KendallRankLoss',
    'LogitLoss',
    'MLKDLoss',
    'NKDLoss',
    'OFDLoss',
    'RankSettings',
    'ReviewKDLoss',
    'Schedule',
    'at_loss',
    'binary_kl_div_loss',
    'crd_side',
    'ctkd_loss',
    'dist_loss',
    'dkd_loss',
    'fgfi_loss',
    'fitnet_loss',
    'hcl_loss',
    'kendall_rank_loss',
    'kendall_tau',
    'kl_div_loss',
    'mlkd_loss',
    'nkd_loss',
    'ofd_loss',
    'prepare_pair',
    'reduce_rows',
    'standardize',
]
