// Turns r0 times: 38 instructions of 32 bits, the flags set well ahead of the branch.

    .syntax unified
    .thumb
    .text
    .balign 8
1:  .rept   28
    nop.w
    .endr
    subs.w  r0, r0, #1
    .rept   8
    nop.w
    .endr
    bne.w   1b
    bx      lr
