/* Fully connected, addition, pooling, concatenation. */
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

/* Two rows of weights at a time, four inputs at a time, the loop over them unrolled by gcc. */
__attribute__((optimize("unroll-loops"))) void
cn_fully_connected_s8(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t *bias = layer->bias, *multiplier = to.multiplier, *shift = to.shift;
    const int32_t depth = layer->in_c, channels = layer->out_c, offset = layer->in_offset;
    const uint32_t offsets = cn_both(offset);
    const int8_t *weight = layer->weight;

    for (int32_t pairs = channels >> 1; pairs > 0; pairs--) {
        const int8_t *values = in, *row_0 = weight, *row_1 = weight + depth;
        int32_t sum_0 = *bias++, sum_1 = *bias++;
        weight += 2 * depth;
        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            const uint32_t a = cn_next_4(&values);
            const uint32_t a_odd = cn_sxtab16_ror8(offsets, a), a_even = cn_sxtab16(offsets, a);
            uint32_t w = cn_next_4(&row_0);
            sum_0 = dsp_smlad(cn_sxtb16_ror8(w), a_odd, sum_0);
            sum_0 = dsp_smlad(cn_sxtb16(w), a_even, sum_0);
            w = cn_next_4(&row_1);
            sum_1 = dsp_smlad(cn_sxtb16_ror8(w), a_odd, sum_1);
            sum_1 = dsp_smlad(cn_sxtb16(w), a_even, sum_1);
        }
        for (int32_t i = depth & ~3; i < depth; i++) {
            const int32_t value = *values++ + offset;
            sum_0 += value * *row_0++;
            sum_1 += value * *row_1++;
        }
        sum_0 = cn_requantize(sum_0, *multiplier++, *shift++);
        sum_1 = cn_requantize(sum_1, *multiplier++, *shift++);
        *out++ = cn_clamp(sum_0 + to.offset, to.min, to.max);
        *out++ = cn_clamp(sum_1 + to.offset, to.min, to.max);
    }
    if (channels & 1) {
        const int8_t *values = in, *row = weight;
        int32_t sum = *bias;
        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            const uint32_t a = cn_next_4(&values);
            const uint32_t a_odd = cn_sxtab16_ror8(offsets, a), a_even = cn_sxtab16(offsets, a);
            const uint32_t w = cn_next_4(&row);
            sum = dsp_smlad(cn_sxtb16_ror8(w), a_odd, sum);
            sum = dsp_smlad(cn_sxtb16(w), a_even, sum);
        }
        for (int32_t i = depth & ~3; i < depth; i++)
            sum += (*values++ + offset) * *row++;
        *out = cn_scale(to, sum, *multiplier, *shift);
    }
}

/* One sum: both operands are brought to a common scale in Q(left_shift), added, and requantized. */
static inline int32_t add_one(const cn_addition *layer, int32_t a, int32_t b)
{
    a = cn_requantize((int32_t)((uint32_t)a << layer->left_shift), layer->multiplier_a,
                      layer->shift_a);
    b = cn_requantize((int32_t)((uint32_t)b << layer->left_shift), layer->multiplier_b,
                      layer->shift_b);
    const int32_t sum = cn_requantize(a + b, layer->out_multiplier, layer->out_shift);
    return cn_clamp(sum + layer->out_offset, layer->act_min, layer->act_max);
}

/* Four values at a time; the even ones come first, as SXTB16 unpacks them. */
void cn_add_s8(const cn_addition *parameters, const int8_t *a, const int8_t *b, int8_t *out,
               int32_t size)
{
    const cn_addition layer = *parameters;
    const uint32_t offsets_a = cn_both(layer.in_offset_a), offsets_b = cn_both(layer.in_offset_b);
    for (int32_t fours = size >> 2; fours > 0; fours--) {
        const uint32_t four_a = cn_next_4(&a), four_b = cn_next_4(&b);
        const uint32_t a_even = cn_sxtab16(offsets_a, four_a);
        const uint32_t a_odd = cn_sxtab16(offsets_a, cn_rotate_8(four_a));
        const uint32_t b_even = cn_sxtab16(offsets_b, four_b);
        const uint32_t b_odd = cn_sxtab16(offsets_b, cn_rotate_8(four_b));
        const int32_t sum_0 = add_one(&layer, (int16_t)a_even, (int16_t)b_even);
        const int32_t sum_2 = add_one(&layer, (int32_t)a_even >> 16, (int32_t)b_even >> 16);
        const int32_t sum_1 = add_one(&layer, (int16_t)a_odd, (int16_t)b_odd);
        const int32_t sum_3 = add_one(&layer, (int32_t)a_odd >> 16, (int32_t)b_odd >> 16);
        const uint32_t four = (uint8_t)sum_0 | (uint32_t)(uint8_t)sum_1 << 8 |
                              (uint32_t)(uint8_t)sum_2 << 16 | (uint32_t)(uint8_t)sum_3 << 24;
        __builtin_memcpy(out, &four, 4);
        out += 4;
    }
    for (int32_t rest = size & 3; rest > 0; rest--)
        *out++ = (int8_t)add_one(&layer, *a++ + layer.in_offset_a, *b++ + layer.in_offset_b);
}

