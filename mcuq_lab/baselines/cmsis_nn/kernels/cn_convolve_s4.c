/*
 * Convolution with 4-bit weights through im2col: every window is widened to a column of int16 in the
 * order of memory; two columns are multiplied with two rows of weights at a time. With an odd number of
 * weights only every second row starts with a byte, so the rows of a tile lie two apart, and each of
 * them leaves the first weight of the row behind it over.
 */
#include "cn_column.h"
#include "cn_layers.h"
#include "cn_nibbles.h"
#include "cn_output.h"
#include "cn_support.h"

/* Sums of a tile: [row][column]. */
typedef struct {
    int32_t of[2][2];
} tile;

/* Two columns and two rows of weights, where they are read next. */
typedef struct {
    const int16_t *column[2];
    const int8_t *row[2];
} place;

/* Four weights in the order of memory. */
typedef struct {
    uint32_t first_two, last_two;
} ordered;

static inline ordered widen_in_order(const int8_t *row)
{
    const cn_four w = cn_widen_nibbles(row);
    const ordered four = {dsp_low_halves(w.even, w.odd), dsp_high_halves(w.even, w.odd)};
    return four;
}

/* One weight of each row with one value of each column. */
static inline void multiply_one(tile *sum, place *at, int32_t w0, int32_t w1, int rows)
{
    const int32_t a0 = *at->column[0]++, a1 = *at->column[1]++;
    sum->of[0][0] += w0 * a0;
    sum->of[0][1] += w0 * a1;
    if (rows == 2) {
        sum->of[1][0] += w1 * a0;
        sum->of[1][1] += w1 * a1;
    }
}

/* The weights of each row, but for the last one of an odd number. */
static inline void multiply_rows(tile *sum, place *at, int32_t depth, int rows)
{
    for (int32_t fours = depth >> 2; fours > 0; fours--) {
        uint32_t a0 = cn_next_2x16(&at->column[0]), a1 = cn_next_2x16(&at->column[1]);
        const ordered w0 = widen_in_order(at->row[0]);
        const ordered w1 = rows == 2 ? widen_in_order(at->row[1]) : w0;
        at->row[0] += 2;
        at->row[1] += 2;
        sum->of[0][0] = dsp_smlad(w0.first_two, a0, sum->of[0][0]);
        sum->of[0][1] = dsp_smlad(w0.first_two, a1, sum->of[0][1]);
        if (rows == 2) {
            sum->of[1][0] = dsp_smlad(w1.first_two, a0, sum->of[1][0]);
            sum->of[1][1] = dsp_smlad(w1.first_two, a1, sum->of[1][1]);
        }
        a0 = cn_next_2x16(&at->column[0]);
        a1 = cn_next_2x16(&at->column[1]);
        sum->of[0][0] = dsp_smlad(w0.last_two, a0, sum->of[0][0]);
        sum->of[0][1] = dsp_smlad(w0.last_two, a1, sum->of[0][1]);
        if (rows == 2) {
            sum->of[1][0] = dsp_smlad(w1.last_two, a0, sum->of[1][0]);
            sum->of[1][1] = dsp_smlad(w1.last_two, a1, sum->of[1][1]);
        }
    }
    for (int32_t pairs = (depth & 3) >> 1; pairs > 0; pairs--) {
        const int8_t w0 = *at->row[0]++, w1 = rows == 2 ? *at->row[1]++ : 0;
        multiply_one(sum, at, cn_low_nibble(w0), cn_low_nibble(w1), rows);
        multiply_one(sum, at, cn_high_nibble(w0), cn_high_nibble(w1), rows);
    }
}

static inline tile start(int32_t row_0, int32_t row_1)
{
    const tile sum = {{{row_0, row_0}, {row_1, row_1}}};
    return sum;
}

/* Outputs of channels `channel` and `channel` + 2 of both pixels. */
static inline void finish(const cn_layer *layer, cn_output to, const tile *sum, int32_t channel,
                          int8_t *out)
{
    for (int32_t i = 0; i < 2; i++) {
        const int32_t c = channel + 2 * i;
        out[c] = cn_finish(to, sum->of[i][0], c);
        out[c + layer->out_c] = cn_finish(to, sum->of[i][1], c);
    }
}

