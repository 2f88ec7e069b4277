/*
 * Parameters of TinyEngine's kernels, and from an accumulator to an output.
 *
 * Algorithms: J. Lin et al., "MCUNet: Tiny Deep Learning on IoT Devices", NeurIPS 2020, section 3.2,
 * and MCUNetV2, NeurIPS 2021: kernels made for one shape, unrolled, depthwise in place. Tensors are
 * int8 NHWC with a zero point as in TensorFlow Lite.
 */
#ifndef TE_LAYERS_H
#define TE_LAYERS_H

#include "cn_layers.h"
#include "cn_support.h"

/* A layer with weights. */
typedef struct {
    uint16_t in_h, in_w, in_c;    /* input size, pixels and channels                      */
    uint16_t out_h, out_w, out_c; /* output size                                          */
    uint16_t kernel_h, kernel_w;  /* window                                               */
    uint16_t stride_h, stride_w;
    uint16_t pad_top, pad_bottom, pad_left, pad_right;
    int32_t in_zero, out_zero;    /* zero points                                          */
    const int8_t *weight;         /* OHWI; channel after channel for a depthwise layer    */
    int32_t act_min, act_max;
    const int32_t *bias;
    const int32_t *zero_bias;     /* depthwise: minus in_zero times the sum of weights    */
    const int32_t *multiplier;    /* integer requantization: Q31, and a power of two      */
    const int32_t *shift;
    const float *scale;           /* float requantization                                 */
} te_layer;

static inline int8_t te_saturate(int32_t value)
{
    return cn_clamp(value, -128, 127);
}

/* The output's parameters by value: no store of an output can change them. */
typedef struct {
    int32_t zero, min, max;
} te_output;

static inline te_output te_output_of(const te_layer *layer)
{
    const te_output to = {layer->out_zero, layer->act_min, layer->act_max};
    return to;
}

static inline int8_t te_finish_integer(te_output to, int32_t sum, int32_t multiplier, int32_t shift)
{
    return cn_clamp(cn_requantize(sum, multiplier, shift) + to.zero, to.min, to.max);
}

/* One multiplication in single precision, truncated towards zero. */
static inline int8_t te_finish_float(te_output to, int32_t sum, float scale)
{
    return cn_clamp((int32_t)((float)sum * scale) + to.zero, to.min, to.max);
}

/* columns: 2 * kernel_h * kernel_w * in_c int16. Requantizes with integers. */
void te_convolve(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out);

/* columns: 2 * 27 int16, and 27 int16 for each output channel. Requantizes with integers. */
void te_convolve_3_channels(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out);

typedef struct {
    float zero_a, zero_b, zero; /* of the operands, and of the output */
    float scale_a, scale_b, scale;
} te_addition;

void te_add(const te_addition *layer, const int8_t *a, const int8_t *b, int8_t *out, int32_t size);
void te_average_pool(const cn_pool *layer, const int8_t *in, int8_t *out);
void te_max_pool(const cn_pool *layer, const int8_t *in, int8_t *out);

#endif
