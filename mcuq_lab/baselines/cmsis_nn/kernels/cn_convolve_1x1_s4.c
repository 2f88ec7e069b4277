/*
 * 1x1 convolution with 4-bit weights straight from the int8 input: tiles of two pixels by two output
 * channels, the loop over the input's channels unrolled to sixteen. Rows of a tile lie two apart, as in
 * `cn_convolve_s4.c`; the input's offset is added to every input.
 */
#include "cn_layers.h"
#include "cn_nibbles.h"
#include "cn_output.h"
#include "cn_support.h"

/* Sums of a tile: [pixel][row]. A tile of one pixel or one row leaves the others alone. */
typedef struct {
    int32_t of[2][2];
} tile;

/* Where a tile reads; its second row and second pixel lie steps further on. */
typedef struct {
    const int8_t *row, *pixel;
} place;

/* What is the same for all tiles. */
typedef struct {
    int32_t row_step, pixel_step, depth, offset;
    uint32_t offsets;
} shape;

static inline void multiply_four(tile *sum, place *at, shape of, int pixels, int rows)
{
    const cn_four w0 = cn_widen_nibbles(at->row);
    const cn_four w1 = rows == 2 ? cn_widen_nibbles(at->row + of.row_step) : w0;
    at->row += 2;
    uint32_t a = cn_next_4(&at->pixel);
    uint32_t even = cn_sxtab16(of.offsets, a), odd = cn_sxtab16_ror8(of.offsets, a);
    sum->of[0][0] = dsp_smlad(w0.even, even, sum->of[0][0]);
    sum->of[0][0] = dsp_smlad(w0.odd, odd, sum->of[0][0]);
    if (rows == 2) {
        sum->of[0][1] = dsp_smlad(w1.even, even, sum->of[0][1]);
        sum->of[0][1] = dsp_smlad(w1.odd, odd, sum->of[0][1]);
    }
    if (pixels == 2) {
        a = dsp_load(at->pixel + of.pixel_step - 4);
        even = cn_sxtab16(of.offsets, a);
        odd = cn_sxtab16_ror8(of.offsets, a);
        sum->of[1][0] = dsp_smlad(w0.even, even, sum->of[1][0]);
        if (rows == 2)
            sum->of[1][1] = dsp_smlad(w1.even, even, sum->of[1][1]);
        sum->of[1][0] = dsp_smlad(w0.odd, odd, sum->of[1][0]);
        if (rows == 2)
            sum->of[1][1] = dsp_smlad(w1.odd, odd, sum->of[1][1]);
    }
}

/* One weight of each row. */
static inline void multiply_one(tile *sum, place *at, shape of, int32_t w0, int32_t w1, int pixels,
                                int rows)
{
    const int32_t a = at->pixel[0] + of.offset;
    sum->of[0][0] += a * w0;
    if (rows == 2)
        sum->of[0][1] += a * w1;
    if (pixels == 2) {
        const int32_t b = at->pixel[of.pixel_step] + of.offset;
        sum->of[1][0] += b * w0;
        if (rows == 2)
            sum->of[1][1] += b * w1;
    }
    at->pixel++;
}

/* An even number of weights of each row, as many as there are. */
static inline void multiply_rows(tile *sum, place *at, shape of, int pixels, int rows)
{
    int32_t i = 0;
    for (; i <= of.depth - 16; i += 16) {
        multiply_four(sum, at, of, pixels, rows);
        multiply_four(sum, at, of, pixels, rows);
        multiply_four(sum, at, of, pixels, rows);
        multiply_four(sum, at, of, pixels, rows);
    }
    for (; i <= of.depth - 4; i += 4)
        multiply_four(sum, at, of, pixels, rows);
    for (; i <= of.depth - 2; i += 2) {
        const int8_t w0 = at->row[0], w1 = rows == 2 ? at->row[of.row_step] : 0;
        multiply_one(sum, at, of, cn_low_nibble(w0), cn_low_nibble(w1), pixels, rows);
        multiply_one(sum, at, of, cn_high_nibble(w0), cn_high_nibble(w1), pixels, rows);
        at->row++;
    }
}

static inline tile start(int32_t row_0, int32_t row_1)
{
    const tile sum = {{{row_0, row_1}, {row_0, row_1}}};
    return sum;
}

