# The report on the digits again, with four times its iterations.
_base_ = './digits_report.py'
title = 'Ranking beside tuned methods, four times as long, on the digits'
note = (
    'The rows, settings and seeds of [the report](digits_report.md), which '
    'were chosen for 660 iterations, with Faster R-CNN and 2,640 iterations '
    'on the same 1,760 images; the learning rate falls to its end over all '
    'of them.'
)
columns = dict(
    AP=dict(
        options={
            'train_cfg.max_epochs': 12,
            'train_cfg.val_interval': 12,
            'param_scheduler.1.end': 12,
            'param_scheduler.1.T_max': 12,
        }
    )
)
rows = {
    'PKD': dict(method='pkd', against=['KD']),
    'PKD + ranking': dict(method='pkd+rank', against=['PKD']),
    'PKD + KD': dict(method='pkd+kd', against=['KD', 'PKD']),
    'PKD + KD + ranking': dict(method='pkd+kd+rank', against=['PKD + KD']),
}