/* Four rows with two columns: rows 0 and 2, then rows 1 and 3. Returns the row behind them. */
static inline const int8_t *multiply_four_rows(const cn_layer *layer, cn_output to,
                                               const int16_t *columns, int32_t depth,
                                               const int8_t *row, int32_t channel, int8_t *out)
{
    const int32_t *const bias = layer->bias + channel;
    int32_t over_0 = 0, over_1 = 0;
    place at = {{columns, columns + depth}, {row, row + depth}};
    tile sum = start(bias[0], bias[2]);
    multiply_rows(&sum, &at, depth, 2);
    if (depth & 1) {
        const int8_t w0 = *at.row[0]++, w1 = *at.row[1]++;
        over_0 = cn_high_nibble(w0);
        over_1 = cn_high_nibble(w1);
        multiply_one(&sum, &at, cn_low_nibble(w0), cn_low_nibble(w1), 2);
    }
    finish(layer, to, &sum, channel, out);

    at.column[0] = columns;
    at.column[1] = columns + depth;
    sum = start(bias[1], bias[3]);
    if (depth & 1)
        multiply_one(&sum, &at, over_0, over_1, 2);
    multiply_rows(&sum, &at, depth, 2);
    finish(layer, to, &sum, channel + 1, out);
    return at.row[1];
}

/* All output channels of two pixels. */
CN_ALONE static void multiply_two_columns(const cn_layer *layer, const int16_t *columns,
                                          int32_t depth, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t channels = layer->out_c;
    const int8_t *row = layer->weight;
    int32_t channel = 0;
    for (; channel <= channels - 4; channel += 4)
        row = multiply_four_rows(layer, to, columns, depth, row, channel, out);

    for (int32_t rest = 0; channel < channels; channel++, rest++) {
        place at = {{columns, columns + depth}, {row, row}};
        tile sum = start(layer->bias[channel], 0);
        if (rest == 1 && (depth & 1))
            multiply_one(&sum, &at, cn_high_nibble(*at.row[0]++), 0, 1);
        multiply_rows(&sum, &at, depth, 1);
        if (rest != 1 && (depth & 1))
            multiply_one(&sum, &at, cn_low_nibble(*at.row[0]), 0, 1);
        row = at.row[0];
        out[channel] = cn_finish(to, sum.of[0][0], channel);
        out[channel + channels] = cn_finish(to, sum.of[0][1], channel);
    }
}

/* The last pixel of an odd number of pixels, one channel at a time. */
static void multiply_one_column(const cn_layer *layer, const int16_t *column, int32_t depth,
                                int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t *const bias = layer->bias;
    const int8_t *row = layer->weight;
    const int32_t channels = layer->out_c;
    int32_t over = 0;
    for (int32_t channel = 0; channel < channels; channel++) {
        const int16_t *values = column;
        int32_t sum = bias[channel];
        if ((depth & 1) && (channel & 1))
            sum += over * *values++;
        for (int32_t fours = depth >> 2; fours > 0; fours--) {
            const ordered w = widen_in_order(row);
            row += 2;
            sum = dsp_smlad(w.first_two, cn_next_2x16(&values), sum);
            sum = dsp_smlad(w.last_two, cn_next_2x16(&values), sum);
        }
        for (int32_t pairs = (depth & 3) >> 1; pairs > 0; pairs--) {
            const int8_t w = *row++;
            sum += cn_low_nibble(w) * *values++;
            sum += cn_high_nibble(w) * *values++;
        }
        if ((depth & 1) && !(channel & 1)) {
            const int8_t w = *row++;
            over = cn_high_nibble(w);
            sum += cn_low_nibble(w) * *values;
        }
        *out++ = cn_finish(to, sum, channel);
    }
}

void cn_convolve_s4(const cn_layer *layer, const int8_t *in, int16_t *columns, int8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, in_c = layer->in_c;
    const int32_t kernel_h = layer->kernel_h, kernel_w = layer->kernel_w;
    const int32_t stride_h = layer->stride_h, stride_w = layer->stride_w;
    const int32_t out_h = layer->out_h, out_w = layer->out_w, out_c = layer->out_c;
    const int32_t pad_top = layer->pad_top, pad_left = layer->pad_left;
    const int32_t offset = layer->in_offset;
    const int32_t depth = kernel_h * kernel_w * in_c;
    int16_t *column = columns;

    for (int32_t out_y = 0; out_y < out_h; out_y++) {
        for (int32_t out_x = 0; out_x < out_w; out_x++) {
            const int32_t base_y = stride_h * out_y - pad_top, base_x = stride_w * out_x - pad_left;
            for (int32_t ky = 0; ky < kernel_h; ky++) {
                for (int32_t kx = 0; kx < kernel_w; kx++) {
                    const int32_t y = base_y + ky, x = base_x + kx;
                    if (y < 0 || y >= in_h || x < 0 || x >= in_w)
                        __builtin_memset(column, 0, (size_t)in_c * sizeof *column);
                    else
                        cn_widen_in_order(in + (y * in_w + x) * in_c, column, in_c, offset);
                    column += in_c;
                }
            }
            if (column == columns + 2 * depth) {
                multiply_two_columns(layer, columns, depth, out);
                out += 2 * out_c;
                column = columns;
            }
        }
    }
    if (column != columns)
        multiply_one_column(layer, columns, depth, out);
}
