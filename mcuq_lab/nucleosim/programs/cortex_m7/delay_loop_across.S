// Counts r0 down to zero; a double word ends within the loop.

    .syntax unified
    .thumb
    .text
    .balign 8
    nop
    nop
    nop
1:  subs    r0, #1
    bne     1b
    bx      lr
