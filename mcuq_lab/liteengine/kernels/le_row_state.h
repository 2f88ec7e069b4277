/* What stays the same in one call of the row polynomial's driver, and how it turns to another pair of
 * output channels. */
#ifndef LE_ROW_STATE_H
#define LE_ROW_STATE_H

#include "le_row_polynomial.h"

/* Of the driver alone; files that see the header and do not call it are no mistake. */
#define LE_ROW_PART static __attribute__((unused))

enum { LE_ROW_MOST_RUNS = 10 }; /* in one call of the tile function */

/* What stays the same for one call of the layer. */
typedef struct {
    const le_row_layer *layer;
    const le_row_kernel *kernel;
    uint8_t *out;
    le_row_chain *chains; /* one for each pass, see le_row_passes                         */
    uint8_t *a;          /* entries                                                       */
    uint32_t *w;         /* weight words of two output channels                           */
    uint8_t *line;       /* pixels of incomplete blocks, two bytes each, row by row of a batch */
    uint8_t *pad;        /* one pixel of padding                                          */
    uint32_t line_bytes; /* of one row                                                    */
    uint32_t out_storage, out_pixel_bytes, out_row_bytes;
    uint32_t channel;     /* the first of two                                             */
    uint32_t two_bytes;   /* 1: the two channels take a byte each                         */
    uint32_t kept;        /* bits of a byte that do not belong to the two channels        */
    le_row_call call;
    le_row_run *runs; /* `layer->runs` of them */
#if UINTPTR_MAX > UINT32_MAX
    le_row_run wide[LE_ROW_MOST_RUNS]; /* their place where pointers are wider than planned for */
#endif
} le_row_state;

/* Runs of neighbouring tiles of two rows: one for each segment, unless a tile runs them all. */
LE_INLINE uint32_t le_row_passes(const le_row_state *state) {
    return state->kernel->nested ? 1u : state->layer->segment_count;
}

/* One number of `le_row_layer.starts`. */
LE_INLINE int32_t le_row_start_number(const le_row_layer *layer, uint32_t index) {
    const uint8_t *numbers = layer->starts;
    return layer->start_bytes == 1 ? numbers[index] : (int32_t)le_load32(numbers + 4 * index);
}

/* What the start values of a channel in one segment are computed from, see le_row_start. */
LE_ROW_PART void le_row_sums(const le_row_layer *layer, int32_t values[6], uint32_t channel,
                              uint32_t segment) {
    const uint32_t index = (channel * layer->segment_count + segment) * layer->start_values;
    values[0] = le_row_start_number(layer, index) * layer->start_unit;
    values[1] = le_row_start_number(layer, index + 1) * layer->start_unit;
    if (layer->start_values > 2) {
        for (uint32_t i = 2; i < layer->start_values; ++i) {
            values[i] = le_row_start_number(layer, index + i) + layer->sum_base;
        }
        values[5] = layer->segments[segment].zero_point;
    }
}

/* Prepares the call and all segments for output channels `channel` and `channel` + 1. */
LE_ROW_PART void le_row_prepare(le_row_state *state, uint32_t channel) {
    const le_row_layer *layer = state->layer;
    le_row_call *call = &state->call;
    state->channel = channel;
    state->kept = state->out_storage == 2 && channel % 4 != 0 ? 0x0F : 0;
    state->two_bytes = state->out_storage == 8 && channel + 1 < layer->out_c;
    call->multiplier0 = layer->multipliers[channel];
    call->offset0 = le_column_value(&layer->offsets, channel);
    call->multiplier1 = layer->multipliers[channel + 1];
    call->offset1 = le_column_value(&layer->offsets, channel + 1);
    call->upper = state->kept;
    call->surplus[0] = call->surplus[1] = 0;
    if (layer->surplus.bytes != 0) {
        call->surplus[0] = (uint32_t)le_column_value(&layer->surplus, channel);
        call->surplus[1] = (uint32_t)le_column_value(&layer->surplus, channel + 1);
    }
    le_row_chain *chain = state->chains;
    le_row_kept *kept = (le_row_kept *)chain->sums;
    for (uint32_t i = 0; i < layer->segment_count; ++i) {
        int32_t low[6], high[6];
        le_row_sums(layer, low, channel, i);
        le_row_sums(layer, high, channel + 1, i);
        state->kernel->start(chain, low, high, layer);
        if (!state->kernel->nested) {
            ++chain;
            continue;
        }
        kept->next[0] = chain->next[0];
        kept->next[1] = chain->next[2];
        call->surplus[0] += chain->first[0] - chain->next[0];
        call->surplus[1] += chain->first[2] - chain->next[2];
        ++kept;
    }
}

#endif
