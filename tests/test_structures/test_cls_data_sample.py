import torch

from mmdet_rankkd.structures import ClsDataSample


def test_fields():
    """As MMPretrain's heads read and fill them."""
    sample = ClsDataSample(metainfo=dict(img_id=3)).set_gt_label(2)
    assert sample.gt_label.tolist() == [2]
    assert sample.gt_label.dtype == torch.long
    scores = torch.tensor([0.1, 0.2, 0.7])
    sample.set_pred_score(scores).set_pred_label(scores.argmax())
    assert torch.equal(sample.pred_score, scores)
    assert sample.pred_label.shape == (1,) and sample.pred_label == 2
    assert set(sample.to_dict()) >= {'gt_label', 'pred_score', 'pred_label'}
    assert sample.set_pred_label(1).pred_label.tolist() == [1]
