// a + b modulo 2^255 - 19: the carry and bit 255 are folded into the lowest word, times 19. UMAAL
// adds two words and a carry at once if one factor is 1.

#define CALLS
#include "field.h"

    ldr     r0, [r8, #28]
    ldr     r1, [r9, #28]
    adds    r0, r1
    mov.w   r12, #0
    adc     r12, r12, r12
    lsl     r12, r12, #1
    add     r12, r12, r0, lsr #31
    movs    r2, #19
    mul     r12, r12, r2
    bic     r7, r0, #0x80000000
    ldm     r9!, {r0-r3}
    ldm     r8!, {r4-r6, r10}
    mov     r11, #1
    umaal   r0, r12, r11, r4
    umaal   r1, r12, r11, r5
    umaal   r2, r12, r11, r6
    umaal   r3, r12, r11, r10
    ldm     r8, {r4-r6}
    ldm     r9, {r8-r10}
    umaal   r4, r12, r11, r8
    umaal   r5, r12, r11, r9
    umaal   r6, r12, r11, r10
    add     r7, r12
    bx      lr
