/* The driver of the row polynomial: bands of rows, pairs of output channels, pairs of rows. */
#include "le_row_polynomial.h"

/* What stays the same for one call of the layer. */
typedef struct {
    const le_row_layer *layer;
    const le_row_kernel *kernel;
    uint8_t *out;
    le_row_call *calls;  /* one for each segment                                          */
    uint8_t *a;          /* entries                                                       */
    uint32_t *w;         /* weight words of two output channels                           */
    uint8_t *line;       /* pixels of incomplete blocks, two bytes each, row by row       */
    uint8_t *pad;        /* one pixel of padding                                          */
    uint32_t line_bytes; /* of one row                                                    */
    uint32_t out_storage, out_pixel_bytes, out_row_bytes;
    uint32_t flushed[4]; /* sums of the last column's outputs, [row][channel]             */
} le_row_state;

static uint8_t *le_row_carve(uint8_t **scratch, uint32_t bytes) {
    uint8_t *block = *scratch;
    *scratch += (bytes + 7) & ~7u;
    return block;
}

static void le_row_begin(le_row_state *state, uint8_t *scratch) {
    const le_row_layer *layer = state->layer;
    const le_row_kernel *kernel = state->kernel;
    const uint32_t columns = (uint32_t)layer->blocks * kernel->pixels;
    const uint32_t segments = layer->segment_count;
    state->out_storage = le_storage_bits(kernel->out_bits);
    state->out_pixel_bytes = le_pixel_bytes(layer->out_c, state->out_storage);
    state->out_row_bytes = layer->out_w * state->out_pixel_bytes;
    state->line_bytes = 2 * columns;
    state->calls = (le_row_call *)(void *)le_row_carve(&scratch, segments * LE_ROW_CALL_BYTES);
    state->a = le_row_carve(&scratch, layer->a_bytes);
    state->w = (uint32_t *)(void *)le_row_carve(&scratch, layer->w_bytes);
    uint8_t *partial = le_row_carve(&scratch, segments > 1 ? 16 * columns : 0);
    state->line = le_row_carve(&scratch, 2 * state->line_bytes);
    state->pad = scratch;
    for (uint32_t i = 0; i < segments; ++i) { /* what is the same for all output channels */
        const le_row_segment *segment = &layer->segments[i];
        le_row_call *call = &state->calls[i];
        call->w = (const uint8_t *)state->w + segment->w_offset;
        call->w_end = call->w + segment->w_bytes;
        call->a_skip = segment->a_skip;
        call->a_round = layer->round_bytes;
        call->partial = segments > 1 ? partial : 0;
        call->mode = segment->mode;
    }
    for (uint32_t i = 0; i < le_pixel_bytes(layer->in_c, kernel->a_storage); ++i) {
        uint32_t byte = layer->zero_point * (kernel->a_storage == 2   ? 0x55u
                                             : kernel->a_storage == 4 ? 0x11u
                                                                      : 1u);
        state->pad[i] = (uint8_t)byte; /* all fields of a byte hold the zero point */
        LE_KEEP_LOOP(i);
    }
}

/* Packs input channels `first` and up of the band that begins at output row `y`; the last two rows
 * of the band before are the first two of this one. */
static void le_row_pack_band(const le_row_state *state, const uint8_t *in, uint32_t y,
                             uint32_t first) {
    const le_row_layer *layer = state->layer;
    const le_row_kernel *kernel = state->kernel;
    const uint32_t slots = kernel->slots;
    const uint32_t row_bytes = layer->in_w * le_pixel_bytes(layer->in_c, kernel->a_storage);
    const uint32_t byte = first * kernel->a_storage / 8;
    const uint32_t left = layer->in_c - first;
    uint32_t *entries = (uint32_t *)(void *)state->a;
    uint32_t slot = 0;
    if (y > 0) {
        uint32_t *entry = entries;
        const uint32_t *end = entry + layer->a_bytes / 4;
        while (entry != end) {
            uint32_t row0 = entry[slots - 2], row1 = entry[slots - 1];
            entry[0] = row0;
            entry[1] = row1;
            entry += slots;
        }
        slot = 2;
    }
    for (; slot < slots; ++slot) {
        uint32_t row = y + slot - layer->pad_top; /* above the first row: wraps to a large one */
        kernel->pack(entries + slot, row < layer->in_h ? in + row * row_bytes + byte : 0,
                     state->pad + byte, left < layer->group ? left : layer->group, layer);
    }
}

