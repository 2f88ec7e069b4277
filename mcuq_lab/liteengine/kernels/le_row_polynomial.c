/* The driver of the row polynomial: bands of rows, pairs of output channels, pairs of rows. */
#include "le_row_state.h"

static uint8_t *le_row_carve(uint8_t **scratch, uint32_t bytes) {
    uint8_t *block = *scratch;
    *scratch += (bytes + 7) & ~7u;
    return block;
}

static void le_row_begin(le_row_state *state, uint8_t *scratch) {
    const le_row_layer *layer = state->layer;
    const le_row_kernel *kernel = state->kernel;
    const uint32_t columns = (uint32_t)layer->tiles * kernel->pixels;
    const uint32_t segments = layer->segment_count, passes = le_row_passes(state);
    state->out_storage = le_storage_bits(kernel->out_bits);
    state->out_pixel_bytes = le_pixel_bytes(layer->out_c, state->out_storage);
    state->out_row_bytes = layer->out_w * state->out_pixel_bytes;
    state->line_bytes = 2 * columns;
    state->chains = (le_row_chain *)(void *)le_row_carve(&scratch, passes * LE_ROW_CHAIN_BYTES);
    state->a = le_row_carve(&scratch, layer->a_bytes);
    state->w = (uint32_t *)(void *)le_row_carve(&scratch, layer->w_bytes);
    uint8_t *sums = le_row_carve(
        &scratch,
        kernel->nested ? segments * LE_ROW_KEPT_BYTES : (segments - 1) * layer->tiles * 32);
    state->line = le_row_carve(&scratch, layer->batch * 2 * state->line_bytes);
    state->runs = (le_row_run *)(void *)le_row_carve(&scratch, layer->runs * LE_ROW_RUN_BYTES);
#if UINTPTR_MAX > UINT32_MAX
    state->runs = state->wide;
#endif
    state->pad = scratch;
    if (layer->pad_blocks > 0) { /* the first and the last block, which rows may overwrite */
        uint32_t *range = (uint32_t *)(void *)state->a;
        for (uint32_t i = layer->a_bytes; i > 0; i -= layer->range_bytes) {
            uint32_t *last = range + (layer->range_bytes - layer->block_bytes) / 4;
            for (uint32_t k = 0; k < layer->block_bytes / 4; ++k) {
                range[k] = layer->pad_word;
                last[k] = layer->pad_word;
                LE_KEEP_LOOP(k);
            }
            range += layer->range_bytes / 4;
        }
    }
    for (uint32_t i = 0; kernel->nested && i < segments; ++i) {
        const le_row_segment *segment = &layer->segments[i];
        ((le_row_kept *)(void *)sums)[i].w_end =
            (const uint8_t *)state->w + segment->w_offset + segment->w_bytes;
    }
    for (uint32_t i = 0; i < passes; ++i) { /* what is the same for all output channels */
        const le_row_segment *segment = &layer->segments[i];
        le_row_chain *chain = &state->chains[i];
        chain->w = (const uint8_t *)state->w + segment->w_offset;
        chain->w_bytes = segment->w_bytes;
        chain->a_skip = segment->a_skip;
        chain->is_last = i + 1 == passes;
        chain->sums = (uint32_t *)(void *)sums + (chain->is_last ? 0 : 8 * i);
    }
    for (uint32_t i = 0; i < le_pixel_bytes(layer->in_c, kernel->a_storage); ++i) {
        uint32_t byte = layer->zero_point * (kernel->a_storage == 2   ? 0x55u
                                             : kernel->a_storage == 4 ? 0x11u
                                                                      : 1u);
        state->pad[i] = (uint8_t)byte; /* all fields of a byte hold the zero point */
        LE_KEEP_LOOP(i);
    }
}

/* Output rows of a band; its last `3 - stride` input rows are the first ones of the band behind. */
LE_INLINE uint32_t le_row_band(const le_row_kernel *kernel) {
    return (kernel->slots - 3u) / kernel->stride + 1;
}

/* Packs input channels `first` and up of the band that begins at output row `y`. */
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
        if (kernel->stride == 2) {
            while (entry != end) {
                entry[0] = entry[slots - 1];
                entry += slots;
            }
        } else {
            while (entry != end) {
                uint32_t row0 = entry[slots - 2], row1 = entry[slots - 1];
                entry[0] = row0;
                entry[1] = row1;
                entry += slots;
            }
        }
        slot = 3u - kernel->stride;
    }
    for (; slot < slots; ++slot) {
        /* above the first row: wraps to a large one */
        uint32_t row = y * kernel->stride + slot - layer->pad_top;
        kernel->pack(entries + slot, row < layer->in_h ? in + row * row_bytes + byte : 0,
                     state->pad + byte, left < layer->group ? left : layer->group, layer);
    }
}