/* From sums to outputs of channels `channel` and `channel` + 2; all before any is stored. */
static inline void finish(cn_output to, tile *sum, int32_t channel, int8_t *out, int32_t out_c,
                          int pixels)
{
    for (int32_t pixel = 0; pixel < pixels; pixel++)
        for (int32_t i = 0; i < 2; i++)
            sum->of[pixel][i] = cn_requantize(sum->of[pixel][i], to.multiplier[channel + 2 * i],
                                              to.shift[channel + 2 * i]);
    for (int32_t pixel = 0; pixel < pixels; pixel++)
        for (int32_t i = 0; i < 2; i++)
            sum->of[pixel][i] = cn_clamp(sum->of[pixel][i] + to.offset, to.min, to.max);
    for (int32_t pixel = 0; pixel < pixels; pixel++)
        for (int32_t i = 0; i < 2; i++)
            out[channel + 2 * i + pixel * out_c] = (int8_t)sum->of[pixel][i];
}

/*
 * Rows 0 and 2, then rows 1 and 3, of a group of four. An odd row's first weight stands behind the last
 * one of the row before it, and is multiplied with that.
 */
static inline void multiply_group(const cn_layer *layer, cn_output to, shape of, const int8_t *row,
                                  const int8_t *pixel, int32_t channel, int8_t *out, int pixels)
{
    const int32_t *const bias = layer->bias + channel;
    place at = {row, pixel};
    tile sum = start(bias[0], bias[2]), next = start(bias[1], bias[3]);
    multiply_rows(&sum, &at, of, pixels, 2);
    if (of.depth & 1) {
        const int8_t w0 = *at.row, w1 = at.row[of.row_step];
        multiply_one(&sum, &at, of, cn_low_nibble(w0), cn_low_nibble(w1), pixels, 2);
        at.pixel = pixel;
        multiply_one(&next, &at, of, cn_high_nibble(w0), cn_high_nibble(w1), pixels, 2);
        at.row++;
    } else {
        at.pixel = pixel;
    }
    finish(to, &sum, channel, out, layer->out_c, pixels);
    multiply_rows(&next, &at, of, pixels, 2);
    finish(to, &next, channel + 1, out, layer->out_c, pixels);
}

/* One row, of the last one to three; `over` is its first weight if that stands in the row before it. */
static inline tile multiply_row(shape of, const int8_t *row, const int8_t *pixel, int32_t bias,
                                int32_t rest, int32_t over, int pixels)
{
    place at = {row, pixel};
    tile sum = start(bias, 0);
    if ((of.depth & 1) && rest == 1)
        multiply_one(&sum, &at, of, over, 0, pixels, 1);
    multiply_rows(&sum, &at, of, pixels, 1);
    if ((of.depth & 1) && rest != 1)
        multiply_one(&sum, &at, of, cn_low_nibble(*at.row), 0, pixels, 1);
    return sum;
}

/* `pixels` pixels that lie `step` values apart. */
CN_ALONE static void multiply(const cn_layer *layer, const int8_t *in, int32_t pixels, int32_t step,
                              int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t depth = layer->in_c, out_c = layer->out_c, offset = layer->in_offset;
    const shape of = {depth, step, depth, offset, cn_both(offset)};
    const int8_t *weight = layer->weight;
    int32_t channel = 0;

    for (; channel <= out_c - 4; channel += 4) {
        const int8_t *pixel = in;
        int8_t *at = out;
        for (int32_t pairs = pixels >> 1; pairs > 0; pairs--) {
            multiply_group(layer, to, of, weight, pixel, channel, at, 2);
            pixel += 2 * step;
            at += 2 * out_c;
        }
        if (pixels & 1)
            multiply_group(layer, to, of, weight, pixel, channel, at, 1);
        weight += 2 * depth;
    }

    int32_t over = 0;
    for (int32_t rest = 0; channel < out_c; channel++, rest++) {
        const int32_t bias = layer->bias[channel];
        const int8_t *pixel = in;
        int8_t *at = out + channel;
        for (int32_t pairs = pixels >> 1; pairs > 0; pairs--) {
            const tile sum = multiply_row(of, weight, pixel, bias, rest, over, 2);
            at[0] = cn_finish(to, sum.of[0][0], channel);
            at[out_c] = cn_finish(to, sum.of[1][0], channel);
            pixel += 2 * step;
            at += 2 * out_c;
        }
        if (pixels & 1)
            *at = cn_finish(to, multiply_row(of, weight, pixel, bias, rest, over, 1).of[0][0],
                            channel);
        weight += depth >> 1;
        if ((depth & 1) && rest != 1)
            over = cn_high_nibble(*weight++);
    }
}

void cn_convolve_1x1_s4(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    if (layer->stride_h == 1 && layer->stride_w == 1) {
        multiply(layer, in, layer->out_h * layer->out_w, layer->in_c, out);
        return;
    }
    for (int32_t y = 0; y < layer->out_h; y++) {
        multiply(layer, in, layer->out_w, layer->stride_w * layer->in_c, out);
        in += layer->stride_h * layer->in_w * layer->in_c;
        out += layer->out_w * layer->out_c;
    }
}
