/*
 * Convolution through partial im2col, for one triple of widths: the including file defines
 * CX_W_BITS, CX_IN_BITS, CX_OUT_BITS (8, 4 or 2 each) and CX_NAME, the function to define.
 *
 * Two output pixels at a time are widened to columns of 16 bits, minus the input's zero point, then
 * multiplied with two rows of weights at a time. Weights are widened in the inner loop. Widening
 * takes fields in another order than memory has them; the weights are stored so that both agree.
 */
#include "cx_layers.h"
#include "cx_output.h"
#include "cx_support.h"

#define WIDEN_WEIGHT CX_JOIN(cx_widen_, CX_W_BITS)
#define INPUTS_PER_WORD (32 / CX_IN_BITS)
#define WEIGHTS_PER_WORD (32 / CX_W_BITS)

/* Fields `pair` and `pair` + 16 / bits: to the top of their bytes, widened, and down again. */
static inline uint32_t widen_input(uint32_t word, int32_t pair)
{
#if CX_IN_BITS == 8
    return cx_widen_8(word, pair);
#else
    const int32_t up = 8 - (pair + 1) * CX_IN_BITS;
    const uint32_t at_top = up > 0 ? word << up : word >> -up;
    return cx_uxtb16(cx_ror(cx_uxtb16(at_top), 8 - CX_IN_BITS));
#endif
}

/* One word of fields, `zeros` taken off each; a zero point of 0 costs no instruction. */
static inline void widen_word(uint32_t word, int16_t *column, uint32_t zeros, int moved)
{
#pragma GCC unroll 8
    for (int32_t pair = 0; pair < INPUTS_PER_WORD / 2; pair++) {
        const uint32_t fields = widen_input(word, pair);
        dsp_store(column + 2 * pair, moved ? cx_ssub16(fields, zeros) : fields);
    }
}

static int16_t *widen_words(const uint8_t *in, int16_t *column, int32_t words, uint32_t zeros)
{
    if (zeros) {
        for (; words > 0; words--, in += 4, column += INPUTS_PER_WORD)
            widen_word(dsp_load(in), column, zeros, 1);
    } else {
        for (; words > 0; words--, in += 4, column += INPUTS_PER_WORD)
            widen_word(dsp_load(in), column, zeros, 0);
    }
    return column;
}

static int16_t *zero_column(int16_t *column, int32_t count)
{
    for (; count >= 2; count -= 2) {
        dsp_store(column, 0);
        column += 2;
    }
    if (count > 0)
        *column++ = 0;
    return column;
}

/* `count` pixels side by side. */
static int16_t *widen_pixels(const cx_layer *layer, const uint8_t *in, int16_t *column,
                             int32_t count)
{
    const int32_t in_c = layer->in_c;
    const uint32_t zeros = cx_both(layer->in_zero);
    const int32_t words = in_c / INPUTS_PER_WORD;
    if (in_c % INPUTS_PER_WORD == 0)
        return widen_words(in, column, count * words, zeros);
    for (; count > 0; count--) {
        column = widen_words(in, column, words, zeros);
        for (int32_t c = words * INPUTS_PER_WORD; c < in_c; c++)
            *column++ = (int16_t)(cx_field(in, c, CX_IN_BITS) - (zeros & 0xffu));
        in += layer->in_pixel_bytes;
    }
    return column;
}

/* A whole word of weights, minus their zero point. */
static inline void widen_weights(uint32_t word, uint32_t *pairs, uint32_t middle)
{
#pragma GCC unroll 8
    for (int32_t pair = 0; pair < WEIGHTS_PER_WORD / 2; pair++)
        pairs[pair] = cx_ssub16(WIDEN_WEIGHT(word, pair), middle);
}

