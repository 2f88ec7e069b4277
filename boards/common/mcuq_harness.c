/* Obeys the mailbox: runs the network on inputs in RAM and notes outputs, cycles, memory use. */
#include <stddef.h>

#include "mcuq_harness.h"
#include "mcuq_mailbox.h"

/* The network (see the contract in mcuq_lab/sources.py). */
extern uint8_t mcuq_arena[];
extern void (*const mcuq_layers[])(void);
void mcuq_invoke(const uint8_t *input, uint8_t *output);

/* From the linker script. */
extern uint32_t mcuq_guard_end[];
extern uint32_t mcuq_stack_bottom[];
extern uint32_t mcuq_stack_top[];
extern const uint32_t mcuq_vectors[];
extern const uint32_t mcuq_image_end[];

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void mcuq_serve(void);
void mcuq_record_fault(const uint32_t *sp);

__attribute__((section(".mailbox"), used)) struct mcuq_mailbox mcuq_mailbox;

/* Two paints that differ in every byte, used in turn: a byte that happens to be written with one
 * paint's value is seen under the other. */
static const uint32_t paints[2] = {0xA5A5A5A5U, 0x5A5A5A5AU};

static void paint_arena(uint32_t paint)
{
    for (uint32_t *word = (uint32_t *)mcuq_arena; word < mcuq_guard_end; ++word) {
        *word = paint;
    }
}

/* Offset behind the highest byte of arena and guard that is not paint. */
static uint32_t scan_arena(uint32_t paint)
{
    const uint32_t *word = mcuq_guard_end;
    while ((const uint8_t *)word > mcuq_arena && word[-1] == paint) {
        --word;
    }
    const uint8_t *end = (const uint8_t *)word;
    while (end > mcuq_arena && end[-1] == (uint8_t)paint) {
        --end;
    }
    return (uint32_t)(end - mcuq_arena);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* One inference between paint and scan. The input is in its slot before the clock starts and the
 * output leaves it after the clock stops: the host's traffic is not the network's latency. */
static void infer(struct mcuq_mailbox *box, uint32_t index)
{
    const struct mcuq_model_info *info = &mcuq_model_info;
    const uint32_t paint = paints[(index + (box->command == MCUQ_COMMAND_PROFILE)) & 1U];
    uint8_t *const input = mcuq_arena + info->input_offset;
    uint8_t *const output = mcuq_arena + info->output_offset;
    uint32_t *const cycles = (uint32_t *)box->cycles;

    if (box->inputs != 0) {
        paint_arena(paint);
        memcpy(input, (const uint8_t *)box->inputs + index * info->input_bytes, info->input_bytes);
    }
    mcuq_paint_stack(paint);
    if (box->command == MCUQ_COMMAND_PROFILE) {
        for (uint32_t layer = 0; layer < info->layer_count; ++layer) {
            cycles[layer] =
                mcuq_timed_call((const void *)mcuq_layers[layer], 0, 0) - box->overhead_cycles;
        }
    } else {
        cycles[index] =
            mcuq_timed_call((const void *)mcuq_invoke, input, output) - box->overhead_cycles;
    }
    box->stack_bytes = larger(box->stack_bytes, mcuq_scan_stack(paint));
    box->arena_touched_bytes = larger(box->arena_touched_bytes, scan_arena(paint));
    if (box->outputs != 0) {
        memcpy((uint8_t *)box->outputs + index * info->output_bytes, output, info->output_bytes);
    }
}

/* An odd factor, so that no change of one word goes unseen; 64 bits, so that changes of the same top
 * bit in two words do not cancel. */
static uint64_t checksum(void)
{
    uint64_t sum = 0;
    for (const uint32_t *word = mcuq_vectors; word < mcuq_image_end; ++word) {
        sum = sum * MCUQ_CHECKSUM_FACTOR + *word;
    }
    return sum;
}

/* Called by the start-up code, once for each time the host resumes the core. */
void mcuq_serve(void)
{
    struct mcuq_mailbox *const box = &mcuq_mailbox;
    const uint32_t command = box->command;
    if (box->magic != MCUQ_MAGIC || box->version != MCUQ_VERSION) {
        box->status = MCUQ_STATUS_REFUSED;
    } else if (command == MCUQ_COMMAND_CHECK) {
        const uint64_t sum = checksum();
        box->checksum[0] = (uint32_t)sum;
        box->checksum[1] = (uint32_t)(sum >> 32);
        box->status = MCUQ_STATUS_DONE;
    } else if (command == MCUQ_COMMAND_RUN || command == MCUQ_COMMAND_PROFILE) {
        box->arena_touched_bytes = 0;
        box->stack_bytes = 0;
        box->overhead_cycles = mcuq_timed_call((const void *)mcuq_nothing, 0, 0);
        for (uint32_t i = 0; i < box->count; ++i) {
            infer(box, i);
        }
        box->status = MCUQ_STATUS_DONE;
    } else {
        box->status = MCUQ_STATUS_REFUSED;
    }
}

/* Called by the fault entry, on a fresh stack, with the stack pointer of the fault. */
void mcuq_record_fault(const uint32_t *sp)
{
    struct mcuq_mailbox *const box = &mcuq_mailbox;
    const volatile uint32_t *const scb = (const volatile uint32_t *)0xE000ED00U;
    box->cfsr = scb[0x28 / 4];
    box->hfsr = scb[0x2C / 4];
    box->mmfar = scb[0x34 / 4];
    box->bfar = scb[0x38 / 4];
    box->sp = (uint32_t)sp;
    /* The basic frame is r0-r3, r12, lr, pc, xpsr (Armv7-M ARM B1.5.6); when pushing it failed,
     * there is none to read. */
    if (sp >= mcuq_stack_bottom && sp + 8 <= mcuq_stack_top) {
        box->lr = sp[5];
        box->pc = sp[6];
        box->xpsr = sp[7];
    }
    box->status = MCUQ_STATUS_FAULT;
}
