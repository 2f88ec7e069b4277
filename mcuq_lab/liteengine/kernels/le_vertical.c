/* The driver of le_vertical.h: bands of groups, pairs of output channels, groups of four rows. */
#include "le_row_state.h"
#include "le_vertical_pack.h"

/* What stays the same for one call of the layer. */
typedef struct {
    const le_row_layer *layer;
    const le_vertical_kernel *kernel;
    uint8_t *out;
    le_vertical_chain *chains; /* one for each segment                             */
    uint8_t *a;                /* entries                                          */
    uint32_t *w;               /* weight words of two output channels              */
    uint8_t *line;             /* four rows of one tile's pixels, two bytes each   */
    uint8_t *pad;              /* one pixel of padding                             */
    uint32_t out_storage, out_pixel_bytes, out_row_bytes;
    uint32_t channel;          /* the first of two                                 */
    uint32_t two_bytes;        /* 1: the two channels take a byte each             */
    uint32_t kept;             /* bits of a byte that belong to other channels     */
    le_vertical_call call;
} le_vertical_state;

static uint8_t *le_vertical_carve(uint8_t **scratch, uint32_t bytes) {
    uint8_t *block = *scratch;
    *scratch += (bytes + 7) & ~7u;
    return block;
}

static void le_vertical_begin(le_vertical_state *state, uint8_t *scratch) {
    const le_row_layer *layer = state->layer;
    const le_vertical_kernel *kernel = state->kernel;
    const uint32_t segments = layer->segment_count;
    state->out_storage = le_storage_bits(kernel->out_bits);
    state->out_pixel_bytes = le_pixel_bytes(layer->out_c, state->out_storage);
    state->out_row_bytes = layer->out_w * state->out_pixel_bytes;
    state->chains = (le_vertical_chain *)(void *)le_vertical_carve(
        &scratch, segments * LE_VERTICAL_CHAIN_BYTES);
    state->a = le_vertical_carve(&scratch, layer->a_bytes);
    state->w = (uint32_t *)(void *)le_vertical_carve(&scratch, layer->w_bytes);
    state->call.sums = (uint32_t *)(void *)le_vertical_carve(&scratch, (segments - 1) * 64);
    state->line = le_vertical_carve(&scratch, 2 * LE_VERTICAL_ROWS * kernel->pixels);
    state->pad = scratch;
    state->call.w = state->w;
    state->call.chains = state->chains;
    for (uint32_t i = 0; i < segments; ++i) {
        state->chains[i].is_last = i + 1 == segments;
    }
    for (uint32_t i = 0; i < le_pixel_bytes(layer->in_c, kernel->a_storage); ++i) {
        uint32_t byte = layer->zero_point * (kernel->a_storage == 2   ? 0x55u
                                             : kernel->a_storage == 4 ? 0x11u
                                                                      : 1u);
        state->pad[i] = (uint8_t)byte; /* all fields of a byte hold the zero point */
        LE_KEEP_LOOP(i);
    }
}

/* Packs and combines the input rows of the group that begins at output row `y`; `before` are the
 * entries of the group before. */
static void le_vertical_pack_group(const le_vertical_state *state, const uint8_t *in, uint32_t y,
                                   uint32_t *entries, const uint32_t *before) {
    static const uint8_t words_of[] = {
        1, 7, LE_VERTICAL_D2, LE_VERTICAL_D3, LE_VERTICAL_D4, LE_VERTICAL_D5};
    const le_row_layer *layer = state->layer;
    const le_vertical_kernel *kernel = state->kernel;
    const uint32_t count = layer->range_bytes / (4 * LE_VERTICAL_ENTRY);
    const uint32_t row_bytes = layer->in_w * le_pixel_bytes(layer->in_c, kernel->a_storage);
    for (uint32_t i = y == 0 ? 0 : 2; i < sizeof(words_of); ++i) {
        const uint32_t row = y + i - layer->pad_top; /* above: wraps to a large one */
        kernel->pack(entries + words_of[i], row < layer->in_h ? in + row * row_bytes : 0,
                     state->pad, layer->in_c, layer);
    }
    if (y == 0) {
        le_vertical_combine(entries, entries, count, 1);
    } else {
        le_vertical_combine(entries, before, count, 0);
    }
}

/* Prepares the call and all segments for output channels `channel` and `channel` + 1. */
static void le_vertical_prepare(le_vertical_state *state, uint32_t channel) {
    const le_row_layer *layer = state->layer;
    const le_vertical_kernel *kernel = state->kernel;
    le_vertical_call *call = &state->call;
    state->channel = channel;
    state->kept = state->out_storage == 2 && channel % 4 != 0 ? 0x0F : 0;
    state->two_bytes = state->out_storage == 8 && channel + 1 < layer->out_c;
    call->multiplier0 = layer->multipliers[channel];
    call->offset0 = le_column_value(&layer->offsets, channel);
    call->multiplier1 = layer->multipliers[channel + 1];
    call->offset1 = le_column_value(&layer->offsets, channel + 1);
    call->upper = state->kept;
    kernel->start(state->chains, layer, channel);
}

/* Copies pixels `begin` to `end` of the line's row `r` to `out`, the place of pixel 0. */
static void le_vertical_copy(const le_vertical_state *state, uint8_t *out, uint32_t r,
                             uint32_t begin, uint32_t end) {
    const uint8_t *from = state->line + 2 * (r * state->kernel->pixels + begin);
    const uint32_t kept = state->kept;
    out += begin * state->out_pixel_bytes;
    for (; begin < end; ++begin) {
        if (state->two_bytes) {
            out[1] = from[1];
        }
        out[0] = (uint8_t)(kept == 0 ? from[0] : (*out & kept) | from[0]);
        out += state->out_pixel_bytes;
        from += 2;
    }
}

/* Where the pixels of a call go, if not all of its rows go to the output. */
static void le_vertical_odd_rows(le_vertical_state *state, uint8_t *row0, uint32_t rows,
                                 uint32_t begin, int to_line) {
    const uint32_t m = state->kernel->pixels, lead = state->layer->lead;
    const uint32_t step = state->out_pixel_bytes;
    le_vertical_call *call = &state->call;
    uint8_t *spare = state->line;
    for (uint32_t r = 0; r < LE_VERTICAL_ROWS; ++r) {
        uint8_t *row = row0 + r * state->out_row_bytes;
        const int nowhere = r >= rows && !to_line;
        uint8_t *first = to_line ? spare + 2 * r * m : row + begin * m * step - lead * step;
        call->step[r] = to_line ? 2 : nowhere ? 0 : (int32_t)step;
        call->first[r] = nowhere || (begin == 0 && !to_line) ? spare : first;
        call->out[r] = nowhere ? spare : first + call->step[r];
        LE_KEEP_LOOP(r);
    }
}

/* Runs tiles `begin` to `end`, at most one if their pixels take the way through the line. */
static void le_vertical_run(le_vertical_state *state, uint8_t *row0, uint32_t rows,
                            const uint8_t *entries, uint32_t begin, uint32_t end, int to_line) {
    const le_row_layer *layer = state->layer;
    const uint32_t m = state->kernel->pixels, lead = layer->lead;
    const uint32_t fields = lead + layer->out_w - layer->flush; /* up to the last output */
    const uint32_t step = state->out_pixel_bytes;
    le_vertical_call *call = &state->call;
    uint8_t *spare = state->line;
    /* A row's first pixel, field `lead`, is the second one of the first tile, if it goes to the
     * output at all; what is in front of it then goes nowhere, as rows below the last. */
    if (!to_line && rows == LE_VERTICAL_ROWS) {
        uint8_t *row = row0 + begin * m * step - lead * step;
#pragma GCC unroll 4
        for (unsigned r = 0; r < LE_VERTICAL_ROWS; ++r) {
            call->step[r] = (int32_t)step;
            call->first[r] = begin == 0 ? spare : row;
            call->out[r] = row + step;
            row += state->out_row_bytes;
        }
    } else {
        le_vertical_odd_rows(state, row0, rows, begin, to_line);
    }
    if (to_line && state->kept != 0) { /* the tile function merges pixels with what is there */
        for (uint32_t i = 0; i < 2 * LE_VERTICAL_ROWS * m; ++i) {
            state->line[i] = 0;
            LE_KEEP_LOOP(i);
        }
    }
    call->a = entries + begin * layer->block_bytes;
    call->a_end = entries + end * layer->block_bytes;
    state->kernel->tile(call);
    if (to_line) {
        const uint32_t first = begin * m < lead ? lead - begin * m : 0;
        const uint32_t last = end * m <= fields ? m : fields - begin * m;
        for (uint32_t r = 0; r < rows; ++r) {
            le_vertical_copy(state, row0 + r * state->out_row_bytes + begin * m * step - lead * step,
                             r, first, last);
        }
    }
}

