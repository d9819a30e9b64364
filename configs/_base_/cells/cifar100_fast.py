# The same, where a processor trains and not a GPU: the step is compiled, and
# the teacher computes in bfloat16. `benchmarks/README.md` has what it saves.
_base_ = './cifar100.py'
teacher = dict(fold_norms=True, channels_last=True, dtype='bf16')
options = dict(compile=True)
