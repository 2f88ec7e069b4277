// One block: round keys at [r0], in [r1], out [r2], r3 rounds.

#include "aes.h"

    push    {r2, r4-r11, lr}
    add     r11, r0, r3, lsl #4     // the last round key
    movw    lr, #:lower16:TABLE
    movt    lr, #:upper16:TABLE
    mov     r12, r0
    ldmia   r1!, {r4-r7}
    ldmia   r12!, {r0-r3}
    eors    r0, r4
    eors    r1, r5
    eors    r2, r6
    eors    r3, r7
1:  substitute_and_mix
    ldmia   r12!, {r0-r3}
    eors    r0, r4
    eors    r1, r5
    eors    r2, r6
    eors    r3, r7
    cmp     r11, r12
    bne     1b
    substitute
    finish  0
