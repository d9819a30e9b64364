"""Registration, in the form that ``mmengine.hub`` expects."""


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register everything of MMDetection and of this package.

    Args:
        init_default_scope (bool): Make ``mmdet`` the default scope, in which
            the configs of this package are written.
    """
    import mmdet.utils

    import mmdet_rankkd.datasets
    import mmdet_rankkd.distillers
    import mmdet_rankkd.engine.hooks
    import mmdet_rankkd.evaluation
    import mmdet_rankkd.logits
    import mmdet_rankkd.losses
    import mmdet_rankkd.models  # noqa: F401

    mmdet.utils.register_all_modules(init_default_scope=init_default_scope)
