/* Parameters and entry points of the int8 kernels. */
#ifndef CN_LAYERS_H
#define CN_LAYERS_H

#include <stdint.h>

/* A layer with weights. Tensors are int8 NHWC; real = scale * (q + offset) for the input. */
typedef struct {
    uint16_t in_h, in_w, in_c;    /* input size, pixels and channels           */
    uint16_t out_h, out_w, out_c; /* output size                               */
    uint16_t kernel_h, kernel_w;  /* window                                    */
    uint16_t stride_h, stride_w;
    uint16_t pad_top, pad_left;
    int32_t in_offset;  /* minus the input's zero point: added to every input  */
    int32_t out_offset; /* the output's zero point                             */
    int32_t act_min, act_max;
    const int8_t *weight;      /* OHWI; 1HWC for a depthwise layer; at 4 bits two in a byte, the
                                  earlier one in the low nibble, rows without a gap between them */
    const int32_t *bias;       /* one for each output channel                  */
    const int32_t *multiplier; /* Q31, one for each output channel             */
    const int32_t *shift;      /* power of two, one for each output channel    */
} cn_layer;

typedef struct {
    int32_t in_offset_a, multiplier_a, shift_a;
    int32_t in_offset_b, multiplier_b, shift_b;
    int32_t left_shift;
    int32_t out_offset, out_multiplier, out_shift;
    int32_t act_min, act_max;
} cn_addition;

typedef struct {
    uint16_t in_h, in_w, channels;
    uint16_t out_h, out_w;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    int32_t act_min, act_max;
} cn_pool;

/* columns: 2 * round_up(kernel_h * kernel_w * in_c, 4) int16 */
void cn_convolve_s8(const cn_layer *layer, const int8_t *in, int16_t *columns, int8_t *out);
void cn_convolve_1x1_s8(const cn_layer *layer, const int8_t *in, int8_t *out);
void cn_depthwise_3x3_s8(const cn_layer *layer, const int8_t *in, int8_t *out);
/* column: kernel_h * kernel_w * in_c int16 */
void cn_depthwise_s8(const cn_layer *layer, const int8_t *in, int16_t *column, int8_t *out);
/* columns: 2 * kernel_h * kernel_w * in_c int16 */
void cn_convolve_s4(const cn_layer *layer, const int8_t *in, int16_t *columns, int8_t *out);
void cn_convolve_1x1_s4(const cn_layer *layer, const int8_t *in, int8_t *out);
/* column: kernel_h * kernel_w * in_c int16 */
void cn_depthwise_s4(const cn_layer *layer, const int8_t *in, int16_t *column, int8_t *out);
void cn_fully_connected_s4(const cn_layer *layer, const int8_t *in, int8_t *out);
void cn_fully_connected_s8(const cn_layer *layer, const int8_t *in, int8_t *out);
void cn_add_s8(const cn_addition *layer, const int8_t *a, const int8_t *b, int8_t *out,
               int32_t size);
/* sums: one int32 for each channel */
void cn_average_pool_s8(const cn_pool *layer, const int8_t *in, int32_t *sums, int8_t *out);
void cn_max_pool_s8(const cn_pool *layer, const int8_t *in, int8_t *out);
void cn_copy_s8(const int8_t *in, int8_t *out, int32_t size);
void cn_concatenate_s8(const int8_t *in, int8_t *out, int32_t pixels, int32_t in_c, int32_t out_c);

#endif
