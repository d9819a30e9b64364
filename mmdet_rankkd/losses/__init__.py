from mmdet_rankkd.ops import RankSettings, standardize

from .base import DistillLoss, Schedule
from .dense.cross_kd import (
    CrossKDLoss,
    cross_kd_box_loss,
    cross_kd_class_loss,
)
from .dense.ld import LDLoss, ld_loss
from .feature.at import ATLoss, at_loss
from .feature.base import FeatureLoss
from .feature.crd import CRDLoss, crd_side
from .feature.cwd import CWDLoss, cwd_loss
from .feature.fgd import FGDLoss, fgd_focal_loss, fgd_global_loss
from .feature.fgfi import FGFILoss, fgfi_loss
from .feature.fitnet import FitNetLoss, fitnet_loss
from .feature.mgd import MGDLoss, mgd_loss
from .feature.ofd import OFDLoss, ofd_loss
from .feature.pkd import PKDLoss, pkd_loss
from .feature.review_kd import ReviewKDLoss, hcl_loss
from .logit.base import LogitLoss, prepare_pair, reduce_rows
from .logit.ctkd import CTKDLoss, ctkd_loss
from .logit.dist import DISTLoss, dist_loss
from .logit.dkd import DKDLoss, dkd_loss
from .logit.kendall import (
    KendallRankLoss,
    kendall_rank_loss,
    kendall_tau,
)
from .logit.kl_div import (
    BinaryKLDivLoss,
    KLDivLoss,
    binary_kl_div_loss,
    kl_div_loss,
)
from .logit.mask_kd import MaskKDLoss, mask_kd_loss
from .logit.mlkd import MLKDLoss, mlkd_loss
from .logit.nkd import NKDLoss, nkd_loss

__all__ = [
    'ATLoss',
    'BinaryKLDivLoss',
    'CRDLoss',
    'CTKDLoss',
    'CWDLoss',
    'CrossKDLoss',
    'DISTLoss',
    'DKDLoss',
    'DistillLoss',
    'FGDLoss',
    'FGFILoss',
    'FeatureLoss',
    'FitNetLoss',
    'KLDivLoss',
    'KendallRankLoss',
    'LDLoss',
    'LogitLoss',
    'MGDLoss',
    'MLKDLoss',
    'MaskKDLoss',
    'NKDLoss',
    'OFDLoss',
    'PKDLoss',
    'RankSettings',
    'ReviewKDLoss',
    'Schedule',
    'at_loss',
    'binary_kl_div_loss',
    'crd_side',
    'cross_kd_box_loss',
    'cross_kd_class_loss',
    'ctkd_loss',
    'cwd_loss',
    'dist_loss',
    'dkd_loss',
    'fgd_focal_loss',
    'fgd_global_loss',
    'fgfi_loss',
    'fitnet_loss',
    'hcl_loss',
    'kendall_rank_loss',
    'kendall_tau',
    'kl_div_loss',
    'ld_loss',
    'mask_kd_loss',
    'mgd_loss',
    'mlkd_loss',
    'nkd_loss',
    'ofd_loss',
    'pkd_loss',
    'prepare_pair',
    'reduce_rows',
    'standardize',
]
