// The permutation of ChaCha, ROUNDS rounds, from [r1] to [r0].
//
// Words are not rotated where the algorithm says so but where they are read, as second operands:
// ROT4 to ROT7 and ROT12 to ROT15 hold how far to the right the word in its register still has to
// go. Fourteen words fit into registers. The other two wait on the stack, and change places with
// two of the fourteen twice in two rounds.

    .syntax unified
    .thumb
    .text

    // plus += other, then mixed ^= plus and mixed is to be rotated to the right. Numbers of words
    // stand beside the registers of those that may have a rotation to come.
    .macro add_xor plus, other, mixed, other_word, mixed_word, right
    add.w   \plus, \plus, \other, ror #ROT\other_word
    eor.w   \mixed, \mixed, \plus, ror #((32 - ROT\mixed_word) & 31)
    .set    ROT\mixed_word, (ROT\mixed_word + \right) & 31
    .endm

    .macro quarter a, b, c, d, b_word, d_word
    add_xor \a, \b, \d, \b_word, \d_word, 16
    add_xor \c, \d, \b, \d_word, \b_word, 20
    add_xor \a, \b, \d, \b_word, \d_word, 24
    add_xor \c, \d, \b, \d_word, \b_word, 25
    .endm

    .macro finish word, register
    .if     ROT\word
    ror.w   \register, \register, #ROT\word
    .endif
    .endm

    .irp    word, 4, 5, 6, 7, 12, 13, 14, 15
    .set    ROT\word, 0
    .endr

    push    {r0, r4-r12, lr}
    ldm     r1!, {r0, r2-r8}        // words 0 to 7
    ldr     r9, [r1]
    ldr     r10, [r1, #16]
    push    {r9, r10}               // 8 and 12
    ldr     r9, [r1, #4]            // 9
    ldr     r10, [r1, #8]           // 10
    ldr     r11, [r1, #12]          // 11
    ldr     r12, [r1, #20]          // 13
    ldr     lr, [r1, #24]           // 14
    ldr.w   r1, [r1, #28]           // 15; wide, to align what follows

    .rept   ROUNDS / 2
    quarter r2, r6, r9, r12, 5, 13
    quarter r3, r7, r10, lr, 6, 14
    quarter r4, r8, r11, r1, 7, 15
    push    {r9, r10}               // 9 and 10 for 8 and 12
    ldr     r9, [sp, #8]
    ldr     r10, [sp, #12]
    quarter r0, r5, r9, r10, 4, 12
    quarter r2, r7, r11, r10, 6, 12
    quarter r3, r8, r9, r12, 7, 13
    str     r9, [sp, #8]            // and back
    str     r10, [sp, #12]
    pop     {r9, r10}
    quarter r0, r6, r10, r1, 5, 15
    quarter r4, r5, r9, lr, 4, 14
    .endr

    finish  4, r5
    finish  5, r6
    finish  6, r7
    finish  7, r8
    finish  13, r12
    finish  14, lr
    finish  15, r1
    push    {r1}
    ldr     r1, [sp, #12]
    stm     r1!, {r0, r2-r8}
    pop     {r2-r4}                 // 15, 8, 12
    stm     r1!, {r3, r9-r11}
    stm     r1!, {r4, r12, lr}
    str     r2, [r1]
    add     sp, #4
    pop     {r4-r12, lr}
    bx      lr
