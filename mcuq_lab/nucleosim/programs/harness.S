// Runs the code at `code` once, between two reads of the cycle counter.
//
// At 0x20000000: the four arguments, then the cycles that were found. The stall of the first read
// hides in the NOP after it; one that the code leaves falls before the second read.

    .syntax unified
    .thumb
    .text
    .word   0x20010000, start + 1
    .thumb_func
start:
    ldr     r0, =0xE000ED88         // CPACR: FPU on
    ldr     r1, =0x00F00000
    str     r1, [r0]
    ldr     r0, =0xE000EDFC         // DEMCR.TRCENA
    ldr     r1, =0x01000000
    str     r1, [r0]
    ldr     r10, =0xE0001000        // DWT
    ldr     r0, =0xC5ACCE55
    str.w   r0, [r10, #0xFB0]       // DWT_LAR: unlocks it where there is a lock
    movs    r1, #1
    str     r1, [r10]               // DWT_CTRL.CYCCNTENA
    ldr     r11, =0x20000000
    ldm     r11, {r0-r3}
    dsb
    isb
    b       measure
    .ltorg
    .balign 16
measure:
    nop.w
    ldr.w   r9, [r10, #4]
    nop.w
    bl      code
    nop.w
    nop.w
    ldr.w   r8, [r10, #4]
    sub     r8, r8, r9
    str     r8, [r11, #16]
    bkpt    0
    .org    0x200
    .thumb_func
code:
