/* The driver of the halves: bands of output pixels, tiles of output channels. */
#include "le_halves.h"

/* What stays the same for one call of the layer. */
typedef struct {
    const le_halves_layer *layer;
    const le_halves_kernel *kernel;
    uint8_t *out;
    le_halves_call *call;
    le_halves_part *parts;
    uint32_t *a;    /* a band of pixels                                          */
    uint32_t *w;    /* weights of one tile of channels                           */
    uint8_t *line;  /* pixels that do not go to the output as they are           */
    uint8_t *pad;   /* one pixel of padding                                      */
    uint32_t group; /* pixels of a group                                         */
    uint32_t group_words;
    uint32_t tile;  /* channels of a tile                                        */
    uint32_t out_pixel_bytes;
} le_halves_state;

static uint8_t *le_halves_carve(uint8_t **scratch, uint32_t bytes) {
    uint8_t *block = *scratch;
    *scratch += (bytes + 7) & ~7u;
    return block;
}

static void le_halves_begin(le_halves_state *state, uint8_t *scratch) {
    const le_halves_layer *layer = state->layer;
    const le_halves_kernel *kernel = state->kernel;
    const uint32_t w_pairs =
        layer->pairs > layer->flash_pairs ? layer->pairs : layer->flash_pairs;
    state->group = 2u * kernel->pixels;
    state->group_words = 2u * layer->pairs + (kernel->unpack ? 0u : 2u);
    state->tile = 4u * kernel->channels;
    state->out_pixel_bytes = le_pixel_bytes(layer->out_c, kernel->out_storage);

    state->call = (le_halves_call *)(void *)le_halves_carve(&scratch, LE_HALVES_CALL_BYTES);
    state->parts = (le_halves_part *)(void *)le_halves_carve(
        &scratch, layer->part_count * LE_HALVES_PART_BYTES);
    state->a = (uint32_t *)(void *)le_halves_carve(
        &scratch, layer->band / state->group * state->group_words * 4);
    state->w = (uint32_t *)(void *)le_halves_carve(&scratch, kernel->unpack ? w_pairs * 4 * kernel->w_words : 0);
    state->line = le_halves_carve(
        &scratch, (layer->out_c % state->tile == 0 ? state->group : layer->band) * state->tile *
                      kernel->out_storage / 8);
    state->pad = scratch;
    for (uint32_t i = 0; i < le_pixel_bytes(layer->in_c, kernel->a_storage); ++i) {
        uint32_t byte = layer->zero_point * (kernel->a_storage == 2   ? 0x55u
                                             : kernel->a_storage == 4 ? 0x11u
                                                                      : 1u);
        state->pad[i] = (uint8_t)byte; /* all fields of a byte hold the zero point */
        LE_KEEP_LOOP(i);
    }
}

/* Start values of four words of channels, from entry `index` on. */
LE_INLINE void le_halves_first(const le_halves_layer *layer, uint32_t first[4], uint32_t index) {
    if (layer->narrow_first) {
        const uint16_t *from = (const uint16_t *)layer->first + index;
        const uint32_t base = layer->first_base;
        const uint32_t low = layer->first_factors[0], high = layer->first_factors[1];
        for (uint32_t k = 0; k < 4; ++k) {
            first[k] = base + (from[k] & 0xFFu) * low + (uint32_t)(from[k] >> 8) * high;
        }
    } else {
        const uint32_t *from = (const uint32_t *)layer->first + index;
        for (uint32_t k = 0; k < 4; ++k) {
            first[k] = from[k];
        }
    }
}

