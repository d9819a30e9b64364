from .hooks import BestHook, ExactResumeHook, TauHook

__all__ = ['BestHook', 'ExactResumeHook', 'TauHook']
