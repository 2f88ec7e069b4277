/* From an accumulator to an output: multiply, shift, saturate. */
#ifndef CX_OUTPUT_H
#define CX_OUTPUT_H

#include "cx_layers.h"
#include "cx_support.h"

/*
 * A layer's output parameters by value: through the layer's pointer they would be loaded anew after
 * every store of a byte, which may alias anything.
 */
typedef struct {
    const int32_t *multiplier;
    const int32_t *offset;
    int32_t pre_shift, shift;
} cx_output;

static inline cx_output cx_output_of(const cx_layer *layer)
{
    const cx_output to = {layer->multiplier, layer->offset, layer->pre_shift, layer->shift};
    return to;
}

/* The output before saturation. */
static inline int32_t cx_scale(int32_t sum, int32_t multiplier, int32_t offset, int32_t pre_shift,
                               int32_t shift)
{
    return cx_smmla((int32_t)((uint32_t)sum << pre_shift), multiplier, offset) >> shift;
}

static inline int32_t cx_finish(cx_output to, int32_t sum, int32_t channel)
{
    return cx_scale(sum, to.multiplier[channel], to.offset[channel], to.pre_shift, to.shift);
}

#endif
