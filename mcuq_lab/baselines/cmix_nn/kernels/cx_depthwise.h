/*
 * Depthwise convolution for one triple of widths: the including file defines CX_W_BITS, CX_IN_BITS,
 * CX_OUT_BITS (8, 4 or 2 each) and CX_NAME, the function to define.
 *
 * The window of one pixel is copied to bytes, tap after tap; then four channels at a time, two taps
 * at a time are paired for SMLAD. Weights lie tap after tap, channels padded to whole fours.
 */
#include "cx_layers.h"
#include "cx_output.h"
#include "cx_support.h"

#define WEIGHT_BYTES (CX_W_BITS / 2) /* of four channels */
#define OUTPUT_BYTES (CX_OUT_BITS / 2)

static inline uint32_t load_weights(const uint8_t *p)
{
#if CX_W_BITS == 8
    return dsp_load(p);
#elif CX_W_BITS == 4
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
#else
    return p[0];
#endif
}

#if CX_W_BITS < 8
/* Weight of channel c of four, unsigned. */
static inline uint32_t weight_of(uint32_t tap, int32_t c)
{
    return (tap >> CX_W_BITS * c) & ((1u << CX_W_BITS) - 1u);
}
#endif

/*
 * Two taps of channel c of four, as halves. Below eight bits each tap is masked and shifted by itself
 * to a byte; bytes are widened in every case.
 */
static inline uint32_t weight_pair(uint32_t tap_0, uint32_t tap_1, int32_t c)
{
#if CX_W_BITS == 8
    return cx_widen_8(c < 2 ? dsp_low_halves(tap_0, tap_1) : dsp_high_halves(tap_0, tap_1), c & 1);
#else
    return cx_uxtb16(weight_of(tap_0, c) | weight_of(tap_1, c) << 16);
#endif
}

/* One pixel to bytes. */
static void unpack_pixel(const uint8_t *in, uint8_t *column, int32_t channels)
{
#if CX_IN_BITS == 8
    __builtin_memcpy(column, in, (size_t)channels);
#else
    const int32_t per_byte = 8 / CX_IN_BITS;
    const uint32_t mask = (1u << CX_IN_BITS) - 1u;
    for (; channels >= per_byte; channels -= per_byte) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < per_byte; i++)
            *column++ = (uint8_t)((*in >> i * CX_IN_BITS) & mask);
        in++;
    }
    for (int32_t i = 0; i < channels; i++)
        *column++ = (uint8_t)((*in >> i * CX_IN_BITS) & mask);
#endif
}

/* Two taps of four channels, minus the zero points of both. */
static inline void accumulate(int32_t *sum, uint32_t in_0, uint32_t in_1, uint32_t tap_0,
                              uint32_t tap_1, uint32_t zeros, uint32_t middle)
{
    const uint32_t low = dsp_low_halves(in_0, in_1), high = dsp_high_halves(in_0, in_1);
#pragma GCC unroll 4
    for (int32_t c = 0; c < 4; c++) {
        const uint32_t wide = cx_widen_8(c < 2 ? low : high, c & 1);
        sum[c] = dsp_smlad(cx_ssub16(weight_pair(tap_0, tap_1, c), middle), cx_ssub16(wide, zeros),
                          sum[c]);
    }
}

/* All channels of one pixel. Not inlined: its inner loop needs every register. */
__attribute__((noinline)) static void multiply_column(const cx_layer *layer, const uint8_t *column,
                                                      uint8_t *out)
{
    const cx_output to = cx_output_of(layer);
    const int32_t *const start = layer->start;
    const int32_t taps = layer->kernel_h * layer->kernel_w, pitch = (layer->in_c + 3) & ~3;
    const int32_t row_bytes = pitch * CX_W_BITS / 8;
    const uint32_t middle = cx_both(1u << (CX_W_BITS - 1)), zeros = cx_both(layer->in_zero);
    const uint8_t *weight = layer->weight;
    const uint8_t *const out_end = out + layer->out_pixel_bytes;

    for (int32_t channel = 0; channel < pitch; channel += 4) {
        int32_t sum[4] = {start[channel], start[channel + 1], start[channel + 2],
                          start[channel + 3]};
        const uint8_t *values = column + channel;
        const uint8_t *row = weight;
        const uint8_t *const end = values + (taps & ~1) * pitch;
        while (values != end) {
            accumulate(sum, dsp_load(values), dsp_load(values + pitch), load_weights(row),
                       load_weights(row + row_bytes), zeros, middle);
            values += 2 * pitch;
            row += 2 * row_bytes;
        }
#if CX_W_BITS == 8
        if (taps & 1) /* beside weights of zero */
            accumulate(sum, dsp_load(values), 0, load_weights(row), 0x80808080u, zeros, middle);
#else
        if (taps & 1) {
            const uint32_t tap = load_weights(row);
#pragma GCC unroll 4
            for (int32_t c = 0; c < 4; c++)
                sum[c] += ((int32_t)weight_of(tap, c) - (1 << (CX_W_BITS - 1))) *
                          (values[c] - layer->in_zero);
        }
#endif
        uint32_t fields = 0;
#pragma GCC unroll 4
        for (int32_t c = 0; c < 4; c++)
            fields |= CX_USAT(cx_finish(to, sum[c], channel + c), CX_OUT_BITS) << c * CX_OUT_BITS;
        if (out_end - out >= OUTPUT_BYTES) {
            __builtin_memcpy(out, &fields, OUTPUT_BYTES);
            out += OUTPUT_BYTES;
        } else {
            for (; out != out_end; fields >>= 8)
                *out++ = (uint8_t)fields;
        }
        weight += WEIGHT_BYTES;
    }
}

void CX_NAME(const cx_layer *layer, const uint8_t *in, uint8_t *column, uint8_t *out);

/* column: kernel_h * kernel_w * in_c bytes, in_c rounded up to a multiple of four. */
void CX_NAME(const cx_layer *layer, const uint8_t *in, uint8_t *column, uint8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, in_c = layer->in_c;
    const int32_t pitch = (in_c + 3) & ~3;
    const int32_t in_zero = layer->in_zero;

    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            const int32_t base_x = layer->stride_w * out_x - layer->pad_left;
            uint8_t *tap = column;
            for (int32_t y = base_y; y < base_y + layer->kernel_h; y++) {
                for (int32_t x = base_x; x < base_x + layer->kernel_w; x++) {
                    if (y < 0 || y >= in_h || x < 0 || x >= in_w)
                        __builtin_memset(tap, in_zero, (size_t)pitch);
                    else
                        unpack_pixel(in + (y * in_w + x) * layer->in_pixel_bytes, tap, in_c);
                    tap += pitch;
                }
            }
            multiply_column(layer, column, out);
            out += layer->out_pixel_bytes;
        }
    }
}