/* Copies `count` pixels of the line to an output row. */
static void le_row_copy(const le_row_state *state, uint8_t *out, const uint8_t *from,
                        uint32_t count) {
    const uint32_t step = state->out_pixel_bytes;
    const uint32_t kept = state->kept; /* bits of a byte that hold other channels */
    for (; count > 0; --count) {
        if (state->two_bytes) {
            out[1] = from[1];
        }
        out[0] = (uint8_t)(kept == 0 ? from[0] : (*out & kept) | from[0]);
        out += step;
        from += 2;
    }
}

/* Writes the last column's two channels of both rows (of one row: out0 == out1): the sums of all
 * segments, what each has carried behind its run, and what the padding adds to it. `run` is that of
 * the first segment, `last` that of the last one. */
static void le_row_flush(const le_row_state *state, const le_row_run *run, const le_row_run *last,
                         uint8_t *out0, uint8_t *out1) {
    const le_row_layer *layer = state->layer;
    const uint32_t mask = (1u << state->kernel->field_bits) - 1u;
    const int nested = state->kernel->nested;
    const le_row_kept *kept = (const le_row_kept *)state->chains->sums;
    uint32_t sums[4] = {0, 0, 0, 0}, pairs[2];
    uint32_t begin = 0;
    if (layer->segment_count == 1 && layer->zero_point == 0) { /* in a few instructions */
#pragma GCC unroll 4
        for (unsigned k = 0; k < 4; ++k) {
            sums[k] = last->carried[k] & mask;
        }
        begin = 1;
    }
    for (uint32_t i = begin; i < layer->segment_count; ++i) {
        const uint32_t shift = layer->segments[i].shift;
        const uint32_t *carried = (i + 1u < layer->segment_count ? run : last)->carried;
        uint32_t more[2] = {0, 0}, bits = mask;
        if (nested) { /* what is carried are whole sums, without the segments' start values */
            carried = last->carried;
            bits = i == 0 ? ~0u : 0;
            more[0] = kept[i].next[0] & mask;
            more[1] = kept[i].next[1] & mask;
        }
        if (layer->zero_point != 0) { /* column 2 sees the padding */
            for (uint32_t oc = 0; oc < 2; ++oc) {
                int32_t values[6] = {0, 0, 0, 0, 0, 0};
                le_row_sums(layer, values, state->channel + oc, i);
                more[oc] += (uint32_t)(values[2] * values[5]);
            }
        }
#pragma GCC unroll 4
        for (unsigned k = 0; k < 4; ++k) {
            sums[k] = (sums[k] << shift) + (carried[k] & bits) + more[k % 2];
        }
        run += nested ? 0 : 1;
    }
    if (layer->surplus.bytes != 0) {
#pragma GCC unroll 4
        for (unsigned k = 0; k < 4; ++k) {
            sums[k] -= state->call.surplus[k % 2];
        }
    }
    state->kernel->requantize(&state->call, sums, pairs);
    if (out0 == out1) {
        pairs[1] = pairs[0];
    }
    if (state->two_bytes) {
        le_store16(out0, pairs[0]);
        le_store16(out1, pairs[1]);
    } else if (state->kept != 0) {
        *out0 = (uint8_t)((*out0 & state->kept) | (pairs[0] << 4));
        *out1 = (uint8_t)((*out1 & state->kept) | (pairs[1] << 4));
    } else {
        *out0 = (uint8_t)pairs[0];
        *out1 = (uint8_t)pairs[1];
    }
}

/* Fills in the runs of one way to write two rows of one segment; returns the run behind. */
static le_row_run *le_row_plan_runs(const le_row_state *state, le_row_run *run,
                                    const le_row_chain *chain, uint8_t *row0, uint8_t *row1,
                                    uint8_t *line, const uint8_t *a, uint32_t way) {
    const le_row_plan *plan = state->layer->plans[way];
    const uint8_t *w = chain->w, *w_end = w + chain->w_bytes, *begin = a;
    for (uint32_t left = state->layer->plan_runs[way]; left > 0; --left) {
        uint8_t *out0 = plan->to_line ? line : row0;
        uint8_t *out1 = plan->to_line ? line + state->line_bytes : row1;
        const int32_t step = plan->to_line ? 2 : (int32_t)state->out_pixel_bytes;
        run->a = begin;
        run->chain = chain;
        run->w = w + plan->w_front;
        run->w_end = w_end - plan->w_back;
        run->out0 = out0 + plan->out;
        run->out1 = out1 + plan->out;
        run->step0 = run->step1 = step;
        run->a_end = a + plan->a_end;
        run->rows_bytes = 2 * (plan->to_line ? state->line_bytes : state->out_row_bytes);
        begin = 0;
        ++plan;
        ++run;
    }
    return run;
}

