/* Start-up, timed call, stack painting, fault entry: what C cannot say. Armv7-M with or without FPU.
 *
 * These routines use no stack below the caller's, except where noted, so that measuring the stack
 * leaves no mark on it.
 */
    .syntax unified
    .thumb

    .equ CPACR,      0xE000ED88 /* Armv7-M ARM B3.2.20: access to the FPU            */
    .equ VTOR,       0xE000ED08
    .equ DEMCR,      0xE000EDFC /* C1.6.5, TRCENA is bit 24                          */
    .equ DWT_CTRL,   0xE0001000 /* C1.8.7, CYCCNTENA is bit 0                        */
    .equ DWT_CYCCNT, 0xE0001004
    .equ DWT_LAR,    0xE0001FB0 /* software lock of the Cortex-M7's DWT; no-op on M4 */

#ifdef MCUQ_CACHES
    .equ CCSIDR,     0xE000ED80 /* Cortex-M7 TRM (ARM DDI 0489) 3.3; CSSELR is the next word */
    .equ CCR,        0xE000ED14 /* IC is bit 17, DC is bit 16                        */
    .equ ICIALLU,    0xE000EF50 /* invalidates the instruction cache                 */
    .equ DCISW,      0xE000EF60 /* invalidates a line of the data cache              */
    .equ DCCISW,     0xE000EF74 /* writes it back before                             */
    .equ LINE_SHIFT, 5          /* lines of 32 bytes                                 */