/* Prepares the call for output channels `channel` and up, whose weights are at `w`. */
static void le_halves_prepare(const le_halves_state *state, uint32_t channel,
                              const uint8_t *w) {
    const le_halves_layer *layer = state->layer;
    le_halves_call *call = state->call;
    uint32_t first = channel / state->tile * layer->part_count * 4;
    for (uint32_t i = 0; i < state->tile; ++i) {
        call->requantize[2 * i] = layer->multipliers[channel + i];
        call->requantize[2 * i + 1] =
            (int32_t)((uint32_t)le_column_value(&layer->offsets, channel + i)
                      << layer->offset_shift);
        LE_KEEP_LOOP(i);
    }
    const uint32_t pair_bytes = 4u * state->kernel->w_words;
    call->w = w;
    call->parts = state->parts;
    call->parts_end = state->parts + layer->part_count;
    for (uint32_t i = 0; i < layer->part_count; ++i) {
        w += pair_bytes * layer->part_pairs[i];
        state->parts[i].w_end = w;
        uint32_t *starts = state->parts[i].first;
        le_halves_first(layer, starts, first);
        if (state->kernel->w_words == 2) { /* L and S in turn */
            starts[1] = starts[0] + (starts[1] << 8);
            starts[3] = starts[2] + (starts[3] << 8);
        }
        first += 4;
    }
}

/* `count` output pixels from `pixel` on, which lie packed in state->a, of one tile of channels. */
static void le_halves_run_tile(const le_halves_state *state, uint32_t pixel, uint32_t count,
                               uint32_t channel) {
    const le_halves_layer *layer = state->layer;
    const uint32_t storage = state->kernel->out_storage;
    const uint32_t left = layer->out_c - channel;
    const uint32_t step = state->tile * storage / 8; /* bytes of a pixel in the line */
    const uint32_t whole = left < state->tile ? 0 : count / state->group; /* groups */
    const uint32_t groups = (count + state->group - 1) / state->group;
    uint8_t *out = state->out + pixel * state->out_pixel_bytes + channel * storage / 8;
    le_halves_run runs[2];
    uint32_t run_count = 0;
    if (whole > 0) {
        runs[0].out = out;
        runs[0].step = (int32_t)state->out_pixel_bytes;
        runs[0].a_end = (const uint8_t *)(state->a + whole * state->group_words);
        run_count = 1;
    }
    if (whole < groups) {
        runs[run_count].out = state->line;
        runs[run_count].step = (int32_t)step;
        runs[run_count].a_end = (const uint8_t *)(state->a + groups * state->group_words);
        run_count += 1;
    }
    state->call->a = (const uint8_t *)state->a;
    state->call->runs = runs;
    state->call->run_count = run_count;
    state->kernel->tile(state->call);

    const uint32_t bytes = left < state->tile ? (left * storage + 7) / 8 : step;
    const uint8_t *from = state->line;
    out += whole * state->group * state->out_pixel_bytes;
    for (uint32_t i = whole * state->group; i < count; ++i) {
        le_copy(out, from, bytes);
        out += state->out_pixel_bytes;
        from += step;
    }
}

LE_INTERNAL void le_halves(const le_halves_layer *layer, const le_halves_kernel *kernel,
                           const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    const uint32_t pixels = (uint32_t)layer->out_h * layer->out_w;
    le_halves_state state;
    state.layer = layer;
    state.kernel = kernel;
    state.out = out;
    le_halves_begin(&state, scratch);
    for (uint32_t pixel = 0; pixel < pixels; pixel += layer->band) {
        const uint32_t count = pixels - pixel < layer->band ? pixels - pixel : layer->band;
        const uint8_t *weights = layer->weights;
        uint32_t *group = state.a;
        for (uint32_t i = 0; i < count; i += state.group) {
            kernel->pack(group, pixel + i, in, state.pad, layer);
            group += state.group_words;
        }
        for (uint32_t channel = 0; channel < layer->out_c; channel += state.tile) {
            const uint8_t *w = weights;
            if (kernel->unpack) {
                kernel->unpack(state.w, weights, layer);
                w = (const uint8_t *)state.w;
            }
            weights += layer->tile_bytes;
            le_halves_prepare(&state, channel, w);
            le_halves_run_tile(&state, pixel, count, channel);
        }
    }
}
