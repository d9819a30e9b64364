from .best_hook import BestHook
from .exact_resume_hook import ExactResumeHook
from .tau_hook import TauHook

__all__ = ['BestHook', 'ExactResumeHook', 'TauHook']
