/* Matrix-vector products: each weight is used once, so it goes from flash into the product as it
 * lies there, and activations are taken apart on the way, too.
 *
 * Weights are unsigned in flash, u = w + 2^(w_bits-1); what that adds to every output of a layer,
 * 2^(w_bits-1) * sum(activations), is taken off its start value. Rows are padded with u = 0, so the
 * activations read behind the last one, whatever they are, count nothing.
 */
#ifndef LE_FULLYCONNECTED_H
#define LE_FULLYCONNECTED_H

#include <stdint.h>

#include "le_memory.h"
#include "le_requantize.h"

/* Some kernels are assembly where there are the DSP extension, registers of a floating-point unit, and
 * Thumb. Their C is for other machines and widths, and the assembly's oracle. */
#if LE_ARM_DSP && defined(__ARM_FP) && defined(__thumb2__)
#define LE_FULLYCONNECTED_ASSEMBLY 1
#else
#define LE_FULLYCONNECTED_ASSEMBLY 0
#endif

typedef struct {
    uint32_t in_c, out_c;
    uint32_t tile_bytes;           /* of the weights of one tile of outputs  */
    const uint8_t *weights;        /* tile after tile                        */
    const le_requantize *channels; /* padded to whole tiles                  */
} le_fullyconnected_layer;

_Static_assert(sizeof(void *) != 4 || sizeof(le_fullyconnected_layer) == 20,
               "as counted for flash");

/* Sum of the fields of a word. */
LE_INLINE uint32_t le_fullyconnected_add(uint32_t sum, uint32_t word, unsigned storage) {
    if (storage == 2) {
        word = (word & 0x33333333u) + (word >> 2 & 0x33333333u);
    }
    if (storage != 8) {
        word = (word & 0x0F0F0F0Fu) + (word >> 4 & 0x0F0F0F0Fu);
    }
    return le_add_bytes(sum, word);
}

/* Sum of all activations. */
LE_INLINE uint32_t le_fullyconnected_sum(const uint8_t *in, uint32_t count, unsigned storage) {
    uint32_t sum = 0, bits = count * storage;
    for (; bits >= 128; bits -= 128) {
        uint32_t a = le_load32(in), b = le_load32(in + 4);
        uint32_t c = le_load32(in + 8), d = le_load32(in + 12);
        LE_NOT_BEFORE_4(a, b, c, d);
        sum = le_fullyconnected_add(sum, a, storage);
        sum = le_fullyconnected_add(sum, b, storage);
        sum = le_fullyconnected_add(sum, c, storage);
        sum = le_fullyconnected_add(sum, d, storage);
        in += 16;
    }
    for (; bits >= 32; bits -= 32) {
        sum = le_fullyconnected_add(sum, le_load32(in), storage);
        in += 4;
        LE_KEEP_LOOP(bits);
    }
    if (bits > 0) { /* what lies behind the last one does not count */
        sum = le_fullyconnected_add(sum, le_load32(in) & ((1u << bits) - 1u), storage);
    }
    return sum;
}

/* Requantizes and writes two outputs; `channel` is even. */
LE_INLINE void le_fullyconnected_put(uint8_t *out, const le_fullyconnected_layer *layer,
                                     const le_requantize *constants, uint32_t channel,
                                     uint32_t low, uint32_t high, unsigned pre_shift,
                                     unsigned shift, unsigned out_bits) {
    le_put_pair(out, channel, le_storage_bits(out_bits),
                le_requantize_const((int32_t)low, constants[0].multiplier, constants[0].offset,
                                    pre_shift, shift, out_bits),
                le_requantize_const((int32_t)high, constants[1].multiplier, constants[1].offset,
                                    pre_shift, shift, out_bits),
                channel + 1 < layer->out_c);
}

#endif