static void le_row_run_tiles(le_row_state *state, const le_row_run *end) {
    state->call.runs = state->runs;
    state->call.run_count = (uint32_t)(end - state->runs);
    state->kernel->tile(&state->call);
}

/* Plans, or runs where there are too many, all segments of two rows from run `run` on; the last
 * one writes their pixels. Returns the run behind those that are still to be run. */
static le_row_run *le_row_segments(le_row_state *state, le_row_run *run, uint8_t *row0,
                                   uint8_t *row1, uint8_t *line, const uint8_t *a, uint32_t way) {
    const le_row_layer *layer = state->layer;
    const uint32_t passes = le_row_passes(state);
    for (uint32_t i = 0; i < passes; ++i) {
        const le_row_chain *chain = &state->chains[i];
        const uint32_t chosen = chain->is_last ? way : LE_ROW_LINE;
        if (run + layer->plan_runs[chosen] > state->runs + layer->runs) {
            le_row_run_tiles(state, run);
            run = state->runs;
        }
        run = le_row_plan_runs(state, run, chain, row0, row1, line,
                               a + layer->segments[i].a_offset, chosen);
    }
    return run;
}

/* Plans runs `from` to `run` again, for the two rows above; returns the run behind. */
static le_row_run *le_row_plan_above(le_row_run *run, const le_row_run *from,
                                     uint32_t entry_bytes) {
    const le_row_run *end = run;
    while (from != end) {
        run->a = from->a ? from->a - entry_bytes : 0;
        run->chain = from->chain;
        run->w = from->w;
        run->w_end = from->w_end;
        run->out0 = from->out0 - from->rows_bytes;
        run->out1 = from->out1 - from->rows_bytes;
        run->step0 = from->step0;
        run->step1 = from->step1;
        run->a_end = from->a_end - entry_bytes;
        run->rows_bytes = from->rows_bytes;
        ++from;
        ++run;
    }
    return run;
}

/* Clears the fields of tiles `begin` to `end` in `rows` rows of the line. */
static void le_row_clear(const le_row_state *state, uint32_t begin, uint32_t end, uint32_t rows) {
    const uint32_t bytes = 2 * state->kernel->pixels;
    uint8_t *line = state->line;
    for (; rows > 0; --rows) {
        for (uint32_t i = begin * bytes; i < end * bytes; i += 2) {
            le_store16(line + i, 0);
            LE_KEEP_LOOP(i);
        }
        line += state->line_bytes;
    }
}

/* Clears what of two rows goes through the line: the first `left` tiles, and those from `right` on.
 * Not inlined: layers whose pixels are not merged do without the registers it takes. */
__attribute__((noinline)) static void le_row_clear_edges(const le_row_state *state, uint32_t left) {
    const uint32_t tiles = state->layer->tiles, right = state->layer->right;
    le_row_clear(state, 0, left, 2);
    le_row_clear(state, left <= right ? right : tiles, tiles, 2);
}

/* Copies the outputs of tiles `begin` to `end` of one row from the line. */
static void le_row_fetch(const le_row_state *state, uint8_t *out, const uint8_t *line,
                         uint32_t begin, uint32_t end) {
    const le_row_layer *layer = state->layer;
    const uint32_t m = state->kernel->pixels, lead = layer->lead;
    const uint32_t fields = lead + layer->out_w - layer->flush; /* up to the last output */
    const uint32_t first = begin * m > lead ? begin * m : lead;
    const uint32_t last = end * m < fields ? end * m : fields;
    le_row_copy(state, out + (first - lead) * state->out_pixel_bytes, line + 2 * first,
                last - first);
}

/* Two output rows of two channels, of which the pixels at the edges, or all, take the way through
 * the line; `a` are their entries. */
static void le_row_through_line(le_row_state *state, uint8_t *row0, uint8_t *row1,
                                const uint8_t *a, uint32_t way) {
    const uint32_t tiles = state->layer->tiles, right = state->layer->right;
    const uint32_t left = way == LE_ROW_LINE || right == 0 ? tiles : 1;
    if (state->kept != 0) { /* the tile function merges pixels with what is there */
        le_row_clear_edges(state, left);
    }
    const le_row_run *end = le_row_segments(state, state->runs, row0, row1, state->line, a, way);
    le_row_run_tiles(state, end);
    const uint8_t *line = state->line;
    for (uint32_t r = 0; r < 2; ++r) {
        uint8_t *out = r == 0 ? row0 : row1;
        le_row_fetch(state, out, line, 0, left);
        if (left <= right && right < tiles) {
            le_row_fetch(state, out, line, right, tiles);
        }
        line += state->line_bytes;
        if (row1 == row0) {
            break;
        }
    }
    if (state->layer->flush) {
        const uint32_t last = (state->layer->out_w - 1u) * state->out_pixel_bytes;
        le_row_flush(state, state->runs, end - 1, row0 + last, row1 + last);
    }
}

