// Runs case after case: loads the registers from a record, enters the sequence, stores them again.
// Both simulators run this image. On QEMU it starts at `reset` and ends by semihosting; on the
// simulated core it starts at `run_cases`, with the first and the last record's end in r0 and r1.

    .syntax unified
    .thumb
    .equ SYS_OPEN, 0x01
    .equ SYS_WRITE, 0x05
    .equ SYS_EXIT, 0x18
    .equ STOPPED_ON_EXIT, 0x20026
    .equ STOPPED_ON_ERROR, 0x20023

    .section .text
    .word DRIVER_STACK, reset + 1
    .rept 14
    .word fault + 1
    .endr

    .thumb_func
reset:
    ldr r0, =0xE000ED88         // CPACR: FPU on
    ldr r1, =0x00F00000
    str r1, [r0]
    dsb
    isb
    ldr r0, =FIRST_RECORD
    ldr r1, =LAST_RECORD_END

    .global run_cases
    .thumb_func
run_cases:
    ldr r2, =record
    stmia r2, {r0, r1}
next:
    cmp r0, r1
    beq finish
    clrex
    add r1, r0, #64
    vldmia r1!, {s0-s31}
    ldr r2, [r1]
    vmsr fpscr, r2
    ldr r2, [r0, #60]
    msr APSR_nzcvqg, r2
    ldr sp, [r0, #52]
    ldr lr, [r0, #56]
    ldmia r0, {r0-r12}
    bx lr

// The sequences come here. The word below their stack is not theirs.
    .global leave
    .thumb_func
leave:
    str r0, [sp, #-4]
    ldr r0, =record
    ldr r0, [r0]
    str r1, [r0, #4]
    add r0, #8
    stmia r0!, {r2-r12}
    str sp, [r0]
    str lr, [r0, #4]
    mrs r1, APSR
    str r1, [r0, #8]
    ldr r1, [sp, #-4]
    str r1, [r0, #-52]
    add r0, #12
    vstmia r0!, {s0-s31}
    vmrs r1, fpscr
    str r1, [r0]
    ldr sp, =DRIVER_STACK
    ldr r2, =record
    ldmia r2, {r0, r1}
    add r0, #RECORD_BYTES
    str r0, [r2]
    b next

    .thumb_func
fault:
    ldr r4, =STOPPED_ON_ERROR
    b hand_over
finish:
    ldr r4, =STOPPED_ON_EXIT
hand_over:
    ldr sp, =DRIVER_STACK
    movs r0, #SYS_OPEN
    adr r1, open_arguments
    bkpt 0xAB
    ldr r1, =write_arguments
    str r0, [r1]
    movs r0, #SYS_WRITE
    bkpt 0xAB
    movs r0, #SYS_EXIT
    mov r1, r4
    bkpt 0xAB
    b .

    .balign 4
open_arguments:
    .word file_name, 5, 7       // write, binary
file_name:
    .asciz "ram.bin"
    .ltorg

    .section .data
record:
    .word 0, 0                  // the one that runs, and where they end
write_arguments:
    .word 0, RAM, LAST_RECORD_END - RAM
    .balign RECORD_BYTES
