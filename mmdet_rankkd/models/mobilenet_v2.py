"""MMDetection's MobileNetV2 without the layers that nothing uses."""

from typing import Any, Callable, List

from mmdet.models.backbones import MobileNetV2 as WholeMobileNetV2
from torch import nn

from mmdet_rankkd.registry import MODELS


@MODELS.register_module()
class MobileNetV2(WholeMobileNetV2):
    """MobileNetV2 that ends with the last of its ``out_indices``.

    MMDetection's runs its 1,280-channel convolution, ``conv2``, whether or
    not its output is asked for; its parameters then get no gradient, which
    DistributedDataParallel refuses unless ``find_unused_parameters`` is set.
    Here that layer, and any other behind the last output, is not there. All
    else is MMDetection's: outputs, keys of the checkpoint, pretrained weights
    and, for the same seed, the initial weights of the whole detector.

    Checkpoints go both ways: where this package is not installed, write
    ``type='MobileNetV2'``; the weights of the layers in question are then
    reported as missing, and not used.

    Args:
        *args (Any): Those of ``mmdet.MobileNetV2``.
        **kwargs (Any): Likewise.
    """

    frozen_stages: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        count = max(self.out_indices) + 1
        # In a list, so that they are no parts of this module.
        self.left_out: List[Any] = [
            self._modules.pop(name) for name in self.layers[count:]
        ]
        del self.layers[count:]
        self.frozen_stages = min(self.frozen_stages, count)

    def apply(self, fn: Callable[[nn.Module], Any]) -> 'MobileNetV2':
        """Apply a function to all modules, before initialisation to those
        left out too.
        """
        super().apply(fn)
        for layer in self.left_out:
            layer.apply(fn)
        return self

    def init_weights(self) -> None:
        """Initialise as MMDetection does.

        The left out layers draw their numbers too, for the sake of what is
        initialised after them, and are then forgotten.
        """
        device = next(self.parameters()).device
        for layer in self.left_out:
            layer.to(device)
        super().init_weights()
        for layer in self.left_out:
            if hasattr(layer, 'init_weights'):
                layer.init_weights()
        self.left_out.clear()
