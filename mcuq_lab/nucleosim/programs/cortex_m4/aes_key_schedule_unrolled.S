// Round keys 1 to 10 of AES-128 to [r0] from the key at [r1], the table at [r2], without a loop.

    .syntax unified
    .thumb
    .text
    push    {r4-r11}
    ldm     r1, {r4-r7}
    mov     r3, r2
    .set    CONSTANT, 1
    .irp    round, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
    uxtb.w  r8, r7, ror #8
    uxtb.w  r9, r7, ror #16
    uxtb.w  r10, r7, ror #24
    uxtb.w  r11, r7
    .irp    register, r8, r9, r10, r11
    ldrb.w  \register, [r3, \register, lsl #2]
    .endr
    eor.w   r4, r4, #CONSTANT
    eor.w   r4, r4, r8
    eor.w   r4, r4, r9, lsl #8
    eor.w   r4, r4, r10, lsl #16
    eor.w   r4, r4, r11, lsl #24
    eor.w   r5, r5, r4
    eor.w   r6, r6, r5
    eor.w   r7, r7, r6
    .if     \round == 8
    add.w   r0, r0, #128            // the rest lies beyond the reach of 16-bit stores
    .endif
    str     r4, [r0, #16 * (\round & 7)]
    str     r5, [r0, #16 * (\round & 7) + 4]
    str     r6, [r0, #16 * (\round & 7) + 8]
    str     r7, [r0, #16 * (\round & 7) + 12]
    .set    CONSTANT, ((CONSTANT << 1) ^ ((CONSTANT >> 7) * 0x11B))
    .endr
    pop     {r4-r11}
    bx      lr
