# MMDetection's 1x recipe: 12 epochs at batch 16. AP per class is reported.
_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/default_runtime.py',
    'mmdet::_base_/schedules/schedule_1x.py',
]
val_evaluator = dict(classwise=True)
test_evaluator = dict(classwise=True)
