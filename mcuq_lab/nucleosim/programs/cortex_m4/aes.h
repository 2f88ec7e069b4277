// AES-128 by one table of words, each byte of which SubBytes and MixColumns make of a byte in row 3:
// rotated to the right by 24, 16 and 8 it serves rows 0, 1 and 2.
//
// Columns are in r0 to r3, the table is at [lr]. Nine rounds look up words, the last one bytes.

    .syntax unified
    .thumb
    .text

#define TABLE 0x20001000

    .macro load_all load, registers:vararg
    .irp    register, \registers
    \load\().w  \register, [lr, \register, lsl #2]
    .endr
    .endm

    // All of column 0 and three rows of column 1, as far as registers go.
    .macro look_up_first load
    uxtb    r4, r0
    uxtb.w  r8, r1, ror #8
    uxtb.w  r9, r2, ror #16
    lsrs    r5, r3, #24
    uxtb    r6, r1
    uxtb.w  r10, r3, ror #16
    lsrs    r7, r0, #24
    load_all \load, r4, r8, r9, r5, r6, r10, r7
    .endm

    // What is left: row 1 of column 1, columns 2 and 3.
    .macro look_up_others load
    uxtb    r6, r2
    uxtb    r7, r3
    uxtb.w  r8, r2, ror #8
    uxtb.w  r9, r0, ror #16
    uxtb.w  r10, r1, ror #16
    uxtb.w  r3, r3, ror #8
    uxtb.w  r0, r0, ror #8
    lsrs    r1, r1, #24
    lsrs    r2, r2, #24
    load_all \load, r6, r7, r8, r9, r10, r3, r0, r1, r2
    .endm

    // New columns in r4 to r7, the round key still to be added.
    .macro substitute_and_mix
    look_up_first ldr
    eor.w   r4, r5, r4, ror #24
    eor.w   r5, r7, r6, ror #24
    eor.w   r4, r4, r8, ror #16
    eor.w   r5, r5, r10, ror #8
    eor.w   r4, r4, r9, ror #8
    look_up_others ldr
    eor.w   r5, r5, r8, ror #16
    eor.w   r6, r1, r6, ror #24
    eor.w   r7, r2, r7, ror #24
    eor.w   r6, r6, r3, ror #16
    eor.w   r7, r7, r0, ror #16
    eor.w   r6, r6, r9, ror #8
    eor.w   r7, r7, r10, ror #8
    .endm

    // The same without mixing; the last column in r8.
    .macro substitute
    look_up_first ldrb
    orr.w   r4, r4, r8, lsl #8
    orr.w   r4, r4, r9, lsl #16
    orr.w   r4, r4, r5, lsl #24
    orr.w   r5, r6, r10, lsl #16
    orr.w   r5, r5, r7, lsl #24
    look_up_others ldrb
    orr.w   r5, r5, r8, lsl #8
    orr.w   r6, r6, r3, lsl #8
    orr.w   r7, r7, r0, lsl #8
    orr.w   r6, r6, r9, lsl #16
    orr.w   r7, r7, r10, lsl #16
    orr.w   r6, r6, r1, lsl #24
    orr.w   r8, r7, r2, lsl #24
    .endm

    // Load the last round key from [r12 + offset], add, store to where the stack says, return.
    .macro finish offset
    ldr     r7, [sp], #4
    ldr     r0, [r12, #\offset]
    ldr     r1, [r12, #\offset + 4]
    ldr     r2, [r12, #\offset + 8]
    ldr     r3, [r12, #\offset + 12]
    eors    r0, r4
    eors    r1, r5
    eors    r2, r6
    eor.w   r3, r3, r8
    str     r0, [r7]
    str     r1, [r7, #4]
    str     r2, [r7, #8]
    str     r3, [r7, #12]
    pop     {r4-r11, pc}
    .endm