/* Outputs of two channels of one pixel; `channel` is even. */
static inline void store_pair(uint8_t *out, int32_t channel, int32_t channels, uint32_t first,
                              uint32_t second)
{
#if CX_OUT_BITS == 8
    out[channel] = (uint8_t)first;
    if (channel + 1 < channels)
        out[channel + 1] = (uint8_t)second;
#elif CX_OUT_BITS == 4
    (void)channels;
    out[channel >> 1] = (uint8_t)(first | second << 4);
#else
    (void)channels;
    const uint32_t both = first | second << 2;
    if (channel & 2)
        out[channel >> 2] |= (uint8_t)(both << 4);
    else
        out[channel >> 2] = (uint8_t)both;
#endif
}

/*
 * All output channels of two pixels. Not inlined: its inner loop needs every register, and the
 * caller's variables would be kept there at its expense.
 */
__attribute__((noinline)) static void multiply_two_columns(const cx_layer *layer,
                                                           const int16_t *columns, uint8_t *out)
{
    const cx_output to = cx_output_of(layer);
    const int32_t *const start = layer->start;
    const int32_t channels = layer->out_c, depth = layer->depth;
    const int32_t row_bytes = depth / (8 / CX_W_BITS);
    const uint32_t middle = cx_both(1u << (CX_W_BITS - 1));
    const uint8_t *row_0 = layer->weight;
    uint8_t *const out_1 = out + layer->out_pixel_bytes;

    for (int32_t channel = 0; channel < channels; channel += 2) {
        const int16_t *column_0 = columns;
        const int16_t *column_1 = columns + depth;
        const uint8_t *row_1 = row_0 + row_bytes;
        const uint8_t *const end = row_1;
        int32_t sum_00 = start[channel], sum_01 = sum_00;
        int32_t sum_10 = start[channel + 1], sum_11 = sum_10;
        while (row_0 != end) {
            uint32_t w0[WEIGHTS_PER_WORD / 2], w1[WEIGHTS_PER_WORD / 2];
            widen_weights(dsp_load(row_0), w0, middle);
            widen_weights(dsp_load(row_1), w1, middle);
#pragma GCC unroll 8
            for (int32_t pair = 0; pair < WEIGHTS_PER_WORD / 2; pair++) {
                const uint32_t a0 = dsp_load(column_0 + 2 * pair);
                const uint32_t a1 = dsp_load(column_1 + 2 * pair);
                sum_00 = dsp_smlad(w0[pair], a0, sum_00);
                sum_01 = dsp_smlad(w0[pair], a1, sum_01);
                sum_10 = dsp_smlad(w1[pair], a0, sum_10);
                sum_11 = dsp_smlad(w1[pair], a1, sum_11);
            }
            row_0 += 4;
            row_1 += 4;
            column_0 += WEIGHTS_PER_WORD;
            column_1 += WEIGHTS_PER_WORD;
        }
        /* Before any store: after it, they would be loaded again. */
        const int32_t multiplier_0 = to.multiplier[channel], offset_0 = to.offset[channel];
        const int32_t multiplier_1 = to.multiplier[channel + 1], offset_1 = to.offset[channel + 1];
        sum_00 = cx_scale(sum_00, multiplier_0, offset_0, to.pre_shift, to.shift);
        sum_10 = cx_scale(sum_10, multiplier_1, offset_1, to.pre_shift, to.shift);
        sum_01 = cx_scale(sum_01, multiplier_0, offset_0, to.pre_shift, to.shift);
        sum_11 = cx_scale(sum_11, multiplier_1, offset_1, to.pre_shift, to.shift);
        store_pair(out, channel, channels, CX_USAT(sum_00, CX_OUT_BITS),
                   CX_USAT(sum_10, CX_OUT_BITS));
        store_pair(out_1, channel, channels, CX_USAT(sum_01, CX_OUT_BITS),
                   CX_USAT(sum_11, CX_OUT_BITS));
        row_0 = row_1;
    }
}

