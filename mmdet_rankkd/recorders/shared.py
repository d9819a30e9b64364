"""What several logit hooks do alike."""

from typing import Any, Optional, Tuple

from torch import Tensor

from .classes import ClassMap


def check_ran(found: Any, head: Any) -> None:
    """Raise RuntimeError if nothing was recorded of the student's head."""
    if found is None or len(found) == 0:
        raise RuntimeError(
            f"the student's {type(head).__name__} did not run in a training "
            'pass, so there are no logits to distil'
        )


def ranking_warning(columns: Optional[int]) -> Optional[str]:
    """A sentence to say before training where tau has little to rank.

    Args:
        columns (int, optional): How many columns of the logits are compared;
            None where that is not known.

    Returns:
        str, optional: The sentence, or None where there is nothing to say.
    """
    if columns is None or columns > 2:
        return None
    if columns < 2:
        return (
            'student and teacher are compared in one column, which has no '
            'order: kendall_tau is not logged'
        )
    return (
        'student and teacher are compared in two columns, one pair to order: '
        'kendall_tau tells little more than which of the two is higher'
    )


def features_of(model: Any, data: dict) -> Any:
    """Features of a batch of raw images, on the model's own preprocessing."""
    images = model.data_preprocessor(dict(inputs=data['inputs']))['inputs']
    return model.extract_feat(images)


def shared_columns(
    class_map: Optional[ClassMap],
    student: Tensor,
    teacher: Tensor,
    background: bool,
) -> Tuple[Tensor, Tensor]:
    """Columns of the shared classes; all of them without a ``class_map``."""
    if class_map is None:
        return student, teacher
    return class_map.columns(student, teacher, background)


def choose_rows(
    class_map: Optional[ClassMap],
    labels: Tensor,
    classes: int,
    positives: bool,
) -> Tuple[Tensor, Optional[Tensor], int]:
    """Which rows are compared, by the class of each.

    Rows of classes that are not shared are left out, and background where
    only positives count.

    Args:
        class_map (ClassMap, optional): The shared classes.
        labels (Tensor): The student's class of each row, shape (N,), long;
            background is the last.
        classes (int): How many classes the student has.
        positives (bool): Whether only rows of an object count.

    Returns:
        tuple: The labels as compared columns, shape (N,); which rows count,
        boolean, shape (N,), or None for all; and how many classes are
        compared, which is the label of background.
    """
    keep = None
    if class_map is not None:
        labels, classes = class_map.relabel(labels), class_map.count
        keep = labels >= 0
    if positives:
        keep = (labels >= 0) & (labels < classes)
    return labels, keep, classes
