// Blocks of AES-128: round keys at [r0], in [r1], out [r2], the same block r3 times.
//
// The lookups of ../cortex_m4/aes.h, ordered for two instructions a cycle: each line is a pair. An
// extension stands first in its pair, its lookup two pairs on, the use of that two more (three for
// a byte), since shifted operands and addresses are needed early.

    .syntax unified
    .thumb
    .text

#define TABLE 0x20001000

    .macro  look_up load, register
    \load\().w  \register, [lr, \register, lsl #2]
    .endm

    push    {r4-r8, lr}
    mov     r4, r0
    mov     r5, r1
    mov     r6, r2
    mov     r7, r3
1:  mov     r0, r4
    mov     r1, r5
    mov     r2, r6
    movs    r3, #10
    bl      block
    subs    r7, #1
    bne     1b
    pop     {r4-r8, pc}

    .balign 8
block:                              // r3 rounds
    add     r3, r0, r3, lsl #4
    push    {r4-r11, lr}
    subs    r3, #4                  // what r12 holds when the last but one key is nearly loaded
    mov     r12, r0
    push    {r2, r3}
    movw    lr, #:lower16:TABLE
    movt    lr, #:upper16:TABLE
    ldmia   r1!, {r4-r7}
    ldmia   r12!, {r0-r3}
    eors    r0, r4
    eors    r1, r5
    eors    r2, r6
    eors    r3, r7

    .balign 8
1:  lsr.w   r4, r3, #24;            lsr.w   r5, r0, #24
    lsr.w   r6, r1, #24;            lsr.w   r7, r2, #24
    uxtb.w  r8, r0;                 look_up ldr, r4
    uxtb.w  r9, r0, ror #8;         look_up ldr, r5
    uxtb.w  r0, r0, ror #16;        look_up ldr, r6
    uxtb.w  r10, r1;                look_up ldr, r7
    uxtb.w  r11, r1, ror #8;        look_up ldr, r8
    uxtb.w  r1, r1, ror #16;        look_up ldr, r9
    eor.w   r4, r4, r8, ror #24;    look_up ldr, r0
    uxtb.w  r8, r2;                 look_up ldr, r10
    eor.w   r7, r7, r9, ror #16;    look_up ldr, r11
    uxtb.w  r9, r2, ror #8;         look_up ldr, r1
    uxtb.w  r2, r2, ror #16;        eor.w   r6, r6, r0, ror #8
    uxtb.w  r0, r3;                 look_up ldr, r8
    eor.w   r5, r5, r10, ror #24;   look_up ldr, r9
    uxtb.w  r10, r3, ror #8;        eor.w   r4, r4, r11, ror #16
    uxtb.w  r3, r3, ror #16;        look_up ldr, r2
    eor.w   r7, r7, r1, ror #8;     look_up ldr, r0
    eor.w   r6, r6, r8, ror #24;    look_up ldr, r10
    eor.w   r5, r5, r9, ror #16;    look_up ldr, r3
    eor.w   r4, r4, r2, ror #8;     ldr.w   r1, [sp, #4]
    eor.w   r7, r7, r0, ror #24;    ldr.w   r8, [r12], #4
    eor.w   r6, r6, r10, ror #16;   ldr.w   r9, [r12], #4
    eor.w   r5, r5, r3, ror #8;     ldr.w   r10, [r12], #4
    cmp.w   r1, r12;                ldr.w   r11, [r12], #4
    eor.w   r0, r4, r8;             eor.w   r1, r5, r9
    eor.w   r2, r6, r10;            eor.w   r3, r7, r11
    bne.w   1b

    uxtb.w  r4, r0;                 lsr.w   r8, r3, #24
    uxtb.w  r5, r1;                 lsr.w   r9, r0, #24
    uxtb.w  r6, r2;                 look_up ldrb, r4
    uxtb.w  r7, r3;                 look_up ldrb, r8
    uxtb.w  r10, r1, ror #8;        look_up ldrb, r5
    uxtb.w  r11, r2, ror #8;        look_up ldrb, r9
    orr.w   r4, r4, r8, lsl #24;    look_up ldrb, r6
    uxtb.w  r8, r3, ror #8;         look_up ldrb, r7
    orr.w   r5, r5, r9, lsl #24;    look_up ldrb, r10
    uxtb.w  r9, r2, ror #16;        look_up ldrb, r11
    lsr.w   r2, r2, #24;            look_up ldrb, r8
    orr.w   r4, r4, r10, lsl #8;    look_up ldrb, r9
    uxtb.w  r10, r0, ror #8;        look_up ldrb, r2
    orr.w   r5, r5, r11, lsl #8;    lsr.w   r11, r1, #24
    uxtb.w  r3, r3, ror #16;        look_up ldrb, r10
    uxtb.w  r0, r0, ror #16;        look_up ldrb, r11
    uxtb.w  r1, r1, ror #16;        look_up ldrb, r3
    orr.w   r6, r6, r8, lsl #8;     look_up ldrb, r0
    orr.w   r7, r7, r2, lsl #24;    look_up ldrb, r1
    orr.w   r4, r4, r9, lsl #16;    ldr.w   r8, [r12]
    orr.w   r7, r7, r10, lsl #8;    ldr.w   r9, [r12, #4]
    orr.w   r6, r6, r11, lsl #24;   ldr.w   r10, [r12, #8]
    orr.w   r5, r5, r3, lsl #16;    ldr.w   r11, [r12, #12]
    orr.w   r6, r6, r0, lsl #16;    ldr.w   r2, [sp], #8
    orr.w   r7, r7, r1, lsl #16;    eor.w   r4, r4, r8
    eor.w   r5, r5, r9;             str     r4, [r2]
    eor.w   r6, r6, r10;            str     r5, [r2, #4]
    eor.w   r7, r7, r11;            str     r6, [r2, #8]
    str     r7, [r2, #12]
    pop     {r4-r11, pc}
