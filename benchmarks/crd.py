"""CRD at the size of CIFAR-100: products first, or rows of the memory first.

The published code gathers the memory's rows of every image and its negatives
and multiplies them; ours multiplies with the whole memory and gathers scores.
"""

import torch
from measure import Record, alternate, peak_memory

from mmdet_rankkd.losses import CRDLoss, crd_side
from mmdet_rankkd.structures import Features

IMAGES, BATCH, NEGATIVES, WIDTH = 50000, 64, 16384, 256


def main():
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    loss = CRDLoss(IMAGES).to(device)
    blank = Features([], [], torch.zeros(1, WIDTH))
    loss.build(blank, blank)
    loss.to(device)
    student = torch.randn(BATCH, WIDTH, device=device, requires_grad=True)
    teacher = torch.randn(BATCH, WIDTH, device=device)
    index = torch.randint(IMAGES, (BATCH, NEGATIVES + 1), device=device)

    def ours():
        features = (Features([], [], x) for x in (student, teacher))
        loss(*features, index).backward()

    def gathered():
        sides = (
            (loss.embed_student(student), loss.teacher_memory),
            (loss.embed_teacher(teacher), loss.student_memory),
        )
        total = 0
        for embedded, memory in sides:
            rows = memory[index.view(-1)].view(*index.shape, -1)
            scores = torch.bmm(rows, embedded[:, :, None]).squeeze(2)
            scores = (scores / loss.temperature).exp()
            z = scores.detach().mean() * IMAGES
            total = total + crd_side(scores / z, IMAGES)
        total.backward()

    methods = dict(gathered=gathered, ours=ours)
    record = Record('crd')
    times = alternate(methods, 20)
    peaks = {name: peak_memory(f) for name, f in reversed(methods.items())}
    record.add('CIFAR-100, batch of 64', times, 'gathered', peaks)
    record.save()


if __name__ == '__main__':
    main()