/* The last pixel of an odd number of pixels. */
__attribute__((noinline)) static void multiply_one_column(const cx_layer *layer,
                                                          const int16_t *columns, uint8_t *out)
{
    const cx_output to = cx_output_of(layer);
    const int32_t *const start = layer->start;
    const int32_t channels = layer->out_c, depth = layer->depth;
    const int32_t row_bytes = depth / (8 / CX_W_BITS);
    const uint32_t middle = cx_both(1u << (CX_W_BITS - 1));
    const uint8_t *row_0 = layer->weight;

    for (int32_t channel = 0; channel < channels; channel += 2) {
        const int16_t *column = columns;
        const uint8_t *row_1 = row_0 + row_bytes;
        const uint8_t *const end = row_1;
        int32_t sum_0 = start[channel], sum_1 = start[channel + 1];
        while (row_0 != end) {
            const uint32_t four_0 = dsp_load(row_0), four_1 = dsp_load(row_1);
#pragma GCC unroll 8
            for (int32_t pair = 0; pair < WEIGHTS_PER_WORD / 2; pair++) {
                const uint32_t a = dsp_load(column + 2 * pair);
                sum_0 = dsp_smlad(cx_ssub16(WIDEN_WEIGHT(four_0, pair), middle), a, sum_0);
                sum_1 = dsp_smlad(cx_ssub16(WIDEN_WEIGHT(four_1, pair), middle), a, sum_1);
            }
            row_0 += 4;
            row_1 += 4;
            column += WEIGHTS_PER_WORD;
        }
        store_pair(out, channel, channels, CX_USAT(cx_finish(to, sum_0, channel), CX_OUT_BITS),
                   CX_USAT(cx_finish(to, sum_1, channel + 1), CX_OUT_BITS));
        row_0 = row_1;
    }
}

/* The window at (y, x) of an input that it may reach beyond, pixel by pixel; padding is zeros. */
static int16_t *widen_window_at_edge(const cx_layer *layer, const uint8_t *in, int16_t *column,
                                     int32_t y, int32_t x)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, end_x = x + layer->kernel_w;
    for (const int32_t end_y = y + layer->kernel_h; y < end_y; y++) {
        for (int32_t tap_x = x; tap_x < end_x; tap_x++) {
            if (y < 0 || y >= in_h || tap_x < 0 || tap_x >= in_w) {
                column = zero_column(column, layer->in_c);
            } else {
                const uint8_t *pixel = in + (y * in_w + tap_x) * layer->in_pixel_bytes;
                column = widen_pixels(layer, pixel, column, 1);
            }
        }
    }
    return column;
}

void CX_NAME(const cx_layer *layer, const uint8_t *in, int16_t *columns, uint8_t *out);

/* columns: 2 * layer->depth values. */
void CX_NAME(const cx_layer *layer, const uint8_t *in, int16_t *columns, uint8_t *out)
{
    const int32_t kernel_h = layer->kernel_h, kernel_w = layer->kernel_w;
    const int32_t last_y = layer->in_h - kernel_h, last_x = layer->in_w - kernel_w;
    const int32_t row_bytes = layer->in_w * layer->in_pixel_bytes;
    const int32_t depth = layer->depth, rest = depth - kernel_h * kernel_w * layer->in_c;
    int16_t *column = columns;

    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t y = layer->stride_h * out_y - layer->pad_top;
        int32_t x = -layer->pad_left;
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            if (y < 0 || y > last_y || x < 0 || x > last_x) {
                column = widen_window_at_edge(layer, in, column, y, x);
            } else {
                const uint8_t *pixels = in + y * row_bytes + x * layer->in_pixel_bytes;
                for (int32_t row = kernel_h; row > 0; row--) {
                    column = widen_pixels(layer, pixels, column, kernel_w);
                    pixels += row_bytes;
                }
            }
            column = zero_column(column, rest);
            if (column == columns + 2 * depth) {
                multiply_two_columns(layer, columns, out);
                out += 2 * layer->out_pixel_bytes;
                column = columns;
            }
            x += layer->stride_w;
        }
    }
    if (column != columns)
        multiply_one_column(layer, columns, out);
}
