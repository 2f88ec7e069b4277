/* The driver of folded depthwise convolutions: groups of channels, bands of rows. */
#include "le_fold.h"

/* What stays the same for one call of the layer. */
typedef struct {
    const le_fold_layer *layer;
    const le_fold_kernel *kernel;
    const uint8_t *in;
    uint8_t *out;
    le_fold_call *call;
    uint32_t *weights; /* of a group's channels                              */
    uint32_t *planes; /* the packed band                                  */
    uint8_t *kept;    /* input rows that the next band will find overwritten */
    le_fold_band band;
} le_fold_state;

/* Sets up the band of output rows from `first` on. */
static void le_fold_begin_band(le_fold_state *state, uint32_t first) {
    const le_fold_layer *layer = state->layer;
    const le_fold_kernel *kernel = state->kernel;
    const uint32_t stride = kernel->stride;
    const uint32_t left = layer->out_h - first;
    const uint32_t rows = left < layer->band ? left : layer->band;
    le_fold_band *band = &state->band;
    band->upper = kernel->folds == 2 ? (rows + 1) / 2 : rows;
    band->lower = rows - band->upper;
    band->fold_rows = (int32_t)(band->upper * stride);
    band->rows = (int32_t)((band->upper - 1) * stride + kernel->kernel);
    band->top = (int32_t)(first * stride) - layer->pad_top;

    const uint32_t row_bytes = kernel->group * 4u;
    const uint32_t tile_rows = (band->upper + 1) / 2 * 2; /* the last one may be for nothing */
    band->pair_bytes = ((tile_rows - 1) * stride + kernel->kernel) * row_bytes;
    band->strip_bytes = band->pair_bytes * stride;
    le_fold_call *call = state->call;
    call->strip_bytes = band->strip_bytes;
    call->pair_bytes = band->pair_bytes;
    call->tile_rows_bytes = tile_rows * stride * row_bytes;
}

static void le_fold_begin(le_fold_state *state, uint8_t *scratch) {
    const le_fold_layer *layer = state->layer;
    const le_fold_kernel *kernel = state->kernel;
    le_fold_band *band = &state->band;
    state->call = (le_fold_call *)(void *)scratch;
    uint8_t *pad = scratch + LE_FOLD_CALL_BYTES;
    const uint32_t byte = layer->zero_point * (kernel->in_storage == 2   ? 0x55u
                                               : kernel->in_storage == 4 ? 0x11u
                                                                         : 1u);
    le_store32(pad, byte * 0x01010101u); /* all fields hold the zero point */
    state->weights = (uint32_t *)(void *)(pad + 8);
    const uint32_t weight_words = (uint32_t)kernel->group * kernel->weight_words;
    state->planes = state->weights + (weight_words + 1) / 2 * 2;

    band->pad = pad;
    band->in_h = layer->in_h;
    band->in_w = layer->in_w;
    band->in_pixel_bytes = le_pixel_bytes(layer->in_c, kernel->in_storage);
    band->in_row_bytes = band->in_pixel_bytes * layer->in_w;
    band->left = -layer->pad_left;
    band->out_w = layer->out_w;
    band->out_pixel_bytes = le_pixel_bytes(layer->in_c, kernel->out_storage);
    band->out_row_bytes = band->out_pixel_bytes * layer->out_w;
    const uint32_t strips = (layer->out_w + 1u) / 2;
    band->pairs = (int32_t)((strips - 1) * kernel->stride + kernel->kernel / 2u + kernel->stride);
    band->kept_bytes = kernel->group * kernel->in_storage / 8;
    band->end_kept = 0;
    le_fold_begin_band(state, 0);
    state->kept = (uint8_t *)state->planes + (uint32_t)band->pairs * band->pair_bytes;
    band->kept = state->kept;
}

/* Sets aside the input rows above the band's end that the next band reads, `bytes` of each pixel:
 * the outputs may be written over them. */
static void le_fold_keep(le_fold_state *state, const uint8_t *in, uint32_t first_next,
                         uint32_t bytes) {
    le_fold_band *band = &state->band;
    int32_t row = (int32_t)(first_next * state->kernel->stride);
    int32_t top = row - state->layer->pad_top;
    top = top < 0 ? 0 : top;
    row = row < band->in_h ? row : band->in_h;
    band->first_kept = top;
    band->end_kept = row;
    uint8_t *to = state->kept;
    const uint8_t *from = in + (uint32_t)top * band->in_row_bytes;
    for (int32_t i = (row - top) * band->in_w; i > 0; --i) {
        le_copy(to, from, bytes);
        to += band->kept_bytes;
        from += band->in_pixel_bytes;
    }
}

/* One group of channels from `channel` on, one band of rows from `first` on. */
static void le_fold_run(le_fold_state *state, uint32_t channel, uint32_t first) {
    const le_fold_layer *layer = state->layer;
    const le_fold_kernel *kernel = state->kernel;
    le_fold_band *band = &state->band;
    le_fold_call *call = state->call;
    const uint32_t in_byte = channel * kernel->in_storage / 8;
    const uint32_t out_byte = channel * kernel->out_storage / 8;
    const uint32_t count =
        layer->channels - channel < kernel->group ? layer->channels - channel : kernel->group;

    uint32_t bytes = band->in_pixel_bytes - in_byte;
    bytes = bytes < band->kept_bytes ? bytes : band->kept_bytes;
    const uint8_t *kept = band->kept;
    uint32_t *to = state->planes;
    for (uint32_t byte = 0; byte < bytes; byte += kernel->pack_bytes) {
        band->in = state->in + in_byte + byte;
        band->kept = kept + byte;
        kernel->pack(to, band);
        to += kernel->pack_bytes * 8u / kernel->in_storage;
    }
    band->kept = kept;
    if (first + layer->band < layer->out_h) {
        le_fold_keep(state, state->in + in_byte, first + layer->band, bytes);
    }

    kernel->unpack(state->weights, layer->weights + channel * layer->weight_bytes, count);
    call->w = state->weights;
    call->constants = layer->constants + channel * kernel->constant_words;
    call->constants_end = call->constants + count * kernel->constant_words;
    call->a = (uint8_t *)state->planes;
    call->a_end = call->a + (layer->out_w + 1u) / 2 * call->strip_bytes;
    kernel->tile(call);

    bytes = band->out_pixel_bytes - out_byte;
    const uint32_t group_bytes = kernel->group * kernel->out_storage / 8u;
    bytes = bytes < group_bytes ? bytes : group_bytes;
    const uint32_t *from = state->planes;
    for (uint32_t byte = 0; byte < bytes; byte += kernel->scatter_bytes) {
        band->out = state->out + first * band->out_row_bytes + out_byte + byte;
        kernel->scatter(from, band);
        from += kernel->scatter_bytes * 8u / kernel->out_storage;
    }
}

LE_INTERNAL void le_fold(const le_fold_layer *layer, const le_fold_kernel *kernel,
                         const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    le_fold_state state;
    state.layer = layer;
    state.kernel = kernel;
    state.in = in;
    state.out = out;
    le_fold_begin(&state, scratch);
    state.call->mask = ((1u << kernel->field_bits) - 1u) << kernel->pre_shift;
    for (uint32_t channel = 0; channel < layer->channels; channel += kernel->group) {
        state.band.end_kept = 0;
        for (uint32_t first = 0; first < layer->out_h; first += layer->band) {
            if (layer->band < layer->out_h) {
                le_fold_begin_band(&state, first);
            }
            le_fold_run(&state, channel, first);
        }
    }
}
