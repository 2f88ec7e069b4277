/*
 * Fully connected with 4-bit weights: a row of the first half of the groups of four rows with one of the
 * second half, so that both start with a byte or both with a nibble.
 */
#include "cn_layers.h"
#include "cn_nibbles.h"
#include "cn_output.h"
#include "cn_support.h"

/* A row and the one `step` bytes behind it, from the input that comes next. */
typedef struct {
    const int8_t *row, *values;
    int32_t sum[2];
} pass;

static inline void multiply_one(pass *at, int32_t offset, int32_t w0, int32_t w1, int rows)
{
    const int32_t a = *at->values++ + offset;
    at->sum[0] += a * w0;
    if (rows == 2)
        at->sum[1] += a * w1;
}

/* An even number of weights of each row, as many as there are. */
static inline void multiply_rows(pass *at, int32_t step, int32_t depth, int32_t offset, int rows)
{
    const uint32_t offsets = cn_both(offset);
    for (int32_t fours = depth >> 2; fours > 0; fours--) {
        const cn_four w0 = cn_widen_nibbles(at->row);
        const cn_four w1 = rows == 2 ? cn_widen_nibbles(at->row + step) : w0;
        at->row += 2;
        const uint32_t a = cn_next_4(&at->values);
        const uint32_t even = cn_sxtab16(offsets, a), odd = cn_sxtab16_ror8(offsets, a);
        at->sum[0] = dsp_smlad(even, w0.even, at->sum[0]);
        at->sum[0] = dsp_smlad(odd, w0.odd, at->sum[0]);
        if (rows == 2) {
            at->sum[1] = dsp_smlad(even, w1.even, at->sum[1]);
            at->sum[1] = dsp_smlad(odd, w1.odd, at->sum[1]);
        }
    }
    if (depth & 2) {
        const int8_t w0 = at->row[0], w1 = rows == 2 ? at->row[step] : 0;
        multiply_one(at, offset, cn_low_nibble(w0), cn_low_nibble(w1), rows);
        multiply_one(at, offset, cn_high_nibble(w0), cn_high_nibble(w1), rows);
        at->row++;
    }
}

void cn_fully_connected_s4(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t *const bias = layer->bias;
    const int32_t depth = layer->in_c, channels = layer->out_c, offset = layer->in_offset;
    const int32_t half = 2 * (channels >> 2), step = depth * (channels >> 2);
    const int8_t *row = layer->weight;
    int32_t channel = 0;

    /* Two rows of each half: the one that starts with a byte, and the one behind it. */
    for (; channel < half; channel += 2) {
        int32_t over[2] = {0, 0};
        for (int32_t second = 0; second < 2; second++) {
            const int32_t c = channel + second;
            pass at = {row, in + (second ? depth & 1 : 0),
                       {over[0] + bias[c], over[1] + bias[c + half]}};
            multiply_rows(&at, step, depth, offset, 2);
            if (!second && (depth & 1)) {
                const int8_t w0 = at.row[0], w1 = at.row[step];
                multiply_one(&at, offset, cn_low_nibble(w0), cn_low_nibble(w1), 2);
                over[0] = (in[0] + offset) * cn_high_nibble(w0);
                over[1] = (in[0] + offset) * cn_high_nibble(w1);
                at.row++;
            }
            row = at.row;
            out[c] = cn_finish(to, at.sum[0], c);
            out[c + half] = cn_finish(to, at.sum[1], c + half);
        }
    }

    row += step;
    int32_t over = 0;
    for (int32_t rest = 0; rest < (channels & 3); rest++) {
        const int32_t c = 2 * half + rest;
        pass at = {row, in + (rest == 1 ? depth & 1 : 0), {over + bias[c], 0}};
        over = 0;
        multiply_rows(&at, 0, depth, offset, 1);
        if (rest != 1 && (depth & 1)) {
            const int8_t w = *at.row++;
            multiply_one(&at, offset, cn_low_nibble(w), 0, 1);
            over = (in[0] + offset) * cn_high_nibble(w);
        }
        row = at.row;
        out[c] = cn_finish(to, at.sum[0], c);
    }
}
