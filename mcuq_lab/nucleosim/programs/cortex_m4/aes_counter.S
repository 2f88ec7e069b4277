// AES-128 in counter mode, table in flash: parameters at [r0] (counter, nonce, round keys), in [r1],
// out [r2], r3 bytes, a multiple of 16.
//
// Of the counter only the lowest byte changes from block to block, but each 256th time. Of the first
// round it changes one lookup, of the second four; the rest of these rounds is computed once and
// kept: second-round columns, then column 0 of the first round, below the three words that
// say where in, out and the bytes left are.

    .syntax unified
    .thumb
    .text

#define TABLE 0x08002000

    // Columns x, of which temporaries look up one row each, into the columns y.
    .macro look_up x0, x1, x2, x3, row
    uxtb    r0, \x0, ror #8 * \row
    uxtb    r1, \x1, ror #8 * \row
    uxtb    r2, \x2, ror #8 * \row
    uxtb    r3, \x3, ror #8 * \row
    .irp    register, r0, r1, r2, r3
    ldr.w   \register, [lr, \register, lsl #2]
    .endr
    .endm

    .macro mix y0, y1, y2, y3, right
    eor     \y0, \y0, r0, ror #\right
    eor     \y1, \y1, r1, ror #\right
    eor     \y2, \y2, r2, ror #\right
    eor     \y3, \y3, r3, ror #\right
    .endm

    .macro insert row
    bfi     r4, r0, #8 * \row, #8
    bfi     r5, r1, #8 * \row, #8
    bfi     r6, r2, #8 * \row, #8
    bfi     r7, r3, #8 * \row, #8
    .endm

    .macro round x0, x1, x2, x3, y0, y1, y2, y3
    ldmia   r12!, {\y0-\y3}
    look_up \x0, \x1, \x2, \x3, 0
    mix     \y0, \y1, \y2, \y3, 24
    look_up \x1, \x2, \x3, \x0, 1
    mix     \y0, \y1, \y2, \y3, 16
    look_up \x2, \x3, \x0, \x1, 2
    mix     \y0, \y1, \y2, \y3, 8
    look_up \x3, \x0, \x1, \x2, 3
    mix     \y0, \y1, \y2, \y3, 0
    .endm

    push    {r1-r11, lr}
    mov     r12, r0
    movw    lr, #:lower16:TABLE
    movt    lr, #:upper16:TABLE

    .balign 4
precompute:
    ldmia   r12!, {r4-r11}
    eor     r4, r8
    eor     r5, r9
    eor     r6, r10
    eor     r7, r11
    bic     r4, r4, #0xFF
    round   r4, r5, r6, r7, r8, r9, r10, r11
    ldr     r0, [lr]                // what a byte of zero contributed
    eor     r8, r8, r0, ror #24
    push    {r8}
    mov     r8, #0
    round   r8, r9, r10, r11, r4, r5, r6, r7
    ldr     r0, [lr]
    eor     r4, r4, r0, ror #24
    eor     r5, r5, r0
    eor     r6, r6, r0, ror #8
    eor     r7, r7, r0, ror #16
    push    {r4-r7}

    .balign 4
encrypt:
    ldm     sp, {r4-r7, r10}
    ldr     r8, [r12, #-64]         // counter
    ldr     r9, [r12, #-48]         // first word of the key
    eor     r8, r9
    and     r8, #0xFF
    ldr     r8, [lr, r8, lsl #2]
    eor     r10, r10, r8, ror #24
    uxtb    r0, r10
    uxtb    r1, r10, ror #24
    uxtb    r2, r10, ror #16
    uxtb    r3, r10, ror #8
    .irp    register, r0, r1, r2, r3
    ldr.w   \register, [lr, \register, lsl #2]
    .endr
    eor     r4, r4, r0, ror #24
    eor     r5, r1
    eor     r6, r6, r2, ror #8
    eor     r7, r7, r3, ror #16
    .rept   3
    round   r4, r5, r6, r7, r8, r9, r10, r11
    round   r8, r9, r10, r11, r4, r5, r6, r7
    .endr
    round   r4, r5, r6, r7, r8, r9, r10, r11

    // The last round: of each word the lowest byte.
    uxtb    r0, r8
    uxtb    r1, r9
    uxtb    r2, r10
    uxtb    r3, r11
    ldr.w   r4, [lr, r0, lsl #2]
    ldr.w   r5, [lr, r1, lsl #2]
    ldr.w   r6, [lr, r2, lsl #2]
    ldr.w   r7, [lr, r3, lsl #2]
    look_up r9, r10, r11, r8, 1
    insert  1
    look_up r10, r11, r8, r9, 2
    insert  2
    look_up r11, r8, r9, r10, 3
    insert  3
    ldmia   r12!, {r0-r3}
    eor     r4, r0
    eor     r5, r1
    eor     r6, r2
    eor     r7, r3

    add     r8, sp, #20
    ldmia   r8, {r1-r3}
    ldmia   r1!, {r8-r11}
    str.w   r1, [sp, #20]
    eor     r4, r8
    eor     r5, r9
    eor     r6, r10
    eor     r7, r11
    stmia   r2!, {r4-r7}
    str     r2, [sp, #24]
    subs    r3, #16
    ble     finish
    str.w   r3, [sp, #28]
    sub     r12, #128
    ldr     r4, [r12, #-64]
    add     r4, #1
    str     r4, [r12, #-64]
    ands.w  r4, r4, #0xFF
    bne     encrypt
    add.w   sp, #20
    sub     r12, #64
    b       precompute
finish:
    add     sp, #32
    pop     {r4-r11, pc}
