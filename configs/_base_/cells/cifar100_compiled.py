# The same for processors that multiply in bfloat16: the step is compiled, and
# the teacher is in bfloat16. `benchmarks/README.md` has what that saves.
_base_ = './cifar100.py'
teacher = dict(fold_norms=True, channels_last=True, dtype='bf16')
options = dict(compile=True)
