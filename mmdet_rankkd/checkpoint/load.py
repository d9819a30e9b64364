"""Loading weights into a model, completely or not at all."""

from typing import Dict, List, Sequence

from torch import Tensor, nn

StateDict = Dict[str, Tensor]

#: Prefix, in a checkpoint, of what a distiller learns of its own.
DISTILLER_PREFIX = 'distiller.'


def strip_prefix(state_dict: StateDict, prefix: str) -> StateDict:
    """Return the entries whose key begins with a prefix, without it."""
    return {
        key[len(prefix) :]: value
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }


def not_tensors(state_dict: StateDict) -> List[str]:
    """Return the keys of a state dict whose entry is not a tensor.

    A file can have anything there, whatever the type says.
    """
    return [k for k, v in state_dict.items() if not isinstance(v, Tensor)]


def first_few(keys: Sequence[str], count: int = 3) -> str:
    """Return the first keys of a list, for an error message."""
    more = f' and {len(keys) - count} more' if len(keys) > count else ''
    return ', '.join(list(keys)[:count]) + more


def load_weights(
    model: nn.Module, state_dict: StateDict, what: str
) -> List[str]:
    """Load a state dict that must hold every weight of the model.

    If it does not fit, the model keeps the weights that it has.

    Args:
        model (nn.Module): Where to.
        state_dict (dict): Weights; a leading ``module.`` is ignored.
        what (str): How to name the weights in messages.

    Returns:
        list[str]: Keys of the state dict that the model has no use for.

    Raises:
        ValueError: If keys are missing, entries are no tensors, shapes or
            kinds of numbers differ, or weights are not finite; the message
            counts them and names the first.
    """
    if state_dict and all(k.startswith('module.') for k in state_dict):
        state_dict = strip_prefix(state_dict, 'module.')
    wanted = model.state_dict()
    missing = [
        k
        for k in wanted
        if k not in state_dict and not k.endswith('num_batches_tracked')
    ]
    unused = [k for k in state_dict if k not in wanted]
    if missing:
        found = sum(k in state_dict for k in wanted)
        message = (
            f'{what} does not fit: {found} of {len(wanted)} weights found, '
            f'{len(missing)} missing (first: {first_few(missing)})'
        )
        if unused:
            message += (
                f'; it has {len(unused)} others (first: {first_few(unused)})'
            )
        message += '. Config and checkpoint must be of one model.'
        if not_tensors(state_dict):
            message += (
                ' Files of other projects are converted by `rankkd convert`.'
            )
        raise ValueError(message)
    odd = [k for k in not_tensors(state_dict) if k in wanted]
    if odd:
        raise ValueError(
            f'{what} has {len(odd)} entries that are no tensors (first: '
            f'{first_few(odd)})'
        )
    wrong = [
        f'{k}: {tuple(state_dict[k].shape)} in the file, '
        f'{tuple(wanted[k].shape)} in the model'
        for k in wanted
        if k in state_dict and state_dict[k].shape != wanted[k].shape
    ]
    if wrong:
        raise ValueError(
            f'{what} does not fit: {len(wrong)} weights have another shape '
            f'(first: {wrong[0]}). Check num_classes and the widths.'
        )
    other = [
        f'{k}: {state_dict[k].dtype} in the file, {wanted[k].dtype} in the '
        'model'
        for k in wanted
        if k in state_dict
        and state_dict[k].is_floating_point() != wanted[k].is_floating_point()
    ]
    if other:
        raise ValueError(
            f'{what} has {len(other)} weights of another kind of numbers '
            f'(first: {other[0]}). Quantised weights have to be converted '
            'before.'
        )
    broken = [
        k
        for k in wanted
        if k in state_dict
        and state_dict[k].is_floating_point()
        and not state_dict[k].isfinite().all()
    ]
    if broken:
        raise ValueError(
            f'{what} holds non-finite values in {len(broken)} weights '
            f'(first: {first_few(broken)}): its training had diverged, or '
            'the file is damaged.'
        )
    model.load_state_dict(state_dict, strict=False)
    return unused