/* Writes the last column's two channels of the first `rows` rows: what each segment has carried
 * behind the last tile, and what the padding adds to it. */
static void le_vertical_flush(const le_vertical_state *state, uint8_t *last, uint32_t rows) {
    const le_row_layer *layer = state->layer;
    uint32_t more[2] = {0, 0};
    if (layer->zero_point != 0) { /* column 2 sees the padding */
        for (uint32_t i = 0; i < layer->segment_count; ++i) {
            for (uint32_t oc = 0; oc < 2; ++oc) {
                int32_t values[6] = {0, 0, 0, 0, 0, 0};
                le_row_sums(layer, values, state->channel + oc, i);
                more[oc] += (uint32_t)(values[2] * values[5]);
            }
        }
    }
    if (state->out_storage == 8 && !state->two_bytes) { /* one channel of the two */
        state->kernel->flush(&state->call, more, state->line, 2u * state->kernel->pixels, rows);
        for (uint32_t r = 0; r < rows; ++r) {
            le_vertical_copy(state, last + r * state->out_row_bytes, r, 0, 1);
        }
        return;
    }
    state->kernel->flush(&state->call, more, last, state->out_row_bytes, rows);
}

/* The output rows, at most four, of the group that begins at row `y`. */
static void le_vertical_group(le_vertical_state *state, uint32_t y, const uint8_t *entries) {
    const le_row_layer *layer = state->layer;
    const uint32_t rows =
        layer->out_h - y < LE_VERTICAL_ROWS ? layer->out_h - y : LE_VERTICAL_ROWS;
    uint8_t *row0 = state->out + state->channel * state->out_storage / 8 + y * state->out_row_bytes;
    const int narrow = state->out_storage == 8 && !state->two_bytes;
    for (uint32_t i = 0; i < layer->segment_count; ++i) {
        le_vertical_chain *chain = &state->chains[i];
        for (uint32_t k = 0; k < 8; k += 2) {
            chain->carried[k] = chain->first[0];
            chain->carried[k + 1] = chain->first[1];
        }
    }
    uint32_t tile = 0;
    while (tile < layer->tiles) {
        const int to_line = narrow || tile >= layer->right || (tile == 0 && layer->lead != 1);
        const uint32_t end = to_line ? tile + 1 : layer->right;
        le_vertical_run(state, row0, rows, entries, tile, end, to_line);
        tile = end;
    }
    if (layer->flush) {
        le_vertical_flush(state, row0 + state->out_row_bytes - state->out_pixel_bytes, rows);
    }
}

LE_INTERNAL void le_vertical(const le_row_layer *layer, const le_vertical_kernel *kernel,
                             const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    const uint32_t group_bytes = layer->range_bytes;
    const uint32_t band = layer->a_bytes / group_bytes * LE_VERTICAL_ROWS;
    le_vertical_state state;
    state.layer = layer;
    state.kernel = kernel;
    state.out = out;
    le_vertical_begin(&state, scratch);
    const uint8_t *before = state.a;
    for (uint32_t y = 0; y < layer->out_h; y += band) {
        const uint32_t end = layer->out_h - y < band ? layer->out_h : y + band;
        const uint8_t *weights = layer->weights;
        uint8_t *entries = state.a;
        for (uint32_t row = y; row < end; row += LE_VERTICAL_ROWS) {
            le_vertical_pack_group(&state, in, row, (uint32_t *)(void *)entries,
                                   (const uint32_t *)(const void *)before);
            before = entries;
            entries += group_bytes;
        }
        for (uint32_t channel = 0; channel < layer->out_c; channel += 2) {
            kernel->unpack(state.w, weights, layer);
            weights += layer->pair_bytes;
            le_vertical_prepare(&state, channel);
            entries = state.a;
            for (uint32_t row = y; row < end; row += LE_VERTICAL_ROWS) {
                le_vertical_group(&state, row, entries);
                entries += group_bytes;
            }
        }
    }
}
