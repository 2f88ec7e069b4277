// Round keys of AES-128 to [r0] from the key at [r1], the table at TABLE. The round constant is kept
// in the top byte, so that the carry tells when to reduce it, and it ends the loop as well.

#include "aes.h"

    push    {r4-r8, lr}
    movw    lr, #:lower16:TABLE
    movt    lr, #:upper16:TABLE
    ldmia.w r1, {r2-r5}
    mov.w   r1, #0x01000000
    stmia.w r0!, {r2-r5}
1:  uxtb.w  r6, r5, ror #8
    uxtb.w  r7, r5, ror #16
    uxtb.w  r8, r5, ror #24
    uxtb.w  r12, r5
    load_all ldrb, r6, r7, r8, r12
    eor.w   r2, r2, r1, lsr #24
    eors    r2, r6
    eor.w   r2, r2, r7, lsl #8
    eor.w   r2, r2, r8, lsl #16
    eor.w   r2, r2, r12, lsl #24
    eors    r3, r2
    eors    r4, r3
    eors    r5, r4
    lsls    r1, #1
    it      cs
    movcs   r1, #0x1B000000
    cmp     r1, #0x6C000000
    stmia   r0!, {r2-r5}
    bne     1b
    pop     {r4-r8, pc}
