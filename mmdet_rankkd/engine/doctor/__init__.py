"""What is wrong with a distillation, said before its first step."""

from .examine import examine
from .finding import Finding, has_problem, to_json, to_text

__all__ = ['Finding', 'examine', 'has_problem', 'to_json', 'to_text']
