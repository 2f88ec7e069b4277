// Calls `function`, if there is one, with elements of the field of Curve25519 at [r8] and [r9], and
// stores the sum or difference that it leaves in r0 to r7. Arguments: out, a, b.

    .syntax unified
    .thumb
    .text
    push    {r0, r4-r11, lr}
    mov     r8, r1
    mov     r9, r2
#ifdef CALLS
    bl      function
#endif
    ldr     r8, [sp], #4
    stm     r8, {r0-r7}
    pop     {r4-r11, pc}
    .balign 4
    .thumb_func
function:
