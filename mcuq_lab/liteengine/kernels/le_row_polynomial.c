/* The driver of the row polynomial: bands of rows, pairs of output channels, pairs of rows. */
#include "le_row_polynomial.h"

/* What stays the same for one call of the layer. */
typedef struct {
    const le_row_layer *layer;
    const le_row_kernel *kernel;
    uint8_t *out;
    le_row_call *calls;    /* one for each segment                                       */
    uint32_t *a;           /* packed rows                                                */
    uint32_t *w;           /* weight words of two output channels                        */
    uint8_t *partial;      /* sums of all segments but the last, or 0                    */
    uint8_t *line;         /* pixels of incomplete blocks, two bytes each, row by row    */
    uint8_t *pad;          /* one pixel of padding                                       */
    uint32_t block_words;  /* from one block to the next                                 */
    uint32_t entries;      /* entries of all blocks                                      */
    uint32_t out_pixel_bytes, out_storage;
    uint32_t garbage;      /* fields of the first block that lie left of the first output */
    uint32_t flushed[4];   /* sums of the last column's outputs, [row][channel]          */
} le_row_state;

static uint32_t le_row_carved(uint8_t **scratch, uint32_t bytes) {
    *scratch += (bytes + 7) & ~7u;
    return bytes;
}

static void le_row_begin(le_row_state *state, uint8_t *scratch) {
    const le_row_layer *layer = state->layer;
    const le_row_kernel *kernel = state->kernel;
    const uint32_t channels = (uint32_t)kernel->a_slices * layer->padded_c;
    const uint32_t columns = (uint32_t)layer->blocks * kernel->pixels;
    const uint32_t in_pixel_bytes = le_pixel_bytes(layer->in_c, kernel->a_storage);

    state->out_storage = le_storage_bits(kernel->out_bits);
    state->out_pixel_bytes = le_pixel_bytes(layer->out_c, state->out_storage);
    state->garbage = 2u - layer->pad_left;
    if (kernel->words == 2) {
        state->block_words = (uint32_t)kernel->unroll * kernel->slots;
        state->entries = (layer->blocks + 1u) * layer->padded_c;
    } else {
        state->block_words = channels * kernel->slots;
        state->entries = layer->blocks * channels;
    }
    state->calls = (le_row_call *)(void *)scratch;
    le_row_carved(&scratch, layer->segment_count * LE_ROW_CALL_BYTES);
    state->a = (uint32_t *)(void *)scratch;
    le_row_carved(&scratch, 4 * state->entries * kernel->slots);
    state->w = (uint32_t *)(void *)scratch;
    le_row_carved(&scratch, 24u * kernel->words * kernel->w_slices * layer->padded_c);
    state->partial = layer->segment_count > 1 ? scratch : 0;
    le_row_carved(&scratch, layer->segment_count > 1 ? 16 * columns : 0);
    state->line = scratch;
    le_row_carved(&scratch, 4 * columns);
    state->pad = scratch;
    for (uint32_t i = 0; i < in_pixel_bytes; ++i) { /* all fields of a byte hold the zero point */
        uint32_t byte = layer->zero_point * (kernel->a_storage == 2   ? 0x55u
                                             : kernel->a_storage == 4 ? 0x11u
                                                                      : 1u);
        state->pad[i] = (uint8_t)byte;
        LE_KEEP_LOOP(i);
    }
}

/* Packs the input rows of the band that begins at output row `y`; the last two rows of the band
 * before are the first two of this one. */
static void le_row_pack_band(const le_row_state *state, const uint8_t *in, uint32_t y) {
    const le_row_layer *layer = state->layer;
    const uint32_t slots = state->kernel->slots;
    const uint32_t row_bytes =
        layer->in_w * le_pixel_bytes(layer->in_c, state->kernel->a_storage);
    uint32_t slot = 0;
    if (y > 0) {
        uint32_t *entry = state->a;
        for (uint32_t i = state->entries; i > 0; --i) {
            uint32_t row0 = entry[slots - 2], row1 = entry[slots - 1];
            entry[0] = row0;
            entry[1] = row1;
            entry += slots;
        }
        slot = 2;
    }
    for (; slot < slots; ++slot) {
        uint32_t row = y + slot - layer->pad_top; /* above the first row: wraps to a large one */
        state->kernel->pack(state->a + slot, row < layer->in_h ? in + row * row_bytes : 0,
                            state->pad, layer);
    }
}

/* Start values of one output channel in one segment: `next` for all blocks but the first. */
static void le_row_start(const le_row_state *state, const int32_t *channel, uint32_t next[2],
                         uint32_t first[2]) {
    const le_row_layer *layer = state->layer;
    const le_row_kernel *kernel = state->kernel;
    const unsigned s = kernel->field_bits;
    const uint64_t k = (uint64_t)(int64_t)channel[0], uppermost = (uint64_t)(int64_t)channel[1];
    const unsigned carried = kernel->words == 2 ? 1 : 2; /* fields taken from the block before */
    const unsigned top = kernel->pixels + carried - 1;
    uint64_t sum = ((k - uppermost) << ((carried - 1) * s)) + (uppermost << (top * s));
    for (unsigned field = carried; field < top; ++field) {
        sum += k << (field * s);
    }
    uint64_t before = uppermost << ((carried - 1) * s); /* what a block before would have carried */
    if (carried == 2) {
        before += k;
    }
    if (layer->segment_words > 2) {
        const uint64_t w2 = (uint64_t)(int64_t)channel[2], w1 = (uint64_t)(int64_t)channel[3];
        const uint64_t w0 = (uint64_t)(int64_t)channel[4];
        if (kernel->toggle) {
            sum += (w2 + (w1 << s) + (carried == 2 ? w0 << 2 * s : w0)) << 31;
        }
        if (carried == 2 && layer->pad_left) {
            before += (w0 * (uint64_t)(uint32_t)channel[5]) << s;
        }
    }
    next[0] = (uint32_t)sum;
    next[1] = (uint32_t)(sum >> 32);
    sum += before;
    first[0] = (uint32_t)sum;
    first[1] = (uint32_t)(sum >> 32);
}

/* Prepares the calls of all segments for output channels `channel` and `channel` + 1. */
static void le_row_prepare(const le_row_state *state, uint32_t channel) {
    const le_row_layer *layer = state->layer;
    const le_row_kernel *kernel = state->kernel;
    const int32_t *low = layer->channels + channel * layer->channel_words;
    const int32_t *high = low + layer->channel_words;
    const uint32_t channel_bytes = 24u * kernel->words;
    for (uint32_t i = 0; i < layer->segment_count; ++i) {
        const le_row_segment *segment = &layer->segments[i];
        const int last = segment->mode == LE_ROW_LAST;
        const uint32_t rounds = segment->entries / kernel->unroll;
        le_row_call *call = &state->calls[i];
        call->multiplier0 = last ? low[0] : low[2];
        call->offset0 = low[1];
        call->multiplier1 = last ? high[0] : high[2];
        call->offset1 = high[1];
        call->w = (const uint8_t *)state->w + segment->w_entry * channel_bytes;
        call->w_end = call->w + segment->entries * channel_bytes;
        call->a_round = 4 * le_row_round_words(layer, kernel->slots, kernel->unroll);
        call->a_skip =
            4 * state->block_words - (kernel->words == 2
                                          ? rounds * call->a_round
                                          : 4u * segment->entries * kernel->slots);
        call->partial = state->partial;
        call->mode = segment->mode;
        call->upper = state->out_storage == 2 && channel % 4 != 0;
        le_row_start(state, low + 3 + i * layer->segment_words, call->next, call->first);
        le_row_start(state, high + 3 + i * layer->segment_words, &call->next[2], &call->first[2]);
    }
}

/* Copies pixel `from` of the line to pixel `x` of output row `out`. */
static void le_row_put(const le_row_state *state, uint8_t *out, const uint8_t *from,
                       uint32_t channel) {
    if (state->out_storage == 8) {
        out[0] = from[0];
        if (channel + 1 < state->layer->out_c) {
            out[1] = from[1];
        }
    } else if (state->out_storage == 2 && channel % 4 != 0) {
        *out |= *from; /* the line's pixels began as 0 */
    } else {
        *out = *from;
    }
}

/* The output of a sum that was carried out of the last block. */
static uint32_t le_row_flushed(const le_row_state *state, uint32_t sum, uint32_t channel) {
    const le_row_kernel *kernel = state->kernel;
    const int32_t *constants =
        state->layer->channels + channel * state->layer->channel_words;
    const int32_t largest = (int32_t)((1u << kernel->out_bits) - 1u);
    int32_t y = le_smmla((int32_t)(sum << kernel->pre_shift), constants[0], constants[1]);
    y >>= kernel->shift;
    return (uint32_t)(y < 0 ? 0 : y > largest ? largest : y);
}

/* Adds what one segment carried to the sums of the last column. */
static void le_row_flush_segment(le_row_state *state, uint32_t channel, uint32_t i,
                                 uint32_t shift) {
    const le_row_layer *layer = state->layer;
    const le_row_call *call = &state->calls[i];
    const uint32_t mask = (1u << state->kernel->field_bits) - 1u;
    for (uint32_t k = 0; k < 4; ++k) {
        const int32_t *constants = layer->channels + (channel + k % 2) * layer->channel_words;
        const int32_t *segment = constants + 3 + i * layer->segment_words;
        uint32_t sum = call->carried[k] & mask;
        if (layer->segment_words > 2) {
            sum += (uint32_t)(segment[2] * segment[5]); /* column 2 sees the padding */
        }
        state->flushed[k] =
            i == 0 ? sum - (uint32_t)(layer->segment_count > 1 ? constants[2] : 0)
                   : (state->flushed[k] << shift) + sum;
    }
}

/* Two output rows from `y` on, of two output channels. */
static void le_row_pair(le_row_state *state, uint32_t y, const uint32_t *entries,
                        uint32_t channel) {
    const le_row_layer *layer = state->layer;
    const le_row_kernel *kernel = state->kernel;
    const uint32_t m = kernel->pixels, blocks = layer->blocks, out_w = layer->out_w;
    const uint32_t rows = y + 1 < layer->out_h ? 2 : 1;
    const uint32_t line_bytes = 2 * blocks * m;
    const uint32_t row_bytes = out_w * state->out_pixel_bytes;
    const int32_t step = (int32_t)state->out_pixel_bytes;
    uint8_t *row0 = state->out + y * row_bytes + channel * state->out_storage / 8;
    uint8_t *row1 = row0 + (rows == 2 ? row_bytes : 0);
    uint8_t *line = state->line;

    /* Blocks whose fields are all outputs go where they belong, others into the line. */
    const int narrow = state->out_storage == 8 && channel + 1 == layer->out_c;
    const uint32_t left = narrow || rows == 1 ? blocks : 1;
    const uint32_t fields = state->garbage + out_w;
    const uint32_t whole = fields / m < blocks ? fields / m : blocks;
    const uint32_t right = whole > left ? whole : left;
    le_row_run runs[3];
    uint32_t run_count = 0;
    for (uint32_t i = 0; i < 3; ++i) {
        uint32_t begin = i == 0 ? 0 : i == 1 ? left : right;
        uint32_t end = i == 0 ? left : i == 1 ? right : blocks;
        if (begin == end) {
            continue;
        }
        le_row_run *run = &runs[run_count++];
        uint32_t skipped = begin * m;
        if (i == 1) {
            run->out0 = row0 + (skipped - state->garbage) * state->out_pixel_bytes;
            run->out1 = row1 + (skipped - state->garbage) * state->out_pixel_bytes;
            run->step0 = run->step1 = step;
        } else {
            run->out0 = line + 2 * skipped;
            run->out1 = run->out0 + line_bytes;
            run->step0 = run->step1 = 2;
        }
        run->a_end = (const uint8_t *)(entries + end * state->block_words);
    }
    if (state->out_storage == 2 && channel % 4 != 0) {
        for (uint32_t i = 0; i < 2 * line_bytes; i += 4) {
            le_store32(line + i, 0);
            LE_KEEP_LOOP(i);
        }
    }

    for (uint32_t i = 0; i < layer->segment_count; ++i) {
        le_row_call *call = &state->calls[i];
        const le_row_segment *segment = &layer->segments[i];
        uint32_t entry = kernel->words == 2 ? segment->a_entry / kernel->unroll *
                                                  (call->a_round / 4)
                                            : (uint32_t)segment->a_entry * kernel->slots;
        le_row_run ends[3]; /* the runs' ends, as this segment counts them */
        for (uint32_t r = 0; r < run_count; ++r) {
            ends[r] = runs[r];
            ends[r].a_end += 4 * entry;
        }
        call->a = (const uint8_t *)(entries + entry);
        call->runs = segment->mode == LE_ROW_LAST ? ends : &ends[run_count - 1];
        call->run_count = segment->mode == LE_ROW_LAST ? run_count : 1;
        kernel->tile(call);
        if (layer->flush) {
            le_row_flush_segment(state, channel, i, segment->shift);
        }
    }

    for (uint32_t r = 0; r < rows; ++r) {
        uint8_t *out = r == 0 ? row0 : row1;
        const uint8_t *from = line + r * line_bytes;
        for (uint32_t f = state->garbage; f < blocks * m && f < fields; ++f) {
            if (f == left * m && right > left) {
                f = right * m;
                if (f >= blocks * m || f >= fields) {
                    break;
                }
            }
            le_row_put(state, out + (f - state->garbage) * state->out_pixel_bytes, from + 2 * f,
                       channel);
        }
        if (layer->flush) {
            uint32_t low = le_row_flushed(state, state->flushed[2 * r], channel);
            uint32_t high = le_row_flushed(state, state->flushed[2 * r + 1], channel + 1);
            uint32_t pair = low | (high << state->out_storage);
            uint8_t pixel[2] = {(uint8_t)pair, (uint8_t)(pair >> 8)};
            if (state->out_storage == 2 && channel % 4 != 0) {
                pixel[0] = (uint8_t)(pair << 4);
            }
            le_row_put(state, out + (out_w - 1) * state->out_pixel_bytes, pixel, channel);
        }
    }
}

LE_INTERNAL void le_row_polynomial(const le_row_layer *layer, const le_row_kernel *kernel,
                                   const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    le_row_state state;
    state.layer = layer;
    state.kernel = kernel;
    state.out = out;
    const uint32_t band = kernel->slots - 2u;
    le_row_begin(&state, scratch);
    for (uint32_t y = 0; y < layer->out_h; y += band) {
        const uint8_t *weights = layer->weights;
        le_row_pack_band(&state, in, y);
        for (uint32_t channel = 0; channel < layer->out_c; channel += 2) {
            kernel->unpack(state.w, weights, layer);
            weights += layer->pair_bytes;
            le_row_prepare(&state, channel);
            for (uint32_t row = 0; row < band && y + row < layer->out_h; row += 2) {
                le_row_pair(&state, y + row, state.a + row, channel);
            }
        }
    }
}
