# The teacher, to be tested: its weights are MMDetection's.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50-caffe_fpn_ms-3x_coco.py'
val_evaluator = dict(classwise=True)
test_evaluator = dict(classwise=True)
auto_scale_lr = dict(enable=False, base_batch_size=16)
