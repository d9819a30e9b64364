# What Tables 1 and 2 share: title, columns and rows are missing.
cells = 'cifar100'
note = (
    'LSKD, MLKD and MLKD + ranking train what the published code of MLKD does '
    '(`reference_slip=True`), which gave the published numbers, and not the '
    'formula of its paper. LSKD is MLKD with standardised logits, as seven of '
    "the nine published numbers are; `lskd` is KD with them. MLKD's own "
    '0.1 : 0.9 is used, and not the 0.1 : 9 that the paper quotes, which are '
    "LSKD's."
)
