// Counts r0 down to zero; the loop lies within a double word.

    .syntax unified
    .thumb
    .text
    .balign 8
1:  subs    r0, #1
    bne     1b
    bx      lr
