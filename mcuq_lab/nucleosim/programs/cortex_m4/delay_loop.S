// Counts r0 down to zero.

    .syntax unified
    .thumb
    .text
1:  subs    r0, #1
    bne     1b
    bx      lr
