/* What start-up code, harness and model information share. */
#ifndef MCUQ_HARNESS_H
#define MCUQ_HARNESS_H

#include <stdint.h>

struct mcuq_model_info {
    uint32_t input_bytes;
    uint32_t output_bytes;
    uint32_t arena_bytes;
    uint32_t layer_count;
    uint32_t input_offset;  /* of the input tensor in the arena, in bytes  */
    uint32_t output_offset; /* of the output tensor in the arena, in bytes */
};
extern const struct mcuq_model_info mcuq_model_info;

/* Calls function(a, b) between two readings of DWT_CYCCNT and returns their difference. A function
 * that takes no arguments ignores them. */
uint32_t mcuq_timed_call(const void *function, const void *a, const void *b);

/* What mcuq_timed_call calls to learn its own cost. */
void mcuq_nothing(void);

/* Fills the stack below the caller's frame with `paint`. */
void mcuq_paint_stack(uint32_t paint);

/* Bytes from the lowest word of the stack that is not `paint` to the stack's top. */
uint32_t mcuq_scan_stack(uint32_t paint);

#endif