/* `pairs` times two output rows, from row0 on, where the pixels in front of a row, if the first
 * tile yields them, may be written. They go from the lowest rows up: what a row writes to the pixel
 * in front of it, the last one of the row above, is then overwritten, but for the uppermost row,
 * where what was there is put back. */
static void le_row_direct(le_row_state *state, uint8_t *row0, const uint8_t *a,
                          uint32_t pairs) {
    const le_row_layer *layer = state->layer;
    const uint32_t row_bytes = state->out_row_bytes, passes = le_row_passes(state);
    const uint32_t entry_bytes = 8u * state->kernel->stride; /* from two rows to the next two */
    const int cut = layer->right < layer->tiles;
    uint8_t *front = row0 - layer->lead * state->out_pixel_bytes;
    const uint8_t first = front[0], second = front[state->two_bytes];
    if (cut && state->kept != 0) {
        le_row_clear(state, layer->right, layer->tiles, 2 * pairs);
    }
    uint8_t *out = row0 + 2 * (pairs - 1) * row_bytes;
    le_row_run *run = le_row_segments(state, state->runs, out, out + row_bytes,
                                      state->line + 2 * (pairs - 1) * state->line_bytes,
                                      a + (pairs - 1) * entry_bytes, LE_ROW_DIRECT);
    const le_row_run *from = state->runs;
    for (uint32_t i = 1; i < pairs; ++i) {
        le_row_run *end = le_row_plan_above(run, from, entry_bytes);
        from = run;
        run = end;
    }
    le_row_run_tiles(state, run);
    if (layer->lead > 0) {
        front[state->two_bytes] = second;
        front[0] = first;
    }
    if (layer->flush) {
        uint8_t *last = row0 + row_bytes - state->out_pixel_bytes;
        for (uint32_t i = pairs; i-- > 0;) {
            run = state->runs + i * passes;
            le_row_flush(state, run, run + passes - 1, last, last + row_bytes);
            last += 2 * row_bytes;
        }
    }
    if (cut) {
        for (uint32_t i = 0; i < 2 * pairs; ++i) {
            le_row_fetch(state, row0 + i * row_bytes, state->line + i * state->line_bytes,
                         layer->right, layer->tiles);
        }
    }
}

/* Times two output rows, from `y` on, that may go straight to the output, at most `pairs`. */
static uint32_t le_row_direct_pairs(const le_row_state *state, uint32_t y, uint32_t pairs) {
    const le_row_layer *layer = state->layer;
    const int narrow = state->out_storage == 8 && !state->two_bytes;
    /* The last pixel of row 0 must be written after the first one of row 1; and where bytes are
     * shared, it must not be merged with what is there. */
    const int replaced = layer->flush || layer->right < layer->tiles ||
                         (layer->tiles > 1 && state->kept == 0);
    if (narrow || layer->right == 0 ||
        (layer->lead > 0 && (y == 0 || layer->lead > 1 || !replaced))) {
        return 0;
    }
    return pairs < layer->batch ? pairs : layer->batch;
}

/* Output rows `y` to `end` of two output channels; `a` are their entries. */
static void le_row_rows(le_row_state *state, uint32_t y, uint32_t end, const uint8_t *a) {
    const uint32_t entry_bytes = 4u * state->kernel->stride; /* from one row to the next */
    uint8_t *out = state->out + state->channel * state->out_storage / 8;
    while (y < end) {
        uint8_t *row0 = out + y * state->out_row_bytes;
        uint32_t pairs = le_row_direct_pairs(state, y, (end - y) / 2);
        if (pairs > 0) {
            le_row_direct(state, row0, a, pairs);
        } else {
            const int one_row = y + 1 == end;
            const int narrow = state->out_storage == 8 && !state->two_bytes;
            pairs = 1;
            le_row_through_line(state, row0, row0 + (one_row ? 0 : state->out_row_bytes), a,
                                one_row || narrow ? LE_ROW_LINE : LE_ROW_EDGES);
        }
        y += 2 * pairs;
        a += 2 * pairs * entry_bytes;
    }
}

LE_INTERNAL void le_row_polynomial(const le_row_layer *layer, const le_row_kernel *kernel,
                                   const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    const uint32_t band = le_row_band(kernel);
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
            const uint32_t behind = layer->out_h - y < band ? layer->out_h : y + band;
            le_row_pack_band(&state, in, y, first);
            for (uint32_t channel = begin; channel < end; channel += 2) {
                kernel->unpack(state.w, weights, layer);
                weights += layer->pair_bytes;
                le_row_prepare(&state, channel);
                le_row_rows(&state, y, behind, a);
                if (kernel->depthwise) {
                    a += layer->range_bytes;
                }
            }
        }
    }
}
