/* Fully connected, addition, pooling, concatenation. */
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

/* Two rows of weights at a time, four inputs at a time. */
void cn_fully_connected_s8(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t depth = layer->in_c;
    const uint32_t offsets = ((uint32_t)layer->in_offset & 0xffffu) * 0x00010001u;
    const int8_t *row_0 = layer->weight;
    int32_t channel = 0;

    for (; channel + 2 <= layer->out_c; channel += 2) {
        const int8_t *row_1 = row_0 + depth;
        const int8_t *values = in;
        int32_t sum_0 = layer->bias[channel], sum_1 = layer->bias[channel + 1];
        int32_t rest = depth;
        for (; rest >= 4; rest -= 4) {
            const uint32_t a = cn_load_4(values);
            const uint32_t even = cn_sxtab16(offsets, a), odd = cn_sxtab16_ror8(offsets, a);
            const uint32_t w0 = cn_load_4(row_0), w1 = cn_load_4(row_1);
            sum_0 = cn_smlad(even, cn_sxtb16(w0), sum_0);
            sum_0 = cn_smlad(odd, cn_sxtb16_ror8(w0), sum_0);
            sum_1 = cn_smlad(even, cn_sxtb16(w1), sum_1);
            sum_1 = cn_smlad(odd, cn_sxtb16_ror8(w1), sum_1);
            values += 4;
            row_0 += 4;
            row_1 += 4;
        }
        for (; rest > 0; rest--) {
            const int32_t value = *values++ + layer->in_offset;
            sum_0 += *row_0++ * value;
            sum_1 += *row_1++ * value;
        }
        *out++ = cn_finish(to, sum_0, channel);
        *out++ = cn_finish(to, sum_1, channel + 1);
        row_0 = row_1;
    }
    if (channel < layer->out_c) {
        int32_t sum = layer->bias[channel];
        for (int32_t i = 0; i < depth; i++)
            sum += row_0[i] * (in[i] + layer->in_offset);
        *out = cn_finish(to, sum, channel);
    }
}

/* Both operands are brought to a common scale in Q(left_shift), added, and requantized. */
void cn_add_s8(const cn_addition *layer, const int8_t *a, const int8_t *b, int8_t *out,
               int32_t size)
{
    for (int32_t i = 0; i < size; i++) {
        int32_t left = (int32_t)((uint32_t)(a[i] + layer->in_offset_a) << layer->left_shift);
        int32_t right = (int32_t)((uint32_t)(b[i] + layer->in_offset_b) << layer->left_shift);
        left = cn_requantize(left, layer->multiplier_a, layer->shift_a);
        right = cn_requantize(right, layer->multiplier_b, layer->shift_b);
        const int32_t sum = cn_requantize(left + right, layer->out_multiplier, layer->out_shift);
        out[i] = cn_clamp(sum + layer->out_offset, layer->act_min, layer->act_max);
    }
}

/* Input and output share scale and zero point; halves round away from zero. */
void cn_average_pool_s8(const cn_pool *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t count = layer->kernel_h * layer->kernel_w;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const int8_t *window =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) * channels;
            for (int32_t channel = 0; channel < channels; channel++) {
                int32_t sum = 0;
                for (int32_t ky = 0; ky < layer->kernel_h; ky++)
                    for (int32_t kx = 0; kx < layer->kernel_w; kx++)
                        sum += window[(ky * layer->in_w + kx) * channels + channel];
                sum = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
                *out++ = cn_clamp(sum, layer->act_min, layer->act_max);
            }
        }
    }
}

void cn_max_pool_s8(const cn_pool *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->channels;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const int8_t *window =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) * channels;
            for (int32_t channel = 0; channel < channels; channel++) {
                int32_t largest = layer->act_min;
                for (int32_t ky = 0; ky < layer->kernel_h; ky++)
                    for (int32_t kx = 0; kx < layer->kernel_w; kx++) {
                        const int32_t v = window[(ky * layer->in_w + kx) * channels + channel];
                        largest = v > largest ? v : largest;
                    }
                *out++ = cn_clamp(largest, layer->act_min, layer->act_max);
            }
        }
    }
}

void cn_copy_s8(const int8_t *in, int8_t *out, int32_t size)
{
    for (; size >= 4; size -= 4) {
        const uint32_t word = cn_load_4(in);
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