/* Writes to `register`, DCISW or DCCISW, for each line of the data cache. Uses r0-r4 and r12. */
    .macro each_data_line register
    ldr r0, =CCSIDR
    movs r1, #0
    str r1, [r0, #4]            /* CSSELR: the data cache */
    dsb
    ldr r1, [r0]
    ubfx r2, r1, #13, #15       /* its last set */
    ubfx r3, r1, #3, #10        /* its last way */
    clz r4, r3                  /* ways are counted from bit 31 down */
    ldr r0, =\register
1:  mov r1, r3
2:  lsl r12, r1, r4
    orr r12, r12, r2, lsl #LINE_SHIFT
    str r12, [r0]
    subs r1, r1, #1
    bpl 2b
    subs r2, r2, #1
    bpl 1b
    dsb
    .endm
#endif

/* ---- vectors: every exception but reset is a fault here, since none is ever enabled ---- */
    .section .mcuq_vectors, "a"
    .global mcuq_vectors
mcuq_vectors:
    .word mcuq_stack_top
    .word mcuq_reset
    .rept 14
    .word mcuq_fault_entry
    .endr

    .section .mcuq_boot, "ax"

/* ---- reset ---- */
    .global mcuq_reset
    .type mcuq_reset, %function
    .thumb_func
mcuq_reset:
    ldr r0, =mcuq_stack_top
    mov sp, r0
    ldr r0, =VTOR
    ldr r1, =mcuq_vectors
    str r1, [r0]

    ldr r0, =CPACR              /* CP10 and CP11: full access */
    ldr r1, [r0]
    orr r1, r1, #(0xF << 20)
    str r1, [r0]
    dsb
    isb

#ifdef MCUQ_CACHES
    /* What the caches hold after a reset is unknown. */
    ldr r0, =ICIALLU
    movs r1, #0
    dsb
    isb
    str r1, [r0]
    each_data_line DCISW
    ldr r0, =CCR
    ldr r1, [r0]
    orr r1, r1, #(3 << 16)
    str r1, [r0]
    dsb
    isb
#endif

    ldr r0, =DEMCR
    ldr r1, [r0]
    orr r1, r1, #(1 << 24)
    str r1, [r0]
    ldr r0, =DWT_LAR
    ldr r1, =0xC5ACCE55
    str r1, [r0]
    ldr r0, =DWT_CYCCNT
    movs r1, #0
    str r1, [r0]
    ldr r0, =DWT_CTRL
    ldr r1, [r0]
    orr r1, r1, #1
    str r1, [r0]

    ldr r0, =mcuq_data_start
    ldr r1, =mcuq_data_end
    ldr r2, =mcuq_data_image
    b 2f
1:  ldr r3, [r2], #4
    str r3, [r0], #4
2:  cmp r0, r1
    blo 1b

    ldr r0, =mcuq_bss_start
    ldr r1, =mcuq_bss_end
    movs r3, #0
    b 2f
1:  str r3, [r0], #4
2:  cmp r0, r1
    blo 1b

serve:
    bl mcuq_serve
#ifdef MCUQ_CACHES
    bl show_memory_to_host
#endif
    .global mcuq_stopped
    .type mcuq_stopped, %function
    .thumb_func
mcuq_stopped:
    bkpt #0                     /* the host reads, writes, and resumes at the next instruction */
    b serve
    .size mcuq_reset, . - mcuq_reset

#ifdef MCUQ_CACHES
/* ---- what the host reads and writes is memory, not the data cache: leave nothing in it ----
 *
 * A debugger's accesses bypass it unless they are marked cacheable, which pyOCD's are not
 * (pyocd.io/docs/memory_attributes). */
    .type show_memory_to_host, %function
    .thumb_func
show_memory_to_host:
    dsb
    each_data_line DCCISW
    bx lr
    .size show_memory_to_host, . - show_memory_to_host
#endif

/* ---- uint32_t mcuq_timed_call(function, a, b) ---- */
    .balign 16
    .global mcuq_timed_call
    .type mcuq_timed_call, %function
    .thumb_func
mcuq_timed_call:
    push {r4, r5, r6, lr}
    mov r3, r0
    mov r0, r1
    mov r1, r2
    ldr r4, =DWT_CYCCNT
    dsb                         /* stores of the caller are not the callee's time */
    isb
    ldr r5, [r4]
    blx r3
    ldr r6, [r4]
    subs r0, r6, r5             /* right across one wrap of the counter */
    pop {r4, r5, r6, pc}
    .size mcuq_timed_call, . - mcuq_timed_call

    .balign 16
    .global mcuq_nothing
    .type mcuq_nothing, %function
    .thumb_func
mcuq_nothing:
    bx lr
    .size mcuq_nothing, . - mcuq_nothing

/* ---- void mcuq_paint_stack(paint): from the stack's bottom up to the caller's sp ---- */
    .global mcuq_paint_stack
    .type mcuq_paint_stack, %function
    .thumb_func
mcuq_paint_stack:
    ldr r1, =mcuq_stack_bottom
    mov r2, sp
    b 2f
1:  str r0, [r1], #4
2:  cmp r1, r2
    blo 1b
    bx lr
    .size mcuq_paint_stack, . - mcuq_paint_stack

/* ---- uint32_t mcuq_scan_stack(paint) ---- */
    .global mcuq_scan_stack
    .type mcuq_scan_stack, %function
    .thumb_func
mcuq_scan_stack:
    ldr r1, =mcuq_stack_bottom
    ldr r2, =mcuq_stack_top
1:  cmp r1, r2
    bhs 2f
    ldr r3, [r1], #4
    cmp r3, r0
    beq 1b
    subs r1, r1, #4
2:  subs r0, r2, r1
    bx lr
    .size mcuq_scan_stack, . - mcuq_scan_stack

/* ---- faults: report with a fresh stack, for the old one may be what failed ---- */
    .global mcuq_fault_entry
    .type mcuq_fault_entry, %function
    .thumb_func
mcuq_fault_entry:
    mrs r0, msp
    ldr r1, =mcuq_stack_top
    mov sp, r1
    bl mcuq_record_fault
#ifdef MCUQ_CACHES
    bl show_memory_to_host
#endif
    .global mcuq_faulted
    .type mcuq_faulted, %function
    .thumb_func
mcuq_faulted:
    bkpt #0
    b mcuq_faulted
    .size mcuq_fault_entry, . - mcuq_fault_entry

    .balign 4
    .ltorg