/* Prepares the calls of all segments for output channels `channel` and `channel` + 1. */
static void le_row_prepare(const le_row_state *state, uint32_t channel) {
    const le_row_layer *layer = state->layer;
    const int32_t *low = layer->channels + channel * layer->channel_words;
    const int32_t *high = low + layer->channel_words;
    const int32_t *low_start = low + 3, *high_start = high + 3;
    for (uint32_t i = 0; i < layer->segment_count; ++i) {
        le_row_call *call = &state->calls[i];
        const int last = call->mode == LE_ROW_LAST;
        call->multiplier0 = last ? low[0] : low[2];
        call->offset0 = low[1];
        call->multiplier1 = last ? high[0] : high[2];
        call->offset1 = high[1];
        call->upper = state->out_storage == 2 && channel % 4 != 0;
        state->kernel->start(call, low_start, high_start, layer);
        low_start += layer->segment_words;
        high_start += layer->segment_words;
    }
}

/* Copies `count` pixels of the line to an output row. */
static void le_row_copy(const le_row_state *state, uint8_t *out, const uint8_t *from,
                        uint32_t count, uint32_t channel) {
    const uint32_t step = state->out_pixel_bytes;
    const int upper = state->out_storage == 2 && channel % 4 != 0;
    const int two = state->out_storage == 8 && channel + 1 < state->layer->out_c;
    for (; count > 0; --count) {
        uint32_t byte = from[0];
        if (upper) {
            byte |= *out; /* the line's pixels began as 0 */
        } else if (two) {
            out[1] = from[1];
        }
        out[0] = (uint8_t)byte;
        out += step;
        from += 2;
    }
}

/* Adds what one segment carried to the sums of the last column. */
static void le_row_flush_segment(le_row_state *state, uint32_t channel, uint32_t i) {
    const le_row_layer *layer = state->layer;
    const uint32_t mask = (1u << state->kernel->field_bits) - 1u;
    for (uint32_t k = 0; k < 4; ++k) {
        const int32_t *constants = layer->channels + (channel + k % 2) * layer->channel_words;
        const int32_t *start = constants + 3 + i * layer->segment_words;
        uint32_t sum = state->calls[i].carried[k] & mask;
        if (layer->segment_words > 2) {
            sum += (uint32_t)(start[2] * start[5]); /* column 2 sees the padding */
        }
        state->flushed[k] = i == 0 ? sum - (layer->segment_count > 1 ? (uint32_t)constants[2] : 0)
                                   : (state->flushed[k] << layer->segments[i].shift) + sum;
    }
}

/* Writes the last column's two channels of one row to `out`. */
static void le_row_flush(const le_row_state *state, uint8_t *out, const uint32_t sums[2],
                         uint32_t channel) {
    const le_row_kernel *kernel = state->kernel;
    const int32_t largest = (int32_t)((1u << kernel->out_bits) - 1u);
    uint32_t pair = 0;
    for (uint32_t k = 0; k < 2; ++k) {
        const int32_t *constants = state->layer->channels +
                                   (channel + k) * state->layer->channel_words;
        int32_t y = le_smmla((int32_t)(sums[k] << kernel->pre_shift), constants[0], constants[1]);
        y >>= kernel->shift;
        pair |= (uint32_t)(y < 0 ? 0 : y > largest ? largest : y) << (k * state->out_storage);
    }
    if (state->out_storage == 2 && channel % 4 != 0) {
        pair <<= 4;
    }
    uint8_t pixel[2] = {(uint8_t)pair, (uint8_t)(pair >> 8)};
    le_row_copy(state, out, pixel, 1, channel);
}

