from .hooks import BestHook, TauHook

__all__ = ['BestHook', 'TauHook']