/* Sums tap after tap, all channels of each. Input and output share scale and zero point; halves round
 * away from zero. */
void cn_average_pool_s8(const cn_pool *layer, const int8_t *in, int32_t *sums, int8_t *out)
{
    const int32_t channels = layer->channels, in_w = layer->in_w;
    const int32_t count = layer->kernel_h * layer->kernel_w, half = count / 2;
    const int32_t act_min = layer->act_min, act_max = layer->act_max;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const int8_t *const window =
                in + (y * layer->stride_h * in_w + x * layer->stride_w) * channels;
            for (int32_t ky = 0; ky < layer->kernel_h; ky++) {
                for (int32_t kx = 0; kx < layer->kernel_w; kx++) {
                    const int8_t *const tap = window + (ky * in_w + kx) * channels;
                    if (ky == 0 && kx == 0) {
                        for (int32_t channel = 0; channel < channels; channel++)
                            sums[channel] = tap[channel];
                    } else {
                        for (int32_t channel = 0; channel < channels; channel++)
                            sums[channel] = cn_qadd(tap[channel], sums[channel]);
                    }
                }
            }
            for (int32_t channel = 0; channel < channels; channel++) {
                const int32_t sum = sums[channel];
                *out++ = cn_clamp((sum > 0 ? sum + half : sum - half) / count, act_min, act_max);
            }
        }
    }
}

/* out[i] = max(out[i], in[i]), four values at a time. */
static void keep_larger(int8_t *out, const int8_t *in, int32_t count)
{
    for (int32_t fours = count >> 2; fours > 0; fours--) {
        int8_t kept[4], candidate[4];
        __builtin_memcpy(kept, out, 4);
        __builtin_memcpy(candidate, in, 4);
        for (int32_t i = 0; i < 4; i++)
            if (candidate[i] > kept[i])
                kept[i] = candidate[i];
        __builtin_memcpy(out, kept, 4);
        in += 4;
        out += 4;
    }
    for (int32_t rest = count & 3; rest > 0; rest--, in++, out++)
        if (*in > *out)
            *out = *in;
}

/* Takes the largest tap after tap, all channels of each; clamps the whole output at the end. */
void cn_max_pool_s8(const cn_pool *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->channels, in_w = layer->in_w;
    const int32_t size = layer->out_h * layer->out_w * channels;
    int8_t *pixel = out;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const int8_t *const window =
                in + (y * layer->stride_h * in_w + x * layer->stride_w) * channels;
            for (int32_t ky = 0; ky < layer->kernel_h; ky++) {
                for (int32_t kx = 0; kx < layer->kernel_w; kx++) {
                    const int8_t *const tap = window + (ky * in_w + kx) * channels;
                    if (ky == 0 && kx == 0)
                        __builtin_memcpy(pixel, tap, (size_t)channels);
                    else
                        keep_larger(pixel, tap, channels);
                }
            }
            pixel += channels;
        }
    }
    for (int32_t i = 0; i < size; i++)
        out[i] = cn_clamp(out[i], layer->act_min, layer->act_max);
}

void cn_copy_s8(const int8_t *in, int8_t *out, int32_t size)
{
    for (; size >= 4; size -= 4) {
        const uint32_t word = dsp_load(in);
        __builtin_memcpy(out, &word, 4);
        in += 4;
        out += 4;
    }
    while (size-- > 0)
        *out++ = *in++;
}

/* Copies one operand into its channels of the joined tensor. */
void cn_concatenate_s8(const int8_t *in, int8_t *out, int32_t pixels, int32_t in_c, int32_t out_c)
{
    for (int32_t i = 0; i < pixels; i++) {
        for (int32_t c = 0; c < in_c; c++)
            out[c] = in[c];
        in += in_c;
        out += out_c;
    }
}
