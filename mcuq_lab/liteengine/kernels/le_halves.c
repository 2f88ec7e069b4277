/* The driver of the halves: bands of output pixels, tiles of output channels. */
#include "le_halves.h"

/* What stays the same for one call of the layer. */
typedef struct {
    const le_halves_layer *layer;
    const le_halves_kernel *kernel;
    le_halves_call *call;
    le_halves_part *parts;
    uint32_t *a;    /* a band of pixels                                          */
    uint32_t *w;    /* weights of one tile of channels                           */
    uint8_t *line;  /* pixels that do not go to the output as they are           */
    uint8_t *pad;   /* one pixel of padding, if there is any                     */
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
    const uint32_t pad_bytes = layer->points ? 0 : le_pixel_bytes(layer->in_c, kernel->a_storage);
    for (uint32_t i = 0; i < pad_bytes; ++i) {
        uint32_t byte = layer->zero_point * (kernel->a_storage == 2   ? 0x55u
                                             : kernel->a_storage == 4 ? 0x11u
                                                                      : 1u);
        state->pad[i] = (uint8_t)byte; /* all fields of a byte hold the zero point */
        LE_KEEP_LOOP(i);
    }
}

/* Start values of the words of channels of all parts, from entry `index` on. */
LE_INLINE void le_halves_first(const le_halves_state *state, uint32_t index) {
    const le_halves_layer *layer = state->layer;
    const uint32_t byte_pairs = state->kernel->w_words == 2;
    const uint32_t base = layer->first_base;
    const uint32_t low = layer->first_factors[0], high = layer->first_factors[1];
    const uint16_t *narrow = (const uint16_t *)layer->first + index;
    const uint32_t *wide = (const uint32_t *)layer->first + index;
    for (le_halves_part *part = state->parts; part != state->parts + layer->part_count; ++part) {
        uint32_t first[4];
        if (layer->narrow_first) {
#pragma GCC unroll 4
            for (uint32_t k = 0; k < 4; ++k) {
                uint32_t sums = *narrow++;
                first[k] = base + (sums & 0xFFu) * low + (sums >> 8) * high;
            }
        } else {
#pragma GCC unroll 4
            for (uint32_t k = 0; k < 4; ++k) {
                first[k] = *wide++;
            }
        }
        if (byte_pairs) { /* L and S in turn */
            first[1] = first[0] + (first[1] << 8);
            first[3] = first[2] + (first[3] << 8);
        }
#pragma GCC unroll 4
        for (uint32_t k = 0; k < 4; ++k) {
            le_store_alone(part->first + k, first[k]);
        }
    }
}

/* Says where the weights of each part end that begin at `w`. */
static void le_halves_set_weights(const le_halves_state *state, const uint8_t *w) {
    const le_halves_layer *layer = state->layer;
    const uint32_t pair_bytes = 4u * state->kernel->w_words;
    state->call->w = w;
    for (uint32_t i = 0; i < layer->part_count; ++i) {
        w += pair_bytes * layer->part_pairs[i];
        state->parts[i].w_end = w;
    }
    state->call->w_end = w;
}

/* Multipliers and offsets of the channels from `channel` on. */
LE_INLINE void le_halves_set_channels(const le_halves_state *state, uint32_t channel) {
    const le_halves_layer *layer = state->layer;
    const int32_t *multiplier = layer->multipliers + channel;
    const uint32_t shift = layer->offset_shift, base = (uint32_t)layer->offsets.base;
    uint32_t *to = (uint32_t *)state->call->requantize, *end = to + 2 * state->tile;
    if (layer->offsets.bytes == 2) {
        const uint16_t *offset = (const uint16_t *)layer->offsets.at + channel;
        do {
            le_store_alone(to, (uint32_t)*multiplier++);
            le_store_alone(to + 1, (base + *offset++) << shift);
            to += 2;
            LE_KEEP_LOOP(to);
        } while (to != end);
    } else {
        const uint32_t *offset = (const uint32_t *)layer->offsets.at + channel;
        do {
            le_store_alone(to, (uint32_t)*multiplier++);
            le_store_alone(to + 1, (base + *offset++) << shift);
            to += 2;
            LE_KEEP_LOOP(to);
        } while (to != end);
    }
}

/* `count` output pixels, which lie packed in state->a in `groups` groups, of one tile of channels,
 * the first of them at `out`; `left` channels are left, this tile's among them. */
LE_INLINE void le_halves_run_tile(const le_halves_state *state, uint32_t count, uint32_t groups,
                                  uint32_t left, uint8_t *out) {
    const uint32_t step = state->tile * state->kernel->out_storage / 8; /* in the line */
    const uint32_t whole =
        left < state->tile ? 0 : groups - (groups * state->group != count); /* groups */
    le_halves_call *call = state->call;
    le_halves_run runs[2];
    le_halves_run *run = runs;
    const uint8_t *a_end = (const uint8_t *)(state->a + whole * state->group_words);
    if (whole > 0) {
        run->out = out;
        run->step = (int32_t)state->out_pixel_bytes;
        run->a_end = a_end;
        ++run;
    }
    const uint32_t done = whole * state->group;
    if (done < count) {
        run->out = state->line;
        run->step = (int32_t)step;
        run->a_end = (const uint8_t *)(state->a + groups * state->group_words);
        ++run;
    }
    call->runs = runs;
    call->run_count = (uint32_t)(run - runs);
    state->kernel->tile(call);
    if (done < count) {
        const uint32_t bytes =
            left < state->tile ? (left * state->kernel->out_storage + 7) / 8 : step;
        const uint8_t *from = state->line;
        out += done * state->out_pixel_bytes;
        for (uint32_t i = done; i < count; ++i) {
            le_copy(out, from, bytes);
            out += state->out_pixel_bytes;
            from += step;
        }
    }
}

LE_INTERNAL void le_halves(const le_halves_layer *layer, const le_halves_kernel *kernel,
                           const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    const uint32_t pixels = (uint32_t)layer->out_h * layer->out_w;
    le_halves_state state;
    state.layer = layer;
    state.kernel = kernel;
    le_halves_begin(&state, scratch);
    const uint32_t tile_first = 4u * layer->part_count;
    const uint32_t tile_out_bytes = state.tile * kernel->out_storage / 8;
    state.call->a = (const uint8_t *)state.a;
    state.call->parts = state.parts;
    le_halves_set_weights(&state, (const uint8_t *)state.w);
    for (uint32_t pixel = 0; pixel < pixels; pixel += layer->band) {
        const uint32_t count = pixels - pixel < layer->band ? pixels - pixel : layer->band;
        const uint8_t *weights = layer->weights;
        uint32_t *group = state.a;
        for (uint32_t i = 0; i < count; i += state.group) {
            kernel->pack(group, pixel + i, in, state.pad, layer);
            group += state.group_words;
        }
        const uint32_t groups = (count + state.group - 1) / state.group;
        uint8_t *to = out + pixel * state.out_pixel_bytes;
        uint32_t first = 0;
        for (uint32_t channel = 0; channel < layer->out_c; channel += state.tile) {
            if (kernel->unpack) {
                kernel->unpack(state.w, weights, layer);
            } else {
                le_halves_set_weights(&state, weights);
            }
            weights += layer->tile_bytes;
            le_halves_set_channels(&state, channel);
            le_halves_first(&state, first);
            first += tile_first;
            le_halves_run_tile(&state, count, groups, layer->out_c - channel, to);
            to += tile_out_bytes;
        }
    }
}