/* Two output rows from `y` on, of two output channels; `a` are their entries. */
static void le_row_pair(le_row_state *state, uint32_t y, const uint8_t *a, uint32_t channel) {
    const le_row_layer *layer = state->layer;
    const uint32_t m = state->kernel->pixels, step = state->out_pixel_bytes;
    const int one_row = y + 1 == layer->out_h;
    const int narrow = state->out_storage == 8 && channel + 1 == layer->out_c;
    const uint32_t lead = layer->lead;
    uint8_t *row0 = state->out + y * state->out_row_bytes + channel * state->out_storage / 8;
    uint8_t *row1 = row0 + (one_row ? 0 : state->out_row_bytes);
    uint8_t *line = state->line;

    /* Blocks that hold nothing but outputs write them where they belong, others into the line. */
    const uint32_t left = one_row || narrow ? layer->blocks : layer->left;
    const uint32_t right = one_row || narrow ? layer->blocks : layer->right;
    if (state->out_storage == 2 && channel % 4 != 0) {
        for (uint32_t i = 0; i < 2 * state->line_bytes; i += 4) {
            le_store32(line + i, 0);
            LE_KEEP_LOOP(i);
        }
    }
    const uint8_t *start = a + layer->segments[layer->segment_count - 1].a_offset;
    const uint8_t *end = start + layer->blocks * layer->block_bytes;
    le_row_run runs[3];
    le_row_run *run = runs;
    run->out0 = line;
    run->out1 = line + state->line_bytes;
    run->step0 = run->step1 = 2;
    run->a_end = start + left * layer->block_bytes;
    ++run;
    if (left < right) {
        run->out0 = row0 + (left * m - lead) * step;
        run->out1 = row1 + (left * m - lead) * step;
        run->step0 = run->step1 = (int32_t)step;
        run->a_end = start + right * layer->block_bytes;
        ++run;
    }
    if (right < layer->blocks) {
        run->out0 = line + 2 * right * m;
        run->out1 = run->out0 + state->line_bytes;
        run->step0 = run->step1 = 2;
        run->a_end = end;
        ++run;
    }

    for (uint32_t i = 0; i < layer->segment_count; ++i) {
        le_row_call *call = &state->calls[i];
        le_row_run all;
        call->a = a + layer->segments[i].a_offset;
        if (call->mode == LE_ROW_LAST) {
            call->runs = runs;
            call->run_count = (uint32_t)(run - runs);
        } else {
            all.a_end = call->a + layer->blocks * layer->block_bytes;
            call->runs = &all;
            call->run_count = 1;
        }
        state->kernel->tile(call);
        if (layer->flush) {
            le_row_flush_segment(state, channel, i);
        }
    }

    const uint32_t fields = lead + layer->out_w - layer->flush; /* up to the last output */
    const uint32_t first_end = left * m < fields ? left * m : fields;
    for (uint32_t r = 0; r < 2; ++r) {
        uint8_t *out = r == 0 ? row0 : row1;
        le_row_copy(state, out, line + 2 * lead, first_end - lead, channel);
        if (right * m < fields) {
            le_row_copy(state, out + (right * m - lead) * step, line + 2 * right * m,
                        fields - right * m, channel);
        }
        if (layer->flush) {
            le_row_flush(state, out + (layer->out_w - 1u) * step, &state->flushed[2 * r], channel);
        }
        if (one_row) {
            break;
        }
        line += state->line_bytes;
    }
}

LE_INTERNAL void le_row_polynomial(const le_row_layer *layer, const le_row_kernel *kernel,
                                   const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    const uint32_t band = kernel->slots - 2u;
    le_row_state state;
    state.layer = layer;
    state.kernel = kernel;
    state.out = out;
    le_row_begin(&state, scratch);
    for (uint32_t first = 0; first < layer->in_c; first += layer->group) {
        uint32_t begin = kernel->depthwise ? first : 0;
        uint32_t end = layer->out_c;
        if (kernel->depthwise && first + layer->group < end) {
            end = first + layer->group;
        }
        for (uint32_t y = 0; y < layer->out_h; y += band) {
            const uint8_t *a = state.a;
            const uint8_t *weights = layer->weights + begin / 2 * layer->pair_bytes;
            le_row_pack_band(&state, in, y, first);
            for (uint32_t channel = begin; channel < end; channel += 2) {
                kernel->unpack(state.w, weights, layer);
                weights += layer->pair_bytes;
                le_row_prepare(&state, channel);
                for (uint32_t row = 0; row < band && y + row < layer->out_h; row += 2) {
                    le_row_pair(&state, y + row, a + 4 * row, channel);
                }
                if (kernel->depthwise) {
                    a += layer->round_bytes;
                }
            }
        }
    }
}
