/*
 * Parameters of the kernels. Tensors are unsigned NHWC in dense fields of 8, 4 or 2 bits, the lowest
 * channel in the lowest bits; each pixel starts on a byte.
 */
#ifndef CX_LAYERS_H
#define CX_LAYERS_H

#include <stdint.h>

/* A layer with weights; rows of weights and constants are padded with zeros to whole blocks. */
typedef struct {
    uint16_t in_h, in_w, in_c;    /* input size, pixels and channels                       */
    uint16_t out_h, out_w, out_c; /* output size                                           */
    uint16_t kernel_h, kernel_w;  /* window                                                */
    uint16_t stride_h, stride_w;
    uint16_t pad_top, pad_left;
    uint16_t depth;               /* values of one column, whole words of weights          */
    uint16_t in_pixel_bytes, out_pixel_bytes;
    uint8_t in_zero;              /* the input's zero point                                */
    uint8_t pre_shift, shift;     /* of the requantization                                 */
    const uint8_t *weight;        /* unsigned, zero point in the middle of the range       */
    const int32_t *start;         /* first value of an accumulator, one per output channel */
    const int32_t *multiplier;
    const int32_t *offset;
} cx_layer;

typedef struct {
    uint16_t in_w, out_h, out_w, channels;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t in_pixel_bytes, out_pixel_bytes;
    uint8_t pre_shift, shift;     /* of an average's requantization                        */
    int32_t multiplier, offset;
} cx_pool;

typedef struct {
    int32_t pixels, channels;
    int32_t a_pixel_bytes, b_pixel_bytes, out_pixel_bytes;
    int32_t multiplier_a, multiplier_b, offset, shift;
} cx_addition;

#endif
