/* From an accumulator to an output. */
#ifndef CN_OUTPUT_H
#define CN_OUTPUT_H

#include "cn_layers.h"
#include "cn_support.h"

/*
 * A layer's output parameters by value: through the layer's pointer they would be loaded anew after
 * every store of an int8, which may alias anything.
 */
typedef struct {
    const int32_t *multiplier;
    const int32_t *shift;
    int32_t offset, min, max;
} cn_output;

static inline cn_output cn_output_of(const cn_layer *layer)
{
    const cn_output to = {layer->multiplier, layer->shift, layer->out_offset, layer->act_min,
                          layer->act_max};
    return to;
}

static inline int8_t cn_scale(cn_output to, int32_t sum, int32_t multiplier, int32_t shift)
{
    return cn_clamp(cn_requantize(sum, multiplier, shift) + to.offset, to.min, to.max);
}

static inline int8_t cn_finish(cn_output to, int32_t sum, int32_t channel)
{
    return cn_scale(to, sum, to.multiplier[channel], to.shift[channel]);
}

#endif
