// a - b modulo 2^256 - 38: where it borrows, 38 is taken away once more, and again should that
// borrow too. The mask of the borrow is the upper words of -38.

#define CALLS
#include "field.h"

    ldm     r8, {r0-r7}
    ldm     r9!, {r8, r10-r12}
    subs    r0, r8
    sbcs    r1, r10
    sbcs    r2, r11
    sbcs    r3, r12
    ldm     r9, {r9-r12}
    sbcs    r4, r9
    sbcs    r5, r10
    sbcs    r6, r11
    sbcs    r7, r12
    sbc     r12, r12, r12
    and     r11, r12, #-38
    adds    r0, r11
    .irp    register, r1, r2, r3, r4, r5, r6, r7
    adcs    \register, r12
    .endr
    adcs    r12, #0
    and     r11, r12, #-38
    adds    r0, r11
    bx      lr
