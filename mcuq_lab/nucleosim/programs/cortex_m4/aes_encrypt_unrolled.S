// One block, ten rounds without a loop: round keys at [r0], in [r1], out [r2].

#include "aes.h"

    push    {r2, r4-r11, lr}
    mov.w   r12, r0                 // wide, so that the loads of words below are aligned
    movw    lr, #:lower16:TABLE
    movt    lr, #:upper16:TABLE
    ldr     r4, [r1]
    ldr     r5, [r1, #4]
    ldr     r6, [r1, #8]
    ldr     r7, [r1, #12]
    ldr     r0, [r12]
    ldr     r1, [r12, #4]
    ldr     r2, [r12, #8]
    ldr     r3, [r12, #12]
    eors    r0, r4
    eors    r1, r5
    eors    r2, r6
    eors    r3, r7
    .irp    round, 1, 2, 3, 4, 5, 6, 7, 8, 9
    substitute_and_mix
    ldr     r0, [r12, #16 * \round]
    ldr     r1, [r12, #16 * \round + 4]
    ldr     r2, [r12, #16 * \round + 8]
    ldr     r3, [r12, #16 * \round + 12]
    eors    r0, r4
    eors    r1, r5
    eors    r2, r6
    eors    r3, r7
    .endr
    substitute
    finish  160
